"""Compare the maps of two methods."""

import ecgcam

model = ecgcam.load_model("mini")
first, second = (
    ecgcam.explain("demo/af-7.dat", "atrial fibrillation", model, method=method)[0]
    for method in ("grad-cam", "lead-occlusion")
)
comparison = ecgcam.compare(first, second)
print(comparison)
comparison.plot().savefig("two-methods.png")
