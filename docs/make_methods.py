"""Writes `methods.md` next to this file from the table of methods: `python docs/make_methods.py`."""

from __future__ import annotations

from pathlib import Path

from ecgcam.attribution.methods import METHODS
from ecgcam.attribution.registry import Method

PAGE = Path(__file__).with_name("methods.md")

HEAD = """# Methods

<!-- Made by `python docs/make_methods.py` from src/ecgcam/attribution/methods.py: change those, not this. -->

`ecgcam explain RECORD --text TEXT --method NAME --set KEY=VALUE`, or `explain(..., method=NAME, options={KEY: VALUE})`.
Methods with cells explain each lead alone, with all others filled (`--mask`). Methods on the samples explain the whole window.
CAM methods whose layer keeps leads apart also give maps of one whole signal (`--mask none`); a warning states how far the leads
were mixed before the layer. The importance of a lead is its gain, not the size of its map.

In the formulas, A are the activations of the target layer for one signal and G the gradient of the score with respect to them,
both C channels x K cells; c runs over channels, k and j over cells, [ ] is 1 if true and 0 otherwise, ' is the transpose. For
unsigned methods `map_cells` holds the cells of the formula, and the map is relu(cells), interpolated to the samples. Cost: F
is a forward pass of the lead-masked batch, B a backward pass from the target layer. If a map is zero everywhere, there is a
warning; `map_cells` then still holds the signed cells.
"""

FAMILIES = {
    "cam": "From one pass: activations and gradients",
    "rerun": "From attention, or from running the model again: cells",
    "signal": "On the samples themselves",
}

