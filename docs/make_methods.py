"""Writes `methods.md` beside this file from the table of methods: `python docs/make_methods.py`."""

from __future__ import annotations

from pathlib import Path

from ecgcam.attribution.methods import METHODS
from ecgcam.attribution.registry import Method

PAGE = Path(__file__).with_name("methods.md")

HEAD = """# Methods

<!-- Made by `python docs/make_methods.py` from src/ecgcam/attribution/methods.py: change those, not this. -->

`ecgcam explain RECORD --text TEXT --method NAME --set KEY=VALUE`, or `explain(..., method=NAME, options={KEY: VALUE})`.
Methods with cells are asked about each lead alone, all others filled (`--mask`); those on the samples about the whole window.
CAM methods whose layer keeps leads apart also give maps of one whole signal (`--mask none`); a warning says how far the leads
were mixed before the layer. How much a lead matters is its gain, not the size of its map.

In the formulas, A are the activations of the target layer for one signal and G the gradient of the score with respect to them,
both C channels x K cells; c runs over channels, k and j over cells, [ ] is 1 where true and 0 elsewhere, ' the transpose. Of
unsigned methods `map_cells` holds the cells as the formula gives them, and the map is relu of them laid on the samples. Cost: F
is a forward pass of the lead-masked batch, B a backward pass from the target layer. A map that is zero everywhere says so in
the warnings; `map_cells` then still holds the signed cells.
"""

FAMILIES = {
    "cam": "From one pass: activations and gradients",
    "rerun": "From attention, or from running the model again: cells",
    "signal": "On the samples themselves",
}

