# ecgcam on the CPU. Build: docker build -t ecgcam .
# Run in the folder of the recordings: docker run --rm -v "$PWD":/data ecgcam explain rec.dat --text "atrial fibrillation"
FROM python:3.12-slim
WORKDIR /src
COPY constraints.txt ./
# The CPU build of torch, about 200 MB; the build of the default index brings CUDA, several gigabytes.
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY docs docs
COPY src src
RUN pip install --no-cache-dir -c constraints.txt '.[text,dicom,hdf5]'
RUN useradd --create-home ecgcam
USER ecgcam
WORKDIR /data
ENTRYPOINT ["ecgcam"]
CMD ["--help"]