TAIL = """## Which methods coincide

If the score is computed from the mean of the target layer's cells, every cell of a channel has the same gradient, and grad-cam
equals hires-cam. An example is `ecg_encoder.block11` of MERL's ViTs, whose embedding begins with the mean of the tokens. There
grad-cam++ keeps the positive weights and reweights them, and layer-cam keeps the positive weights unchanged. kpca-cam with
`kernel=linear` equals eigen-cam with `centre=true`.

## Signs of eigenvectors

The sign of an eigenvector is arbitrary. eigen-cam, eigen-grad-cam, grad-cam-eigen, seg-eigen-cam and kpca-cam use the sign with
which their cells correlate with h = sum_c G_ck A_ck (hires-cam): the map is high where the score is raised. Without a
correlation (one cell, constant cells) the sign is that of sum_k cells_k h_k. If that is 0 too (no gradient), the sign is
undetermined and the cells are 0.

## Batches

The size of a batch changes no method's result by more than 1e-5 of its largest value (`tests/attribution/test_every_row.py`);
if a map is a difference of scores, by no more than 1e-5 of the score, because it contains the rounding of the score.
Ignore losses of a millionth of the score.

## Other programs

The same cells were computed on `mini` (12 lead-masked signals of a simulated atrial fibrillation, layer `signal.stages.1`) by
torchcam 0.5.0, by grad-cam 1.5.7 (pytorch-grad-cam, through pictures one sample high) and by signal-grad-cam 2.2.0 (both of its
methods, and its contrast); `make ci` repeats it, and `pytest tests/peers -rP` prints each difference. Largest difference over
largest value; below 1e-5 it is rounding, which changes a little with the weights of `mini`:

| method | torchcam 0.5.0 | grad-cam 1.5.7 | signal-grad-cam 2.2.0 |
|---|---|---|---|
| grad-cam | 2e-7 | 2e-7 | 2e-7 (12) |
| hires-cam | | 2e-7 | 1e-7 (12) |
| grad-cam-elementwise | | 2e-7 | |
| grad-cam++ | differs (1) | differs (2); 1e-7 with the score times 10^8 | |
| xgrad-cam | 0 | 2e-7 | |
| layer-cam | 0 | 2e-7 | |
| eigen-cam | | differs (3); 1e-7 with `centre=true`, except for the sign | |
| eigen-grad-cam | | 1e-7, except for the sign | |
| grad-cam-eigen | | 2e-7, except for the sign | |
| kpca-cam | | 4e-7 (sigmoid, rbf), 3e-7 (linear), except for the sign | |
| fem | | differs (4) | |
| shapley-cam | | 4e-7 | |
| seg-eigen-cam | | 1e-7, except for the sign (the larger of max and -min there) | |
| finer-cam | | 3e-7 against one foil; differs against several (13) | |
| cam | 8e-8, of a small network with a linear head | | |
| `--against TEXT` | | | 3e-7 (grad-cam, hires-cam) |

1. torchcam divides a copy in place, so the division by 2 G^2 + G^3 sum A has no effect and its weights are sum_k G_ck^2
   relu(G_ck); with that formula the difference is 0.
2. pytorch-grad-cam adds 1e-6 to the denominator. Squared gradients of a similarity read from a mean over hundreds of cells are
   much smaller than that, so the constant dominates the weights. For a score 10^8 times as large both agree.
3. pytorch-grad-cam subtracts each channel's mean before the decomposition; the paper decomposes the activations unchanged.
   Its signs are those of the decomposition.
4. pytorch-grad-cam weights a channel's activations by the share of its cells above the threshold, sum_c mean_k[A_ck > t_c] A_ck;
   the paper weights the cells above the threshold by the channel's mean.

The methods that run the model, on the leads V1, V3 and V5 of the same record, also compared with captum 0.9.0:

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

5. The conversion of a map to a mask differs. torchcam scales the cells to [0, 1] and treats them as pixels (in one dimension
   its score-cams raise an error). pytorch-grad-cam stretches them from the first sample to the last. Here each cell is at the
   centre of the samples that it depends on, and the map on the samples is scaled. The score of the empty signal, which is
   subtracted here and in the paper, does not change a softmax.
6. torchcam accumulates its steps: its masks are 1/N, 3/N, 6/N ... (N + 1)/2 times m_c, and the last ones amplify the signal.
   With those factors the difference is 2e-7.
7. pytorch-grad-cam divides by y, as the paper does: for a lead with a negative score the map has the opposite sign. If no
   activation is exactly 0 it sets a channel to 10^7 below the smallest one instead of 0.
8. torchcam uses G and A of the last draw; the paper uses the mean of G over the draws, and A of the clean signal. torchcam also
   adds 1e-8 to the denominator, which dominates the weights as in (2). With both changes the difference is 1e-7. The paper prints
   D1 as the numerator of a; with D2, as here and in torchcam, one draw without noise equals grad-cam++.

The gradient methods are compared at every sample of all twelve leads. Two of the ten seconds of the record are padding. Against
captum 0.9.0:

| method | captum 0.9.0 |
|---|---|
| saliency | 0 |
| input-x-gradient | 1e-7 with the fill for its zero |
| integrated-gradients | 1e-7 (20 and 100 steps) |
| gradient-shap | 2e-7 with the same draws (9) |
| smooth-grad, smooth-grad-squared, var-grad | 1e-7, 3e-7, 1e-6 around saliency, with the same noise (10) |
| guided-backprop, deconvolution | 0 |
| guided-grad-cam | 2e-7 with `cam=whole` and its cells placed as here (11) |

9. captum draws each point of the path anywhere in [0, 1]. Here each comes from its own part of [0, 1], which scatters less.
10. captum's noise has one size for all leads and includes padding. Here it is proportional to the robust spread of each lead.
11. captum treats cells as pixels when it interpolates them ("nearest"). The product of its guided backpropagation and its
    Grad-CAM, interpolated as here, is the result of this method.
12. The cells, before signal-grad-cam scales each map to bytes and stretches it to the signal's length. It explains layers that
    are convolutions, so the layer was passed as one. TensorFlow and OpenCV, which it imports, were replaced by stubs: neither
    computes a cell.
13. pytorch-grad-cam weights the foils by a softmax over the scores and includes its gradient. Here all foils have the same
    weight. With equal weights the difference is 2e-7.

Two of pytorch-grad-cam's methods are implemented here with another definition, so there is no figure. Its FullGrad covers only
two-dimensional convolutions and batch normalisations, uses magnitudes, leaves out the other biases, and scales every layer to
[0, 1] before the sum; full-grad reports how much of the score it keeps. Its aug_smooth averages over mirrored pictures and three
factors; augmented never reverses time.

dff has no figure: pytorch-grad-cam factorizes by coordinate descent from another start, and ends in another of the many possible
factorizations. From the same start, scikit-learn's multiplicative updates give the same factors
(`tests/attribution/test_factors.py`).

## Left out

- *refine-cam* (Domeniconi et al. 2026, How to Evaluate and Refine your CAM): pytorch-grad-cam multiplies the maps of grad-cam++
  at several layers, sample by sample. Here `--layer A,B` averages the maps of any CAM method on the cells of the finest layer,
  with the cells of each layer at their own places. The product is not implemented: it drops whatever one layer does not show.
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
        rows = [f"| {m.name} | {m.shows} | {m.passes} | {m.paper} |" for m in own]
        head = ["| method | shows | cost | reference |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {FAMILIES.get(family, family)}", "", *head, *rows, ""]))
        parts += [section(method) for method in own]
    return "\n".join([*parts, TAIL])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
