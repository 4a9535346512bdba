# make demo          set up, simulate a recording, explain it
# make test          set up and run every check; under ten minutes on two cores
# make ci            the slower groups: the wheel outside the checkout, a short training, peers
# make docs          the documentation as a site: .cache/site/site/index.html; notebooks are run
# make train         train the bundled model and its yardstick again from PTB-XL (DATA=folder with ptbxl_database.csv)
# make retrain       train select-1 on with the folders of DATA and MORE, into RUN/retrain
# make methods       every method on every kind of network, in full size; its table is docs/methods-models.md
# make bench         how fast, next to the usual script: benchmarks/results/, explained in docs/performance.md
# make hundred       how long ecgcam evaluate takes for a hundred recordings and five methods (docs/evaluate.md)
# make evidence      whether mini's maps are true: the tables of docs/evidence.md
# make model-report  the model card's figures again, from the shipped weights
# make fuzz          100,000 damaged files over all readers (docs/reliability.md)
# make fuzz-guided   the same led by coverage, where atheris can be installed
# make coverage      which branches of src/ no test runs; fails under 95 % (docs/reliability.md)
# make mutation      300 small wrong changes to attribution/ and records/: do the tests notice? after make coverage
# make minimum       the unit tests with the oldest versions that pyproject.toml allows
# make audit         known holes of the installed dependencies, by pip-audit
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   ?= .cache/recordings/ptbxl
MORE   ?=
LUDB   ?= .cache/recordings/ludb
CINC   ?=
RUN    ?= runs
SEEDS  ?= 0
SHIPPED ?= 1
SEED   ?= 0
CASES  ?= 100000
JOBS   ?= 1
COVERED_SLOW ?= tests/cli/test_ray.py tests/cli/test_many.py tests/runs
CHROMIUM ?= /usr/bin/chromium
export CHROMIUM
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# What takes minutes shows its progress.
PIP_SHOWN := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: demo test ci docs lint types rooms unit bench hundred train retrain evidence model-report methods clean soak fuzz fuzz-guided minimum audit coverage mutation
.DEFAULT_GOAL := demo

demo: $(VENV)/.installed
	@echo "make demo: simulating a recording with one premature beat"
	$(BIN)/ecgcam simulate pvc --seed 5 --out demo
	@echo "make demo: explaining it (about ten seconds)"
	$(BIN)/ecgcam explain demo/pvc-5.dat --text "premature ventricular complexes" --out ecgcam-out --force
	@echo
	@echo "$(CURDIR)/ecgcam-out/pvc-5/premature-ventricular-complexes/page.png shows the twelve leads; colour marks the moments that made the model match this ECG with 'premature ventricular complexes': the premature beat at 4.7 s."

test: lint types rooms unit

lint: $(VENV)/.installed-dev
	@echo "make test: lint, then types, order of imports, and tests (a dot for each)"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint --deny-warnings src/ecgcam/render/report tests/render/report docs/site
	$(BIN)/python docs/check_prose.py

types: $(VENV)/.installed-dev
	$(BIN)/mypy

rooms: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# Tests of one file run in one process, so that its fixtures are made once; each process has one thread of torch.
unit: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow"

# Two processes at most: some of these tests start Ray, a browser or processes of their own.
ci: $(VENV)/.installed-peers $(VENV)/.installed-browser $(VENV)/.installed-docs
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 2 --dist loadfile -m slow
	ECGCAM_EXAMPLES=300 $(BIN)/pytest -q tests/fuzz/test_structured_*.py

docs: $(VENV)/.installed-docs
	$(BIN)/python docs/make_site.py stage .cache/site
	$(BIN)/zensical build --strict --clean -f .cache/site/zensical.toml
	$(BIN)/python docs/make_site.py finish .cache/site

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) --editable '.[docs]'
	touch $@

# Other programs that compute the same, networks of other packages, and Ray. grad-cam and fastai ask for torchvision, signal-grad-cam for
# TensorFlow, torch_ecg for an older pandas and lxt for bitsandbytes; nothing here runs these, so what is imported is listed by name.
PACKAGES := torch_ecg tsai beartype beautifulsoup4 bib-lookup biosppy boto3 botocore deprecate-kwargs deprecated easydict edfio einops fastai \
  fastcore fastdownload fastprogress fasttransform feedparser feedparser-sgmllib jmespath peakutils plum-dispatch psutil pybtex PyWavelets \
  s3transfer six soupsieve tensorboardX wrapt
