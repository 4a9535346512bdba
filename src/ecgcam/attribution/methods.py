"""The table of methods. `--method`, `--set`, `ecgcam methods`, the documentation and the tests read it. Imports no torch.

A CAM method is one function (A, G) -> cells in `cam.py` and one row here. After a change of a row: `python docs/make_methods.py`.
"""

from __future__ import annotations

from ecgcam.attribution.registry import Method, Option
from ecgcam.errors import no_such

_CENTRE = "Subtract each channel's mean over the cells first."
_SIGN = (
    "The sign is that of the correlation between the cells and the sum over channels of G x A. Without a "
    "correlation the map is empty."
)
_AGNOSTIC = "Shows what the layer responds to most. A prompt changes at most the sign."

_FLAT = (
    "Cosines differ by at most 2, so their softmax hardly separates channels: the map is close to the mean "
    "activation, whatever the prompt. See weights=increase."
)
_SOFT_MASK = (
    "A mask scales the ECG from sample to sample and so distorts its waves. The lowest response of a channel counts "
    "as absent even where it is strong."
)
_WEIGHTS = Option(
    "weights",
    str,
    "softmax",
    "Channel weights: the softmax of the increases, or the increases themselves.",
    choices=("softmax", "increase"),
)

_AROUND = ("grad-cam", "hires-cam", "grad-cam-elementwise", "grad-cam++", "xgrad-cam", "layer-cam")

_TILE = Option("tile_ms", float, 500.0, "Width of a tile; each lead of a tile is one player.", above=0)
_SAMPLES = Option("samples", int, 2048, "Number of sets of tiles that are run; more than the number of tiles.", least=4)

_GRADIENTS = (
    "saliency", "input-x-gradient", "integrated-gradients", "full-grad", "guided-backprop", "deconvolution", "guided-grad-cam",
)  # fmt: skip
_NOISY = (
    Option("around", str, "saliency", "The method that is run on noisy windows.", choices=_GRADIENTS),
    Option("draws", int, 25, "Noisy windows.", least=1),
    Option("noise", float, 0.5, "Its standard deviation, in robust spreads (1.4826 MAD) of the lead.", least=0),
)
_INPUT = "Where the signal equals its fill (mostly the baseline) the map is 0, whatever the model reads there."
_RELU_ONLY = "Refused if the network has no ReLU, or has another non-linearity as well (MERL's ViT has GELU)."