TAIL = """## Which methods coincide

Where the score is read from the mean of the target layer's cells, every cell of a channel has the same gradient, and grad-cam
equals hires-cam. So it is at `ecg_encoder.block11` of MERL's ViTs (their embedding begins with the mean of the tokens), where
grad-cam++ keeps the positive ones of the same weights, reweighted, and layer-cam the positive ones as they are. kpca-cam with
`kernel=linear` is eigen-cam with `centre=true`.

## Signs of eigenvectors

An eigenvector has no sign of its own, so eigen-cam, eigen-grad-cam, grad-cam-eigen, seg-eigen-cam and kpca-cam take the sign
with which their cells correlate with h = sum_c G_ck A_ck (hires-cam): the map is high where the score is raised. Without any
correlation (one cell, constant cells) the sign is that of sum_k cells_k h_k; without that either (no gradient), nothing says
which sign is right, and the cells are 0.

## Batches

The size of a batch changes no method's result by more than 1e-5 of its largest value (`tests/attribution/test_every_row.py`);
where a map is a difference of scores, by no more than 1e-5 of the score, whose own rounding it carries: read nothing into losses
of a millionth of the score.

## Other programs

The same cells were computed on `mini` (12 lead-masked signals of a simulated atrial fibrillation, layer `signal.stages.1`) by
torchcam 0.5.0, by grad-cam 1.5.7 (pytorch-grad-cam, through pictures one sample high) and by signal-grad-cam 2.2.0 (both of its
methods, and its contrast); `make ci` repeats it, and `pytest tests/peers -rP` prints each difference. Largest difference over
largest value; what is below 1e-5 is rounding, and changes a little with the weights of `mini`:

| method | torchcam 0.5.0 | grad-cam 1.5.7 | signal-grad-cam 2.2.0 |
|---|---|---|---|
| grad-cam | 2e-7 | 2e-7 | 2e-7 (12) |
| hires-cam | | 2e-7 | 1e-7 (12) |
| grad-cam-elementwise | | 2e-7 | |
| grad-cam++ | differs (1) | differs (2); 1e-7 with the score times 10^8 | |
| xgrad-cam | 0 | 2e-7 | |
| layer-cam | 0 | 2e-7 | |
| eigen-cam | | differs (3); 1e-7 with `centre=true`, but for the sign | |
| eigen-grad-cam | | 1e-7, but for the sign | |
| grad-cam-eigen | | 2e-7, but for the sign | |
| kpca-cam | | 4e-7 (sigmoid, rbf), 3e-7 (linear), but for the sign | |
| fem | | differs (4) | |
| shapley-cam | | 4e-7 | |
| seg-eigen-cam | | 1e-7, but for the sign (the larger of max and -min there) | |
| finer-cam | | 3e-7 against one foil; differs against several (13) | |
| cam | 8e-8, of a small network with a linear head | | |
| `--against TEXT` | | | 3e-7 (grad-cam, hires-cam) |

1. torchcam divides a copy in place, so the division by 2 G^2 + G^3 sum A has no effect and its weights are sum_k G_ck^2
   relu(G_ck); with that formula the difference is 0.
2. pytorch-grad-cam adds 1e-6 to the denominator. Squared gradients of a similarity read from a mean over hundreds of cells are
   much smaller than that, so the constant decides the weights; for a score 10^8 times as large, where it does not, both agree.
3. pytorch-grad-cam takes each channel's mean off before the decomposition; the paper decomposes the activations as they are.
   Its signs are whatever the decomposition gave.
4. pytorch-grad-cam weighs a channel's activations by the share of its cells above the threshold, sum_c mean_k[A_ck > t_c] A_ck;
   the paper weighs the cells above the threshold by the channel's mean.

The methods that run the model, on the leads V1, V3 and V5 of the same record, against captum 0.9.0 too:

| method | torchcam 0.5.0 | grad-cam 1.5.7 | captum 0.9.0 |
|---|---|---|---|
| score-cam | 2e-7 with its masks (5) | 4e-3; 3e-7 with its masks (5) | |
| ss-cam | 2e-7 with its masks (5) and the same noise | | |
| is-cam | differs (6) | | |
| ablation-cam | | 5e-7 where the score is positive (7) | |
| smooth-grad-cam++ | differs (8); 7e-8 without noise | | |
| layer-integrated-gradients | | | 2e-7 |
| occlusion | | | 2e-6 |
| lead-occlusion, wave-occlusion | | | 4e-6 (feature ablation) |
| lead-shapley | | | 4e-7 |

5. A map becomes a mask: torchcam scales the cells to [0, 1] and takes them for the pixels of a picture (in one dimension its
   score-cams raise), pytorch-grad-cam stretches them from the first sample to the last; here each cell lies where it looks, and
   what is scaled is the map on the samples. The score of the empty signal, which is taken off here and in the paper, does
   not change a softmax.
6. torchcam adds its steps up, so that its masks are 1/N, 3/N, 6/N ... (N + 1)/2 times m_c and the last ones amplify the signal.
   With those factors the difference is 2e-7.
7. pytorch-grad-cam divides by y, as the paper does: for a lead whose score is negative the map has the opposite sign. Where no
   activation is exactly 0 it sets a channel to 10^7 below the least one instead of 0.
8. torchcam takes G and A of the last draw where the paper has the mean of G over the draws, and A of the clean signal; and it
   adds 1e-8 to the denominator, which decides the weights as in (2). With both the difference is 1e-7. The paper prints D1 as
   the numerator of a; with D2, as here and in torchcam, one draw without noise is grad-cam++.

The gradient methods, on all twelve leads of the same record with two of its ten seconds padding, sample by sample, against
captum 0.9.0:

| method | captum 0.9.0 |
|---|---|
| saliency | 0 |
| input-x-gradient | 1e-7 with the fill for its zero |
| integrated-gradients | 1e-7 (20 and 100 steps) |
| gradient-shap | 2e-7 with the same draws (9) |
| smooth-grad, smooth-grad-squared, var-grad | 1e-7, 3e-7, 1e-6 around saliency, with the same noise (10) |
| guided-backprop, deconvolution | 0 |
| guided-grad-cam | 2e-7 with `cam=whole` and its cells where they look (11) |

9. captum draws each place on the way anywhere in [0, 1], here each comes from a part of its own, which scatters less.
10. captum's noise has one size for all leads and reaches padding; here it is as large as each lead's own robust spread.
11. captum takes cells for pixels when it lays them on samples ("nearest"). Its guided backpropagation and its Grad-CAM, laid as
    here, have this method's product.
12. The cells, before signal-grad-cam scales each map to bytes and stretches it to the signal's length. It explains layers that
    are convolutions, so the layer was given to it as one. TensorFlow and OpenCV, which it imports, were stood in for: neither
    computes a cell.
13. pytorch-grad-cam weighs the foils by a softmax over the scores, whose gradient it takes too; here they count alike. With equal
    weights the difference is 2e-7.

Two of pytorch-grad-cam's methods are here by another definition, without a figure. Its FullGrad explains two-dimensional
convolutions and batch normalisations only, takes magnitudes, leaves the other biases out, and stretches every layer to [0, 1]
before it adds them up; full-grad says what it keeps of the score. Its aug_smooth averages over mirrored pictures and three
factors; augmented never reverses a heart.

dff has no figure: pytorch-grad-cam factorizes by coordinate descent from a start of its own, and ends in another of the many
factorizations. From the same start, scikit-learn's multiplicative updates give the same factors
(`tests/attribution/test_factors.py`).

## Left out

- *refine-cam* (Domeniconi et al. 2026, How to Evaluate and Refine your CAM): pytorch-grad-cam multiplies the maps of grad-cam++
  at several layers, sample by sample. Here `--layer A,B` averages the maps of any CAM method on the cells of the finest layer,
  each layer's cells where they lie; the product, which drops whatever one layer does not show, is not built.
"""


def section(method: Method) -> str:
    """Return one method's section."""
    lines = [f"### {method.name}", "", "```", method.formula, "```", ""]
    lines += [f"Reference: {method.paper}. Cost: {method.passes}.{' Signed.' if method.signed else ''}", ""]
    if method.options:
        lines += ["| option | values | default | |", "|---|---|---|---|"]
        for option in method.options:
            default = "" if option.default is None else str(option.default)
            default = default.lower() if isinstance(option.default, bool) else default
            lines.append(f"| `{option.name}` | {option.expects} | {default} | {option.help} |")
        lines.append("")
    return "\n".join([*lines, f"*Misleads:* {method.misleads}", ""])


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for family in dict.fromkeys(method.family for method in METHODS.values()):
        own = [method for method in METHODS.values() if method.family == family]
        rows = [f"| {m.name} | {m.passes} | {m.paper} |" for m in own]
        head = ["| method | cost | reference |", "|---|---|---|"]
        parts.append("\n".join([f"## {FAMILIES.get(family, family)}", "", *head, *rows, ""]))
        parts += [section(method) for method in own]
    return "\n".join([*parts, TAIL])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