$(VENV)/.installed-peers: $(VENV)/.installed-dev
	$(PIP) torchcam ttach tqdm sierraecg ecgdatakit nbclient ipykernel 'pyright[nodejs]'
	$(PIP) --no-deps grad-cam signal-grad-cam lxt $(PACKAGES)
	$(PIP) --editable '.[ray]'
	$(PIP) openecg
	touch $@

# The report is looked at in a real browser: /usr/bin/chromium, or what CHROMIUM names.
$(VENV)/.installed-browser: $(VENV)/.installed-dev
	$(PIP) playwright
	$(PIP) --no-deps axe-playwright-python
	test -x "$(CHROMIUM)" || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || \
	  { echo "make ci: no browser at $(CHROMIUM); install Debian's chromium (apt-get install chromium) or set CHROMIUM=/path/to/it" >&2; exit 1; }
	touch $@

# SEEDS="0 1 2" for all three; a run that was interrupted goes on.
train: $(VENV)/.installed
	for seed in $(SEEDS); do for run in select refit; do \
	  flag=$$(test $$run = refit && echo --refit || true); \
	  $(BIN)/python -m training.train --data $(DATA) $(MORE) --out $(RUN)/$$run-$$seed --seed $$seed $$flag && \
	  $(BIN)/python -m training.export --data $(DATA) $(MORE) --run $(RUN)/$$run-$$seed/last.pt --out $(RUN)/$$run-$$seed/first.npz && \
	  $(BIN)/python -m training.speak --data $(DATA) $(MORE) --weights $(RUN)/$$run-$$seed/first.npz --seed $$seed $$flag \
	    --out training/weights/$$run-$$seed.npz || exit 1; \
	done; done
	$(BIN)/python -m training.train --data $(DATA) $(MORE) --out $(RUN)/yardstick-0 --refit --supervised
	$(BIN)/python -m training.export --data $(DATA) $(MORE) --run $(RUN)/yardstick-0/last.pt --out training/weights/yardstick-0.npz
	$(BIN)/python -m training.place --data $(DATA) $(MORE) --weights training/weights/refit-$(SHIPPED).npz --refit --seed $(SHIPPED) \
	  --out $(RUN)/placed.npz
	$(BIN)/python -m training.speak --data $(DATA) $(MORE) --weights $(RUN)/placed.npz --refit --seed $(SHIPPED) \
	  --out src/ecgcam/models/weights/mini.npz
	$(BIN)/python -m training.reference --data $(DATA) $(MORE)

# select-1 trained on with all of PTB-XL (MORE=the folder of the 100 Hz records). Nothing is refitted: fold 8 stays for reference.
retrain: $(VENV)/.installed
	$(BIN)/python -m training.train --data $(DATA) $(MORE) --out $(RUN)/retrain --from training/weights/select-$(SHIPPED).npz --rate 1e-3 \
	  --epochs 18 --steps 50 --seed $(SHIPPED)
	$(BIN)/python -m training.export --data $(DATA) $(MORE) --run $(RUN)/retrain/last.pt --out $(RUN)/retrain/first.npz
	$(BIN)/python -m training.speak --data $(DATA) $(MORE) --weights $(RUN)/retrain/first.npz --seed $(SHIPPED) --views 1 --steps 1500 \
	  --out $(RUN)/retrain/second.npz
	$(BIN)/python -m training.place --data $(DATA) $(MORE) --weights $(RUN)/retrain/second.npz --seed $(SHIPPED) --steps 768 \
	  --out $(RUN)/retrain/third.npz
	$(BIN)/python -m training.speak --data $(DATA) $(MORE) --weights $(RUN)/retrain/third.npz --seed $(SHIPPED) --views 1 --steps 1500 \
	  --out $(RUN)/retrain/mini.npz
	$(BIN)/python -m training.reference --data $(DATA) $(MORE) --weights $(RUN)/retrain/mini.npz

# What docs/evidence.md says of mini: tables and benchmarks/results/.
evidence: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.planted --data $(DATA) --out benchmarks/results/planted.json --page docs/evidence.md
	$(BIN)/python -m benchmarks.choice search --data $(DATA) --out $(RUN)/choice-search.jsonl --page docs/evidence.md
	$(BIN)/python -m benchmarks.choice report --data $(DATA) --ludb $(LUDB) --out $(RUN)/choice-report.jsonl --page docs/evidence.md
	$(BIN)/python -m benchmarks.sanity --data $(DATA) --out benchmarks/results/sanity.json --journal $(RUN)/sanity.jsonl \
	  --page docs/evidence.md
	$(BIN)/python -m benchmarks.masks --data $(DATA) --ludb $(LUDB) --out benchmarks/results/masks.json --page docs/evidence.md
	$(BIN)/python -m benchmarks.anatomy --data $(DATA) --out benchmarks/results/anatomy.json --page docs/evidence.md
	$(BIN)/python -m benchmarks.check --count 10 --out benchmarks/results/check.json --page docs/evidence.md
	$(BIN)/python -m benchmarks.verdict --data $(DATA) --out benchmarks/results/verdict.json --page docs/evidence.md