METHODS = {
    method.name: method
    for method in (
        Method(
            name="grad-cam",
            shows="cells whose channels raise the score on average",
            function="ecgcam.attribution.cam:grad_cam",
            paper="Selvaraju et al. 2017, equations 1 and 2",
            formula="cells_k = sum_c w_c A_ck, w_c = mean_k G_ck",
            misleads="One mean gradient is used for every cell. If a channel raises the score at one moment and lowers it at "
            "another, the map can mark moments that the score does not use. Near a cosine of 1 the gradient shows "
            "what could still raise the score, not what raised it: the largest cell can lie next to the evidence. "
            "dot-grad-cam avoids this.",
        ),
        Method(
            name="dot-grad-cam",
            shows="as grad-cam, for the score before the cosine's division",
            function="ecgcam.attribution.cam:grad_cam",
            paper="Selvaraju et al. 2017, equations 1 and 2, before the cosine's normalisation; ours, no paper",
            formula="Grad-CAM of e . t / |e| with |e| constant: G = (de/dA)' t / |e|. If a mean and linear maps follow, the "
            "cells sum to the score, apart from biases; the cosine's own gradient also subtracts the part parallel to "
            "e, and its cells sum to 0",
            misleads="A cell that lengthens the embedding without turning it counts as evidence, although it does not change a "
            "cosine. Without a cosine the method equals grad-cam.",
            detach_norm=True,
        ),
        Method(
            name="finer-cam",
            shows="evidence for the prompt that is not evidence for similar findings",
            function="ecgcam.attribution.cam:grad_cam",
            paper="Zhang et al. 2025, section 3.2",
            formula="Grad-CAM of the score s_t - gamma x mean_f s_f, t the prompt and f its foils",
            misleads="The result depends on the foils. Without --against they are the findings with the nearest prompt "
            "embeddings, which may not be the comparison that a reader has in mind. Scores and gains are differences.",
            options=(
                Option("gamma", float, 0.6, "Factor of the foils' mean score that is subtracted.", least=0.0),
                Option("nearest", int, 3, "Number of foils from the vocabulary, without --against.", least=1),
            ),
            contrast=True,
        ),
        Method(
            name="hires-cam",
            shows="cells weighted by their own gradient, channel by channel",
            function="ecgcam.attribution.cam:hires_cam",
            paper="Draelos and Carin 2020, equation 5",
            formula="cells_k = sum_c G_ck A_ck",
            misleads="The gradient is local: if the score is flat around this signal, cells that matter get nothing. Noisier "
            "than grad-cam in layers far from the readout.",
        ),
        Method(
            name="grad-cam-elementwise",
            shows="only the positive products of activation and gradient",
            function="ecgcam.attribution.cam:grad_cam_elementwise",
            paper="defined by the software pytorch-grad-cam (GradCAMElementWise); no paper",
            formula="cells_k = sum_c relu(G_ck A_ck)",
            misleads="Evidence for the prompt in one channel is never cancelled by evidence against it in another. "
            "Cells without a net effect can look important.",
        ),
        Method(
            name="grad-cam-eigen",
            shows="the main pattern in the channels that grad-cam weights",
            function="ecgcam.attribution.cam:grad_cam_eigen",
            passes="1 F + 1 B per prompt, and an eigenproblem of the smaller of C and K per lead and prompt",
            paper="defined by the software pytorch-grad-cam (eigen_smooth); no paper",
            formula="cells = X' v, v the first left singular vector of X_ck = (mean_k G_ck) A_ck less each channel's mean",
            misleads="The map looks cleaner because everything that differs from the strongest pattern over the cells is "
            f"dropped, such as a single abnormal beat among regular ones. {_SIGN}",
        ),
        Method(
            name="augmented",
            shows="what remains when the lead is shifted, scaled and made noisy",
            function="ecgcam.attribution.augmentation:augmented",
            family="rerun",
            passes="draws x (1 F + 1 B) per prompt",
            paper="test-time augmentation; as aug_smooth of the software pytorch-grad-cam, no paper",
            formula="cells = mean over draws of the cells of `around` on the kept lead shifted by up to shift_ms (and back), "
            "scaled by 1 - gain to 1 + gain above its fill, with noise; draw 0 changes nothing",
            misleads="Steadier, not more correct: a bias of the model remains in every draw. Long shifts blur moments.",
            options=(
                Option("around", str, "grad-cam", "The method that is averaged.", choices=_AROUND),
                Option("draws", int, 8, "Number of draws, including the unchanged signal.", least=1),
                Option("shift_ms", float, 20.0, "Largest shift in time.", least=0.0),
                Option("gain", float, 0.1, "Largest change in amplitude.", least=0.0),
                Option("noise", float, 0.1, "Noise, in median absolute deviations of the lead.", least=0.0),
            ),
        ),
        Method(
            name="grad-cam++",
            shows="as grad-cam, with weights from the positive gradients",
            function="ecgcam.attribution.cam:grad_cam_plus_plus",
            paper="Chattopadhay et al. 2018, equation 19",
            formula="cells_k = sum_c w_c A_ck, w_c = sum_k a_ck relu(G_ck), "
            "a_ck = G_ck^2 / (2 G_ck^2 + G_ck^3 sum_j A_cj), 0 where G_ck or the denominator is 0",
            misleads="Negative gradients are dropped, so the map cannot separate evidence against the prompt from no evidence. "
            "The derivation assumes activations after a ReLU and an exponential output. With signed activations "
            "(transformers) the weights can become very large.",
        ),
        Method(
            name="xgrad-cam",
            shows="as grad-cam, with gradients weighted by activations",
            function="ecgcam.attribution.cam:xgrad_cam",
            paper="Fu et al. 2020",
            formula="cells_k = sum_c w_c A_ck, w_c = sum_k G_ck A_ck / sum_k A_ck; "
            "w_c = 0 where |sum_k A_ck| <= 0.001 sum_k |A_ck|",
            misleads="Divides by a sum of activations. If activations are signed (transformers, layers before a ReLU), "
            "channels whose sum nearly cancels get very large weights, and channels below the guard get none.",
        ),
        Method(
            name="layer-cam",
            shows="cells weighted by their own positive gradients",
            function="ecgcam.attribution.cam:layer_cam",
            paper="Jiang et al. 2021",
            formula="cells_k = sum_c relu(G_ck) A_ck",
            misleads="Negative gradients are dropped: moments that lower the score do not reduce the map. A "
            "negative activation with a positive gradient still reduces it.",
        ),
        Method(
            name="eigen-cam",
            shows="the main pattern of the layer, whatever the prompt",
            function="ecgcam.attribution.cam:eigen_cam",
            passes="1 F + 1 B per prompt, and an eigenproblem of the smaller of C and K per lead and prompt",
            paper="Muhammad and Yeasin 2020",
            formula="cells = A' v, v the first left singular vector of A (C x K)",
            misleads=f"{_AGNOSTIC} After a ReLU the cells have one sign: the whole map is shown, or nothing. {_SIGN}",
            options=(Option("centre", bool, False, _CENTRE),),
        ),
        Method(
            name="eigen-grad-cam",
            shows="the main pattern of activation times gradient",
            function="ecgcam.attribution.cam:eigen_grad_cam",
            passes="1 F + 1 B per prompt, and an eigenproblem of the smaller of C and K per lead and prompt",
            paper="defined by the software pytorch-grad-cam (EigenGradCAM); no paper",
            formula="cells = X' v, v the first left singular vector of X = G x A (C x K) less each channel's mean",
            misleads="Only one direction among the channels is shown. Evidence in other directions is left out. Two directions "
            f"of nearly equal strength may swap between signals. {_SIGN}",
            options=(Option("centre", bool, True, _CENTRE),),
        ),
        Method(
            name="seg-eigen-cam",
            shows="the main pattern of activation times gradient magnitude",
            function="ecgcam.attribution.cam:seg_eigen_cam",
            passes="1 F + 1 B per prompt, and an eigenproblem of the smaller of C and K per lead and prompt",
            paper="Chung and Ying 2025 (Seg-Eigen-CAM); with the sum of the software pytorch-grad-cam",
            formula="cells = X' v, v the first left singular vector of X = |G| x A (C x K) less each channel's mean",
            misleads="The size of a gradient shows that a channel is used, not in which direction: evidence against the prompt "
            "is as high as evidence for it. Designed for pixels of a segmentation; untested for one score per ECG. "
            f"{_SIGN}",
            options=(Option("centre", bool, True, _CENTRE),),
        ),
        Method(
            name="kpca-cam",
            shows="the main nonlinear pattern of the layer, whatever the prompt",
            function="ecgcam.attribution.cam:kpca_cam",
            passes="1 F + 1 B per prompt, and an eigenproblem of K x K per lead and prompt",
            paper="Karmani et al. 2024 (KPCA-CAM, arXiv:2410.00267)",
            formula="cells = sqrt(l) u, (l, u) the largest eigenpair of the centred kernel matrix (K x K) of the cells' "
            "channel vectors x_k = A_.k less their mean; sigmoid: tanh(gamma x_i . x_j + 1), "
            "rbf: exp(-gamma |x_i - x_j|^2), linear: x_i . x_j",
            misleads=f"{_AGNOSTIC} The kernel saturates: if gamma is too large, all strong cells look alike. {_SIGN}",
            options=(
                Option("kernel", str, "sigmoid", "Similarity of two cells.", choices=("sigmoid", "rbf", "linear")),
                Option("gamma", float, None, "Its scale; by default 1 / number of channels.", above=0),
            ),
        ),
        Method(
            name="fem",
            shows="rare, strong activations, whatever the prompt",
            function="ecgcam.attribution.cam:fem",
            needs=("activations",),
            paper="Fuad et al. 2020 (Features Understanding in 3D CNNs, IPTA)",
            formula="cells_k = sum_c m_c [A_ck > m_c + k s_c], m and s mean and standard deviation over the cells",
            misleads="Uses neither the prompt nor a gradient. It shows rare, strong responses of the layer, whether the score "
            "uses them or not. In a regular rhythm a threshold of two standard deviations leaves little except the "
            "QRS.",
            options=(Option("k", float, 2.0, "A response is rare if it is this many standard deviations above its mean."),),
        ),
        Method(
            name="random-cam",
            shows="nothing: random channel weights, as a baseline",
            function="ecgcam.attribution.cam:random_cam",
            needs=("activations", "seed"),
            paper="control, no paper",
            formula="cells_k = sum_c w_c A_ck, w_c uniform in [-1, 1], drawn once from the seed, the same for every signal",
            misleads="Always, since it is a control. If the maps of a method score no better, they show the layer's responses, "
            "not evidence for the prompt.",
        ),
        Method(
            name="cam",
            shows="the exact share of each cell, for networks with a linear head after a mean",
            function="ecgcam.attribution.rerun:class_activation",
            family="rerun",
            passes="(1 F + 1 B) per prompt, with three more signals",
            paper="Zhou et al. 2016, equation 2",
            formula="cells_k = sum_c w_c A_ck, w the weights of a linear head on mean_k A_ck, so that mean_k cells_k + b is the "
            "score (of a cosine: w and b over the length of the signal's embedding)",
            misleads="Refused unless exactly a mean and a linear head follow the layer. For a cosine it ignores that a cell "
            "also lengthens the embedding, which grad-cam counts against the cell.",
        ),
        Method(
            name="shapley-cam",
            shows="as grad-cam, corrected for the curvature of the score",
            function="ecgcam.attribution.rerun:shapley_cam",
            family="rerun",
            passes="(1 F + 2 B) per prompt",
            paper="Cai 2025 (CAMs as Shapley Value-based Explainers, arXiv:2501.06261)",
            formula="cells_k = sum_c w_c A_ck, w_c = mean_k (G - H A / 2)_ck, H the Hessian of the score with respect to A",
            misleads="A second-order expansion stands for the whole path from no activation to A. For a cosine it is a poor "
            "approximation: H A / 2 is then as large as G. A ReLU has no curvature, so after one this method and "
            "grad-cam differ only by the cosine (or other curved functions). The mean over cells misleads as in grad- "
            "cam.",
        ),
        Method(
            name="layer-integrated-gradients",
            shows="each cell's share of the lead's gain; shares add up to it",
            function="ecgcam.attribution.rerun:layer_integrated_gradients",
            family="rerun",
            passes="steps x (1 F + 1 B) per prompt",
            paper="Sundararajan et al. 2017, equation 1, from the target layer up",
            formula="cells_k = sum_c (A - A_fill)_ck int_0^1 G_ck(A_fill + a (A - A_fill)) da, A_fill of the empty signal, by "
            "Gauss-Legendre; a lead's cells sum to its gain",
            misleads="The path from the empty signal's activations to the lead's goes through activations that no ECG "
            "produces. Check completeness_error. Better at layers with small cells (signal.stages.0 of `mini`), but "
            "not for every finding: docs/evidence.md.",
            options=(Option("steps", int, 8, "Points on the way.", least=1),),
        ),
        Method(
            name="score-cam",
            shows="channels whose activation, used as a mask, raises the score",
            function="ecgcam.attribution.rerun:score_cam",
            family="rerun",
            needs=("activations", "scores"),
            passes="1 F per lead and channel, for all prompts",
            paper="Wang et al. 2020, algorithm 1",
            formula="cells_k = sum_c w_c A_ck, w = softmax_c(score(fill + m_c (x - fill)) - score(fill)), "
            "m_c = A_c laid on the samples, min-max to [0, 1] over the lead's valid samples; weights=increase: no softmax",
            misleads=f"{_FLAT} {_SOFT_MASK}",
            options=(_WEIGHTS,),
        ),
        Method(
            name="ss-cam",
            shows="as score-cam, averaged over noisy masks",
            function="ecgcam.attribution.rerun:ss_cam",
            family="rerun",
            needs=("activations", "scores"),
            passes="draws x (1 F per lead and channel), for all prompts",
            paper="Wang et al. 2020 (SS-CAM, arXiv:2006.14255), smoothing of activation maps",
            formula="as score-cam, the increase averaged over masks m_c + n, n white noise of standard deviation `noise`",
            misleads=f"{_FLAT} Noise on the mask adds noise to the ECG, in proportion to its amplitude. With the paper's own "
            "value of 2 (for images) no heartbeat is left, and the weights measure how the model scores noise.",
            options=(
                _WEIGHTS,
                Option("draws", int, 10, "Noisy masks for each lead and channel.", least=1),
                Option("noise", float, 0.3, "Its standard deviation; the mask runs from 0 to 1.", least=0),
            ),
        ),
        Method(
            name="is-cam",
            shows="as score-cam, averaged over faded masks",
            function="ecgcam.attribution.rerun:is_cam",
            family="rerun",
            needs=("activations", "scores"),
            passes="steps x (1 F per lead and channel), for all prompts",
            paper="Naidu et al. 2020 (IS-CAM, arXiv:2010.03023)",
            formula="as score-cam, the increase averaged over masks (i / steps) m_c, i = 1..steps",
            misleads=f"{_FLAT} An ECG at half its amplitude is a low-voltage ECG to the model, not half of the evidence.",
            options=(_WEIGHTS, Option("steps", int, 10, "Heights of the mask between 0 and 1.", least=1)),
        ),
        Method(
            name="ablation-cam",
            shows="channels whose removal lowers the score",
            function="ecgcam.attribution.rerun:ablation_cam",
            family="rerun",
            needs=("activations", "scores"),
            passes="1 F per lead, and 1 F from the target layer on per lead and channel, for all prompts",
            paper="Desai and Ramaswamy 2020, section 3",
            formula="cells_k = sum_c (y - y_c) / max(|y|, 1e-6) A_ck, y_c the score with channel c at 0 in every cell; the paper "
            "divides by y, which turns every sign around where a similarity is negative",
            misleads="Channels that can replace each other all look unused. A lead whose own score is near 0 gets a very large "
            "map: compare moments within a lead, not leads. In a layer without ReLU, 0 does not mean absence.",
        ),
        Method(
            name="smooth-grad-cam++",
            shows="as grad-cam++, averaged over noisy leads",
            function="ecgcam.attribution.rerun:smooth_grad_cam_pp",
            family="rerun",
            needs=("activations", "gradients"),
            passes="draws x (1 F + 1 B) per prompt",
            paper="Omeiza et al. 2019 (arXiv:1908.01224), section 3",
            formula="cells_k = sum_c w_c A_ck, w_c = sum_k a_ck relu(D1_ck), a_ck = D2_ck / (2 D2_ck + D3_ck sum_j A_cj); D1, "
            "D2, D3 the means of G, G^2, G^3 over noisy signals, A that of the clean one; noise on the lead that is kept",
            misleads="As grad-cam++. Noise as large as the small waves makes a different ECG.",
            options=(
                Option("draws", int, 16, "Noisy signals for each lead.", least=1),
                Option("noise", float, 0.5, "Its standard deviation, in robust spreads (1.4826 MAD) of the lead.", least=0),
            ),
        ),
        Method(
            name="dff",
            shows="where a learned pattern of the layer occurs, of the pattern with the highest score",
            function="ecgcam.attribution.factors:deep_feature_factorization",
            family="rerun",
            needs=("activations", "scores"),
            passes="1 F, 1 F of the empty signal per factor for all prompts, and a non-negative factorization of C x (leads x K)",
            paper="Collins et al. 2018 (deep feature factorization), section 3; the prompt's choice as in the software "
            "pytorch-grad-cam, which runs the head on concepts",
            formula="cells_k = |W_j| H_jk, relu(A) ~ W H over the cells of all leads (least squares; W: C x factors and "
            "H: factors x cells, none below 0), j the concept with the highest score, or the factor-th highest; a concept's "
            "score is the model's for W_j max_k H_jk at every cell of the layer",
            misleads="Shows where the layer detects one concept; the prompt only selects the concept. The evidence for a "
            "prompt may be spread over several concepts, and the best one may score no more than an empty signal: see "
            "concept_scores in the report. The map of a lead depends on the other leads. In a layer without ReLU the "
            "negative half is left out.",
            options=(
                Option("factors", int, 8, "Number of concepts into which the activations are factorized.", least=1),
                Option("factor", int, None, "Which concept is shown; 1 has the highest score.", least=1),
                Option("steps", int, 200, "Updates of the factorization.", least=1),
            ),
        ),
        Method(
            name="saliency",
            shows="samples to which the score is sensitive, in either direction",
            function="ecgcam.attribution.gradients:saliency",
            family="signal",
            needs=("gradients",),
            passes="1 F + 1 B of the whole window per prompt",
            paper="Simonyan et al. 2014, section 3",
            formula="map_lt = |d score / d x_lt|, per mV, on the whole window",
            misleads="Shows where a small change would move the score, not what produced it. If the score is flat around this "
            "signal, evidence that matters gets nothing. Noisy from sample to sample.",
        ),
        Method(
            name="input-x-gradient",
            shows="sensitivity times distance from the fill, with its sign",
            function="ecgcam.attribution.gradients:input_x_gradient",
            family="signal",
            needs=("gradients",),
            passes="1 F + 1 B of the whole window per prompt",
            paper="Shrikumar et al. 2016",
            formula="map_lt = (x_lt - fill_lt) d score / d x_lt, on the whole window; the paper's fill is 0",
            misleads=f"{_INPUT} The gradient is taken at this signal only: the values sum to score(x) - score(fill) only for a "
            "linear model.",
            signed=True,
        ),
        Method(
            name="integrated-gradients",
            shows="each sample's share of the score, with its sign; shares add up",
            function="ecgcam.attribution.gradients:integrated_gradients",
            family="signal",
            needs=("gradients",),
            passes="steps x (1 F of the whole window, for all prompts, and 1 B per prompt)",
            paper="Sundararajan et al. 2017, equation 1",
            formula="map_lt = (x_lt - fill_lt) int_0^1 (d score / d x_lt)(fill + a (x - fill)) da, by Gauss-Legendre quadrature; "
            "sums to score(x) - score(fill), up to completeness_error in the report",
            misleads=f"{_INPUT} Signals on the path from the fill are low-voltage ECGs to the model, and their gradients count "
            "as much as the last one.",
            options=(Option("steps", int, 100, "Nodes of the quadrature.", least=1),),
            signed=True,
        ),
        Method(
            name="gradient-shap",
            shows="as integrated-gradients, against noisy fills",
            function="ecgcam.attribution.gradients:gradient_shap",
            family="signal",
            needs=("gradients",),
            passes="draws x (2 F of the whole window, for all prompts, and 1 B per prompt)",
            paper="Erion et al. 2021 (expected gradients); Lundberg's shap calls it GradientExplainer",
            formula="map_lt = E[(x - b)_lt (d score / d x_lt)(b + a (x - b))], a uniform in [0, 1], b the fill with white noise "
            "(the papers draw b from the training set); a is drawn once from each of `draws` parts of [0, 1]; sums to score(x) - "
            "E[score(b)], up to completeness_error in the report",
            misleads="An estimate: check completeness_error and another seed. Otherwise as integrated-gradients. The noise in "
            "b stays in the map where the gradient is steep.",
            options=(
                Option("draws", int, 100, "Number of starting points, each with one random point of the path.", least=1),
                Option("noise", float, 0.5, "Noise on the fill, in robust spreads (1.4826 MAD) of the lead.", least=0),
            ),
            signed=True,
        ),
        Method(
            name="smooth-grad",
            shows="a gradient method, averaged over noisy signals",
            function="ecgcam.attribution.gradients:smooth_grad",
            family="signal",
            needs=("gradients",),
            passes="draws x the cost of `around`",
            paper="Smilkov et al. 2017",
            formula="map = E[M(x + n)], n white noise on the valid samples, of `noise` robust spreads of each lead (the paper's "
            "is a share of max - min, which in an ECG is the QRS or the baseline wander), M the method `around`",
            misleads="Explains noisy ECGs, not this one: noise as large as the small waves makes a different ECG.",
            options=_NOISY,
            signed=True,
        ),
        Method(
            name="smooth-grad-squared",
            shows="a gradient method, squared and averaged over noisy signals",
            function="ecgcam.attribution.gradients:smooth_grad_squared",
            family="signal",
            needs=("gradients",),
            passes="draws x the cost of `around`",
            paper="Hooker et al. 2019 (SG-SQ)",
            formula="map = E[M(x + n)^2], as smooth-grad",
            misleads="As smooth-grad. Squares exaggerate differences: half of the effect is a quarter of the map. Signs are "
            "lost.",
            options=_NOISY,
        ),
        Method(
            name="var-grad",
            shows="where a gradient method varies under noise",
            function="ecgcam.attribution.gradients:var_grad",
            family="signal",
            needs=("gradients",),
            passes="draws x the cost of `around`",
            paper="Adebayo et al. 2018 (VarGrad)",
            formula="map = Var[M(x + n)], the mean squared deviation from the mean, as smooth-grad",
            misleads="Shows where the explanation varies under noise. A moment with a constant effect gets nothing.",
            options=_NOISY,
        ),
        Method(
            name="full-grad",
            shows="shares of samples and of biases in the score",
            function="ecgcam.attribution.gradients:full_grad",
            family="signal",
            needs=("gradients",),
            passes="2 F + 1 B of the whole window per prompt",
            paper="Srinivas and Fleuret 2019",
            formula="map = x d score / d x + sum over layers and channels of b d score / d b, b the biases of Conv1d, Linear, "
            "LayerNorm, and b - w m / sqrt(v + eps) of BatchNorm1d, laid on samples as the declared layer with as many "
            "cells is, shared evenly by the leads; biases without a place in time (after the pooling) are spread over the "
            "window. The paper's maps take magnitudes (post=abs) and scale each layer to [0, 1], which is left out. The "
            "report has the input part, the bias part and their error against the score",
            misleads="The bias part does not belong to a lead: leads differ only by the input part. x is the signal "
            "in model space: "
            "after a min-max normalisation it contains the offset of the baseline, which counts. The parts sum to the "
            "score only for piecewise linear networks, not through attention, GELU or layer normalisation.",
            options=(
                Option(
                    "length", str, "held", "For a cosine: the embedding's length is held constant, or free (then "
                    "the parts sum to 0).",
                    choices=("held", "free"),
                ),
                Option("post", str, "sum", "Add up with signs, or magnitudes of each channel.", choices=("sum", "abs")),
            ),
            signed=True,
        ),
        Method(
            name="guided-backprop",
            shows="sharp waves that activate the network; depends little on the prompt",
            function="ecgcam.attribution.gradients:guided_backprop",
            family="signal",
            needs=("gradients", "relu"),
            passes="1 F + 1 B of the whole window per prompt",
            paper="Springenberg et al. 2015, figure 1",
            formula="the gradient, per mV, with R = relu(R') [z > 0] for the gradient R' that reaches relu(z)",
            misleads="Close to an edge detector: it changes little when the last layers of the model are randomised or the "
            f"prompt changes (Adebayo et al. 2018, Nie et al. 2018). {_RELU_ONLY}",
            signed=True,
        ),
        Method(
            name="deconvolution",
            shows="waves that activate the network; depends little on the prompt",
            function="ecgcam.attribution.gradients:deconvolution",
            family="signal",
            needs=("gradients", "relu"),
            passes="1 F + 1 B of the whole window per prompt",
            paper="Zeiler and Fergus 2014, section 2.1",
            formula="the gradient, per mV, with R = relu(R') for the gradient R' that reaches relu(z)",
            misleads=f"As guided-backprop. This signal enters only through the other non-linearities. {_RELU_ONLY}",
            signed=True,
        ),
        Method(
            name="guided-grad-cam",
            shows="guided-backprop within the cells of grad-cam",
            function="ecgcam.attribution.gradients:guided_grad_cam",
            family="signal",
            needs=("activations", "gradients", "relu"),
            passes="1 F + 1 B of the whole window, and of the lead-masked batch, per prompt",
            paper="Selvaraju et al. 2017",
            formula="map_lt = guided-backprop_lt relu(grad-cam)_t laid on the samples; cam=lead: for each lead the Grad-CAM "
            "of the signal that keeps that lead alone, cam=whole: that of the whole window for all, as in the paper",
            misleads="The fine detail comes from guided-backprop, which hardly depends on the prompt; only the choice of "
            f"moments depends on it. The detail is not evidence. {_RELU_ONLY}",
            options=(
                Option("cam", str, "lead", "Grad-CAM of each lead alone, or of the whole window.", choices=("lead", "whole")),
            ),
            signed=True,
        ),
        Method(
            name="occlusion",
            shows="how the score falls when a short window of a lead is filled",
            function="ecgcam.attribution.perturbation:occlusion",
            family="signal",
            needs=("scores",),
            passes="1 F per lead and stride, for all prompts",
            paper="Zeiler and Fergus 2014",
            formula="map_lt = mean over the windows that cover t of score(x) - score(x, lead l filled within the window); "
            "padding is never filled",
            misleads="Filling makes steps at the window's edges, which the model has never seen. A regular rhythm repeats "
            "itself: with one beat hidden the others still show it, and no single window matters. Narrow "
            "windows undervalue slow waves. Pictures show losses of score as they are.",
            options=(
                Option("window_ms", float, 200.0, "Width of the window.", above=0),
                Option("stride_ms", float, 100.0, "From one window to the next; no wider than the window.", above=0),
            ),
            signed=True,
        ),
        Method(
            name="wave-occlusion",
            shows="how the score falls without P, QRS, T or a whole beat",
            function="ecgcam.attribution.perturbation:wave_occlusion",
            family="signal",
            needs=("scores", "waves"),
            passes="1 F per lead and part, for all prompts",
            paper="Zeiler and Fergus 2014, with parts of the heartbeat in place of windows",
            formula="map_lt = score(x) - score(x, lead l filled within the part that t is in). by=segment: P, PR, QRS, ST, T or "
            "TP of all beats at once; by=wave: one P, QRS or T of one beat; by=beat: one beat, from its P (QRS where no P is "
            "called) to the next one. Padding, and what is in no part, is never filled and has no value",
            misleads="Only as good as the delineation, which `--waves` draws; a P that was not found is part of TP. "
            "Long parts lose more "
            "than short ones: TP is half the time. With by=wave or by=beat, the other beats of a regular rhythm "
            "still show the finding. "
            "Pictures show losses of score as they are.",
            options=(Option("by", str, "segment", "Parts that are filled together.", choices=("segment", "wave", "beat")),),
            signed=True,
        ),
        Method(
            name="lead-occlusion",
            shows="how the score falls without a lead",
            function="ecgcam.attribution.perturbation:lead_occlusion",
            family="signal",
            needs=("scores",),
            passes="1 F per lead, for all prompts",
            paper="leave one out; Zeiler and Fergus 2014 with a lead in place of a window",
            formula="map_lt = score(x) - score(x without lead l), at each valid sample t",
            misleads="Gives no moments. Leads share information (III = II - I): each of two leads with the same content "
            "looks unnecessary, because the other remains; lead-shapley divides the effect between them. Pictures "
            "show the values as bars.",
            signed=True,
        ),
        Method(
            name="lead-shapley",
            shows="each lead's fair share of the score, over all orders of leads",
            function="ecgcam.attribution.shapley:lead_shapley",
            family="signal",
            needs=("scores",),
            passes="2^leads F up to 8 leads, else at most permutations x (leads - 1) + 2 F; for all prompts",
            paper="Shapley 1953; Castro et al. 2009; pairs: Mitchell et al. 2022",
            formula="phi_l = mean over orders of the leads of v(leads up to l) - v(leads before l), v(S) the score with the "
            "leads outside S filled; sum_l phi_l = score(x) - score(fill). map_lt = phi_l fs / number of valid samples of l "
            "(score per second: a row's sum / fs is phi_l). Values, standard errors and whether they are exact are in the report",
            misleads="Gives no moments. Most of the signals it runs have several leads filled, which the model may never "
            "have seen. Sampled values within two standard errors of each other have no order. Pictures show the values "
            "as bars.",
            options=(
                Option("permutations", int, 128, "Orders drawn for more than 8 leads; an even number.", least=4),
            ),
            signed=True,
        ),
        Method(
            name="attention-rollout",
            shows="where tokens attend through all blocks, whatever the prompt",
            function="ecgcam.attribution.attention:attention_rollout",
            family="rerun",
            needs=("attention",),
            passes="1 F",
            paper="Abnar and Zuidema 2020, section 3",
            formula="cells_k = mean_q R_qk (a class token's row where there is one), R = M_B ... M_1, "
            "M_b = (mean of block b's heads + I) / 2, rows of sum 1",
            misleads="The prompt does not enter, so the map cannot show what supports it. It follows where tokens attend, not "
            "what they read there: values, feed-forward layers and signs are left out. In a network that reads the "
            "mean of the tokens, such as MERL's ViT, it tends to be flat.",
        ),
        Method(
            name="chefer",
            shows="where tokens attend, weighted by the gradient of the score",
            function="ecgcam.attribution.attention:chefer",
            family="rerun",
            needs=("attention", "gradients"),
            passes="1 F + 1 B per prompt",
            paper="Chefer, Gur and Wolf 2021 (generic attention-model explainability), equations 5 and 6",
            formula="cells_k = mean_q (R - I)_qk (a class token's row where there is one), R <- R + mean_h (G_b x A_b)^+ R "
            "over the blocks b from R = I, G_b = d score / d A_b",
            misleads="Negative contributions are dropped at every block, so the map never shows evidence against the prompt. "
            "Residual connections count unchanged; feed-forward layers are not followed.",
        ),
        Method(
            name="legrad",
            shows="where the score is sensitive to attention, over all blocks",
            function="ecgcam.attribution.attention:legrad",
            family="rerun",
            needs=("attention", "gradients"),
            passes="1 F + 1 B through one block per block and prompt",
            paper="Bousselham et al. 2025 (ICCV), section 3",
            formula="cells_k = mean over blocks b, heads h and queries q of (d s_b / d A_b,hqk)^+, s_b the score of block b's "
            "tokens read as the last block's are (of a network that reads their mean: mean, normalisation, projection)",
            misleads="Shows where more attention would raise the score, not where attention is: a cell without attention can "
            "be marked. Tokens of early blocks are scored by a readout that was trained on the last block.",
        ),
        Method(
            name="attention-pool",
            shows="the weights of the last pooling layer, whatever the prompt",
            function="ecgcam.attribution.attention:attention_pool",
            family="rerun",
            needs=("attention",),
            passes="1 F",
            paper="the pooling of Radford et al. 2021, section 2.4",
            formula="cells_k = mean_h a_hk, a the pooling query's weights, that of its own token left out",
            misleads="The prompt does not enter: every prompt gets the same map. A weight shows how much of a cell is read, "
            "not for which purpose. Cells are wide, and contain what earlier layers moved there from elsewhere.",
        ),
        Method(
            name="deep-lift",
            shows="each sample's share of the difference from the fill, by DeepLIFT's rules",
            function="ecgcam.attribution.deeplift:deep_lift",
            family="signal",
            needs=("gradients",),
            passes="2 F + 1 B through the whole network per prompt",
            paper="Shrikumar et al. 2017, section 3.5.1",
            formula="map_lt = (x_lt - fill_lt) m_lt, m the product of multipliers along the network: (f(x) - f(fill)) / (x - "
            "fill) for a function of one number, the cross-maximum rule for a maximum, the mean of the other factor "
            "for a product, otherwise the gradient averaged on the straight line between the two; sum = score(x) - "
            "score(fill). The report has the error of the sum; beyond 5 % there is a warning",
            misleads="Where x and the fill are on the same side of a ReLU but its input crosses 0 between them, only the two "
            "ends count. Where a lead equals its fill it gets nothing, even if the flat line matters. The paper has "
            "no rule for softmax, normalisation over channels, or recurrent layers: the averaged gradient is ours.",
            signed=True,
        ),
        Method(
            name="lrp",
            shows="relevance passed back through the layers by the epsilon rule",
            function="ecgcam.attribution.relevance:lrp",
            family="signal",
            needs=("gradients",),
            passes="2 F + 1 B through the whole network per prompt",
            paper="Bach et al. 2015, equation 58; for transformers Achtibat et al. 2024 (AttnLRP, arXiv:2402.05602)",
            formula="R_i = sum_j a_i w_ij R_j / (z_j + epsilon sign z_j), layer by layer from R = score(x), z_j = sum_i a_i w_ij "
            "+ bias; the length of the embedding held constant. A function of one number passes R on, except for its value "
            "at 0; a product of two changing tensors (attention) gives each half; a normalisation holds its scale; softmax: "
            "R_i = x_i (R_i - s_i sum_j R_j). The report has the parts of biases (with class tokens, positions and epsilon) "
            "and of the softmax; map, biases and softmax sum to the score",
            misleads="The reference is 0 in model space, not the fill: after a min-max normalisation that is the lowest "
            "voltage of the window. Biases, including those of batch normalisation, and the softmax can absorb most of "
            "the score. With epsilon near 0 the map of a ReLU network is input times gradient, including its noise. "
            "Refused for recurrent layers.",
            options=(
                Option("epsilon", float, 1e-6, "What stabilises the quotient; larger is smoother and keeps more.", above=0),
            ),
            signed=True,
        ),
        Method(
            name="kernel-shap",
            shows="Shapley values of tiles of leads, by sampling",
            function="ecgcam.attribution.peers:kernel_shap",
            family="signal",
            needs=("scores", "captum"),
            passes="samples F, for all prompts",
            paper="Lundberg and Lee 2017, theorem 2; by captum",
            formula="phi = the weighted least-squares solution of score(tiles of S as they are, the others filled) = phi_0 + "
            "sum over S of phi_i, S drawn with the Shapley kernel, the full and the empty set with weight 10^6 (all "
            "sets, exactly, where there are no more than samples); "
            "map_lt = phi_i fs / number of valid samples of tile i (score per second)",
            misleads="An estimate: with few samples per tile the values scatter, and captum reports no error. Compare another "
            "seed. Most sets leave pieces of beats, which the model has never seen. Tiles cut across beats.",
            options=(_TILE, _SAMPLES),
            signed=True,
        ),
        Method(
            name="lime",
            shows="weights of tiles in a linear model fitted around the recording",
            function="ecgcam.attribution.peers:lime",
            family="signal",
            needs=("scores", "captum"),
            passes="samples F, for all prompts",
            paper="Ribeiro et al. 2016, section 3; by captum",
            formula="coefficients of a ridge regression of the score on the presence of each tile (there with probability 1/2, "
            "else filled), samples weighed by exp(-d^2 / (2 0.25^2)), d the cosine distance of presence to all ones; "
            "laid on samples as kernel-shap",
            misleads="The plane is fitted to signals with about half of their tiles removed, not near this signal; the values "
            "do not sum to the score. Kernel width and penalty are conventions for images. An estimate: compare "
            "another seed.",
            options=(
                _TILE,
                _SAMPLES,
                Option("alpha", float, 1.0, "Ridge penalty.", least=0),
            ),
            signed=True,
        ),
    )
}  # fmt: skip


def method_named(name: str) -> Method:
    """Return the row of a method.

    Raises
    ------
    EcgcamError
        If there is none of that name.
    """
    if name not in METHODS:
        raise no_such(f"`method` {name}", "method", name, METHODS, f"`ecgcam methods` lists all {len(METHODS)}")
    return METHODS[name]