model-report: $(VENV)/.installed
	$(BIN)/python -m training.card --data $(DATA) $(MORE) --ludb $(LUDB) $(if $(CINC),--cinc $(CINC)) --fold 9 --out docs/mini.md

bench: $(VENV)/.installed-peers
	$(BIN)/python -W ignore -m benchmarks.bench
	$(BIN)/python -m benchmarks.tables

# Minutes on a quiet machine; its wall time says little on a busy one.
hundred: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.hundred --page docs/evaluate.md

soak: $(VENV)/.installed-dev
	ECGCAM_SOAK=2000 $(BIN)/pytest -q -s tests/test_soak.py

methods: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.every_method

# 100,000 damaged files over all readers: about ten minutes on a quiet core. CASES=1000 SEED=7 for others.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -W ignore -m tests.fuzz --cases $(CASES) --seed $(SEED)
	ECGCAM_EXAMPLES=2000 $(BIN)/pytest -q tests/fuzz/test_structured_*.py

# Led by coverage: 20,000 cases of each of the most dangerous readers. atheris has wheels for Linux, Python 3.11 to 3.13.
fuzz-guided: $(VENV)/.installed-dev
	$(PIP) atheris
	$(BIN)/python -W ignore -m tests.fuzz.guided --seed $(SEED)

# Branches of src/ that `make test` runs, and slow tests of running many, too long for it. Left out are the tests of the house's own
# tools, and those whose processes are killed or may write no file: coverage has nothing of them.
coverage: $(VENV)/.installed-peers
	rm -rf .cache/coverage && mkdir -p .cache/coverage
	COVERAGE_FILE=.cache/coverage/part $(BIN)/coverage run -m pytest -p tests.mutation.contexts --junitxml=.cache/coverage/junit.xml \
	  -m "not slow" --ignore tests/mutation --deselect tests/cli/test_full_disk.py::test_every_write_may_fail
	COVERAGE_FILE=.cache/coverage/part $(BIN)/coverage run -m pytest -p tests.mutation.contexts --junitxml=.cache/coverage/junit-slow.xml \
	  $(COVERED_SLOW) --deselect tests/cli/test_many.py::test_killed_at_random_and_resumed_it_is_the_same
	$(BIN)/coverage combine --quiet --data-file=.cache/coverage/coverage .cache/coverage/part.*
	$(BIN)/coverage report --data-file=.cache/coverage/coverage
	$(BIN)/coverage json --quiet --data-file=.cache/coverage/coverage -o .cache/coverage/coverage.json
	$(BIN)/python -m tests.mutation.branches .cache/coverage/coverage.json 95

# An interrupted call goes on; JOBS=4 for several at a time. AGAIN=--again tries what survived once more.
mutation: $(VENV)/.installed-dev
	$(BIN)/python -m tests.mutation --coverage .cache/coverage --count 300 --seed $(SEED) --jobs $(JOBS) $(AGAIN) \
	  --journal $(RUN)/mutation.jsonl --out benchmarks/results/mutation.json

# The oldest versions that pyproject.toml allows, torch excepted; without the tests of development tools and of recordings elsewhere.
minimum:
	$(PYTHON) -m venv .venv-min
	.venv-min/bin/python -m pip install --quiet -c constraints-min.txt --editable '.[dicom,hdf5,captum,text,ray]' pytest hypothesis pyedflib
	.venv-min/bin/python -m pytest -m "not slow and not shared and not browser and not peers" -W ignore::DeprecationWarning \
	  tests/records tests/attribution tests/models/test_checkpoint.py tests/render tests/runs tests/test_*.py

# Known holes of what is installed, where the advisory service can be reached.
audit: $(VENV)/.installed
	$(PIP) pip-audit
	$(BIN)/pip-audit --skip-editable

clean:
	rm -rf $(VENV) .cache build dist

# A changed dependency or constraint installs again.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "make: installing ecgcam and torch into $(VENV); with an empty cache pip downloads several hundred megabytes"
	$(PYTHON) -m venv $(VENV)
	$(PIP_SHOWN) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "make: installing what the tests need"
	$(PIP_SHOWN) --editable '.[dev]'
	touch $@
