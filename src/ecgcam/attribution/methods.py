"""The table of methods. `--method`, `--set`, `ecgcam methods`, the documentation and the tests read it. Imports no torch.

A CAM method is one function (A, G) -> cells in `cam.py` and one row here. After a change of a row: `python docs/make_methods.py`.
"""

from __future__ import annotations

from ecgcam.attribution.registry import Method, Option
from ecgcam.errors import EcgcamError

_CENTRE = "Take each channel's mean over the cells off first."
_SIGN = "The sign follows the correlation of the cells with the sum over channels of G x A; no correlation, no map."
_AGNOSTIC = "Shows what the layer responds to most, whatever the prompt; prompts change its sign at most."

_FLAT = (
    "A softmax of cosines (all within 2 of each other) hardly tells channels apart: the map is then close to the mean "
    "activation, whatever the prompt; see weights=increase."
)
_SOFT_MASK = (
    "A mask scales the ECG from sample to sample, which bends its waves; the least response of a channel counts as "
    "absence even where it is strong."
)
_WEIGHTS = Option(
    "weights",
    str,
    "softmax",
    "Of the channels: softmax of the increases, or the increases.",
    choices=("softmax", "increase"),
)

_AROUND = ("grad-cam", "hires-cam", "grad-cam-elementwise", "grad-cam++", "xgrad-cam", "layer-cam")

_TILE = Option("tile_ms", float, 500.0, "Width of a tile; one lead of it is a player.", above=0)
_SAMPLES = Option("samples", int, 2048, "Sets of tiles that are run; more than there are tiles.", least=4)

_GRADIENTS = (
    "saliency", "input-x-gradient", "integrated-gradients", "full-grad", "guided-backprop", "deconvolution", "guided-grad-cam",
)  # fmt: skip
_NOISY = (
    Option("around", str, "saliency", "The method that is run on noisy windows.", choices=_GRADIENTS),
    Option("draws", int, 25, "Noisy windows.", least=1),
    Option("noise", float, 0.5, "Its standard deviation, in robust spreads (1.4826 MAD) of the lead.", least=0),
)
_INPUT = (
    "At a sample where the signal lies on its fill (the baseline, mostly) the map is 0, whatever the model reads there."
)
_RELU_ONLY = "Refused where the network has no ReLU or another non-linearity beside it (MERL's ViT has GELU)."

METHODS = {
    method.name: method
    for method in (
        Method(
            name="grad-cam",
            function="ecgcam.attribution.cam:grad_cam",
            paper="Selvaraju et al. 2017, equations 1 and 2",
            formula="cells_k = sum_c w_c A_ck, w_c = mean_k G_ck",
            misleads="The mean gradient stands for every cell: where a channel helps at one moment and hurts at another, "
            "the map can mark moments that the score does not use. Where a cosine is near 1 its gradient is what is left to "
            "gain, not what made it so: the largest cell can lie beside the evidence (dot-grad-cam's does not).",
        ),
        Method(
            name="dot-grad-cam",
            function="ecgcam.attribution.cam:grad_cam",
            paper="Selvaraju et al. 2017, equations 1 and 2, before the cosine's normalisation; ours, no paper",
            formula="Grad-CAM of e . t / |e| with |e| held: G = (de/dA)' t / |e|. Where a mean and linear maps follow, cells add "
            "up to the score (but for biases); a cosine's own gradient also takes off what is parallel to e: they add up to 0",
            misleads="A cell that makes the embedding longer without turning it counts as evidence, which it is not for a "
            "cosine. Without a cosine it is grad-cam.",
            held=True,
        ),
        Method(
            name="finer-cam",
            function="ecgcam.attribution.cam:grad_cam",
            paper="Zhang et al. 2025, section 3.2",
            formula="Grad-CAM of the score s_t - gamma x mean_f s_f, t the prompt and f its foils",
            misleads="The foils decide what is left: without --against they are the findings whose prompts are embedded nearest, "
            "which need not be what a reader would compare it with. Scores and gains are differences.",
            options=(
                Option("gamma", float, 0.6, "how much of the foils' mean score is taken off", least=0.0),
                Option("nearest", int, 3, "foils taken from the vocabulary without --against", least=1),
            ),
            contrast=True,
        ),
        Method(
            name="hires-cam",
            function="ecgcam.attribution.cam:hires_cam",
            paper="Draelos and Carin 2020, equation 5",
            formula="cells_k = sum_c G_ck A_ck",
            misleads="The gradient is local: where the score is flat around this signal, cells that matter get nothing. "
            "Noisier than grad-cam in layers far from the readout.",
        ),
        Method(
            name="grad-cam-elementwise",
            function="ecgcam.attribution.cam:grad_cam_elementwise",
            paper="defined by the software pytorch-grad-cam (GradCAMElementWise); no paper",
            formula="cells_k = sum_c relu(G_ck A_ck)",
            misleads="What speaks against the prompt in one channel never offsets what speaks for it in another: "
            "cells look important that on balance are not.",
        ),
        Method(
            name="grad-cam-eigen",
            function="ecgcam.attribution.cam:grad_cam_eigen",
            passes="1 F + 1 B per prompt, and an eigenproblem of the smaller of C and K per lead and prompt",
            paper="defined by the software pytorch-grad-cam (eigen_smooth); no paper",
            formula="cells = X' v, v the first left singular vector of X_ck = (mean_k G_ck) A_ck less each channel's mean",
            misleads="Eigen smoothing looks cleaner because it drops what does not fit the strongest pattern over the cells: "
            f"a lone abnormal beat among regular ones, for one. {_SIGN}",
        ),
        Method(
            name="augmented",
            function="ecgcam.attribution.augmentation:augmented",
            family="rerun",
            passes="draws x (1 F + 1 B) per prompt",
            paper="test-time augmentation; as aug_smooth of the software pytorch-grad-cam, no paper",
            formula="cells = mean over draws of the cells of `around` on the kept lead shifted by up to shift_ms (and back), "
            "scaled by 1 - gain to 1 + gain above its fill, with noise; draw 0 changes nothing",
            misleads="Steadier, not truer: what all draws share may be the model's habit. Long shifts blur moments.",
            options=(
                Option("around", str, "grad-cam", "The method that is averaged.", choices=_AROUND),
                Option("draws", int, 8, "How many, the unchanged signal among them.", least=1),
                Option("shift_ms", float, 20.0, "The largest shift in time.", least=0.0),
                Option("gain", float, 0.1, "The largest change of size.", least=0.0),
                Option("noise", float, 0.1, "Noise, in median absolute deviations of the lead.", least=0.0),
            ),
        ),
        Method(
            name="grad-cam++",
            function="ecgcam.attribution.cam:grad_cam_plus_plus",
            paper="Chattopadhay et al. 2018, equation 19",
            formula="cells_k = sum_c w_c A_ck, w_c = sum_k a_ck relu(G_ck), "
            "a_ck = G_ck^2 / (2 G_ck^2 + G_ck^3 sum_j A_cj), 0 where G_ck or the denominator is 0",
            misleads="Negative gradients are dropped, so the map cannot tell evidence against the prompt from none. "
            "The derivation assumes activations after ReLU and an exponential output; "
            "with signed activations (transformers) the weights can blow up.",
        ),
        Method(
            name="xgrad-cam",
            function="ecgcam.attribution.cam:xgrad_cam",
            paper="Fu et al. 2020",
            formula="cells_k = sum_c w_c A_ck, w_c = sum_k G_ck A_ck / sum_k A_ck; "
            "w_c = 0 where |sum_k A_ck| <= 0.001 sum_k |A_ck|",
            misleads="Divides by a sum of activations: where they are signed (transformers, layers before a ReLU), channels "
            "whose sum nearly cancels get very large weights, and those below the guard none.",
        ),
        Method(
            name="layer-cam",
            function="ecgcam.attribution.cam:layer_cam",
            paper="Jiang et al. 2021",
            formula="cells_k = sum_c relu(G_ck) A_ck",
            misleads="Negative gradients are dropped: moments that lower the score do not reduce the map. "
            "With signed activations a negative one under a positive gradient still lowers it.",
        ),
        Method(
            name="eigen-cam",
            function="ecgcam.attribution.cam:eigen_cam",
            passes="1 F + 1 B per prompt, and an eigenproblem of the smaller of C and K per lead and prompt",
            paper="Muhammad and Yeasin 2020",
            formula="cells = A' v, v the first left singular vector of A (C x K)",
            misleads=f"{_AGNOSTIC} Of a layer after ReLU the cells have one sign: the whole map shows or none of it. {_SIGN}",
            options=(Option("centre", bool, False, _CENTRE),),
        ),
        Method(
            name="eigen-grad-cam",
            function="ecgcam.attribution.cam:eigen_grad_cam",
            passes="1 F + 1 B per prompt, and an eigenproblem of the smaller of C and K per lead and prompt",
            paper="defined by the software pytorch-grad-cam (EigenGradCAM); no paper",
            formula="cells = X' v, v the first left singular vector of X = G x A (C x K) less each channel's mean",
            misleads="One direction among the channels: evidence that lies in others is left out. Two directions of nearly "
            f"equal strength may swap from one signal to the next. {_SIGN}",
            options=(Option("centre", bool, True, _CENTRE),),
        ),
        Method(
            name="seg-eigen-cam",
            function="ecgcam.attribution.cam:seg_eigen_cam",
            passes="1 F + 1 B per prompt, and an eigenproblem of the smaller of C and K per lead and prompt",
            paper="Chung and Ying 2025 (Seg-Eigen-CAM); as the software pytorch-grad-cam sums it up",
            formula="cells = X' v, v the first left singular vector of X = |G| x A (C x K) less each channel's mean",
            misleads="The size of a gradient says that a channel is used, not which way: what speaks against the prompt is as "
            f"high as what speaks for it. Made for the pixels of a segmentation; of one score per ECG it is untried. {_SIGN}",
            options=(Option("centre", bool, True, _CENTRE),),
        ),
        Method(
            name="kpca-cam",
            function="ecgcam.attribution.cam:kpca_cam",
            passes="1 F + 1 B per prompt, and an eigenproblem of K x K per lead and prompt",
            paper="Karmani et al. 2024 (KPCA-CAM, arXiv:2410.00267)",
            formula="cells = sqrt(l) u, (l, u) the largest eigenpair of the centred kernel matrix (K x K) of the cells' "
            "channel vectors x_k = A_.k less their mean; sigmoid: tanh(gamma x_i . x_j + 1), "
            "rbf: exp(-gamma |x_i - x_j|^2), linear: x_i . x_j",
            misleads=f"{_AGNOSTIC} The kernel saturates: with a gamma too large all strong cells look alike. {_SIGN}",
            options=(
                Option("kernel", str, "sigmoid", "Similarity of two cells.", choices=("sigmoid", "rbf", "linear")),
                Option("gamma", float, None, "Its scale; by default 1 / number of channels.", above=0),
            ),
        ),
        Method(
            name="fem",
            function="ecgcam.attribution.cam:fem",
            needs=("activations",),
            paper="Fuad et al. 2020 (Features Understanding in 3D CNNs, IPTA)",
            formula="cells_k = sum_c m_c [A_ck > m_c + k s_c], m and s mean and standard deviation over the cells",
            misleads="Knows neither prompt nor gradient: shows rare strong responses of the layer, used by the score or not. "
            "In a regular rhythm a threshold of two deviations keeps little but the QRS.",
            options=(Option("k", float, 2.0, "How many standard deviations above its mean a response is rare."),),
        ),
        Method(
            name="random-cam",
            function="ecgcam.attribution.cam:random_cam",
            needs=("activations", "seed"),
            paper="control, no paper",
            formula="cells_k = sum_c w_c A_ck, w_c uniform in [-1, 1], drawn once from the seed, the same for every signal",
            misleads="Always: a control. A method whose maps score no better than this one's shows the layer's responses, "
            "not the prompt's evidence.",
        ),
        Method(
            name="cam",
            function="ecgcam.attribution.rerun:class_activation",
            family="rerun",
            passes="(1 F + 1 B) per prompt, with three signals more",
            paper="Zhou et al. 2016, equation 2",
            formula="cells_k = sum_c w_c A_ck, w the weights of a linear head on mean_k A_ck, so that mean_k cells_k + b is the "
            "score (of a cosine: w and b over the length of the signal's embedding)",
            misleads="Refused where anything but a mean and a linear head follows the layer. Of a cosine it leaves out that a "
            "cell also lengthens the embedding, which grad-cam counts against it.",
        ),
        Method(
            name="shapley-cam",
            function="ecgcam.attribution.rerun:shapley_cam",
            family="rerun",
            passes="(1 F + 2 B) per prompt",
            paper="Cai 2025 (CAMs as Shapley Value-based Explainers, arXiv:2501.06261)",
            formula="cells_k = sum_c w_c A_ck, w_c = mean_k (G - H A / 2)_ck, H the Hessian of the score with respect to A",
            misleads="The second order stands for the whole way from no activation to A, which of a cosine it does not describe: "
            "H A / 2 is then of the size of G. ReLU has no curvature, so behind it grad-cam and this differ by the "
            "cosine (or whatever else bends) alone. The mean over cells misleads as grad-cam's.",
        ),
        Method(
            name="layer-integrated-gradients",
            function="ecgcam.attribution.rerun:layer_integrated_gradients",
            family="rerun",
            passes="steps x (1 F + 1 B) per prompt",
            paper="Sundararajan et al. 2017, equation 1, from the target layer on",
            formula="cells_k = sum_c (A - A_fill)_ck int_0^1 G_ck(A_fill + a (A - A_fill)) da, A_fill of the empty signal, by "
            "Gauss-Legendre; a lead's cells sum to its gain",
            misleads="The way from the empty signal's layer to the lead's goes through layers that no ECG makes. Look at "
            "completeness_error. Better where cells are small (of `mini`: signal.stages.0), and not for every finding: "
            "docs/evidence.md.",
            options=(Option("steps", int, 8, "Points on the way.", least=1),),
        ),
        Method(
            name="score-cam",
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
            function="ecgcam.attribution.rerun:ss_cam",
            family="rerun",
            needs=("activations", "scores"),
            passes="draws x (1 F per lead and channel), for all prompts",
            paper="Wang et al. 2020 (SS-CAM, arXiv:2006.14255), smoothing of activation maps",
            formula="as score-cam, the increase averaged over masks m_c + n, n white noise of standard deviation `noise`",
            misleads=f"{_FLAT} Noise on the mask is noise on the ECG, in proportion to its height: the paper's own 2 (of images) "
            "leaves no heartbeat, and the weights then say how the model scores noise.",
            options=(
                _WEIGHTS,
                Option("draws", int, 10, "Noisy masks for each lead and channel.", least=1),
                Option("noise", float, 0.3, "Its standard deviation; the mask runs from 0 to 1.", least=0),
            ),
        ),
        Method(
            name="is-cam",
            function="ecgcam.attribution.rerun:is_cam",
            family="rerun",
            needs=("activations", "scores"),
            passes="steps x (1 F per lead and channel), for all prompts",
            paper="Naidu et al. 2020 (IS-CAM, arXiv:2010.03023)",
            formula="as score-cam, the increase averaged over masks (i / steps) m_c, i = 1..steps",
            misleads=f"{_FLAT} Half an ECG's height is a low-voltage ECG to the model, not half the evidence.",
            options=(_WEIGHTS, Option("steps", int, 10, "Heights of the mask between 0 and 1.", least=1)),
        ),
        Method(
            name="ablation-cam",
            function="ecgcam.attribution.rerun:ablation_cam",
            family="rerun",
            needs=("activations", "scores"),
            passes="1 F per lead, and 1 F from the target layer on per lead and channel, for all prompts",
            paper="Desai and Ramaswamy 2020, section 3",
            formula="cells_k = sum_c (y - y_c) / max(|y|, 1e-6) A_ck, y_c the score with channel c at 0 in every cell; the paper "
            "divides by y, which turns every sign around where a similarity is negative",
            misleads="Channels that stand in for each other each look idle. A lead whose own score is near 0 gets a very "
            "large map: compare moments within a lead, not leads. At a layer without ReLU, 0 is no absence.",
        ),
        Method(
            name="smooth-grad-cam++",
            function="ecgcam.attribution.rerun:smooth_grad_cam_pp",
            family="rerun",
            needs=("activations", "gradients"),
            passes="draws x (1 F + 1 B) per prompt",
            paper="Omeiza et al. 2019 (arXiv:1908.01224), section 3",
            formula="cells_k = sum_c w_c A_ck, w_c = sum_k a_ck relu(D1_ck), a_ck = D2_ck / (2 D2_ck + D3_ck sum_j A_cj); D1, "
            "D2, D3 the means of G, G^2, G^3 over noisy signals, A that of the clean one; noise on the lead that is kept",
            misleads="As grad-cam++. Noise as high as the small waves makes another ECG of it.",
            options=(
                Option("draws", int, 16, "Noisy signals for each lead.", least=1),
                Option("noise", float, 0.5, "Its standard deviation, in robust spreads (1.4826 MAD) of the lead.", least=0),
            ),
        ),
        Method(
            name="dff",
            function="ecgcam.attribution.factors:deep_feature_factorization",
            family="rerun",
            needs=("activations", "scores"),
            passes="1 F, 1 F of the empty signal per factor for all prompts, and a non-negative factorization of C x (leads x K)",
            paper="Collins et al. 2018 (deep feature factorization), section 3; the prompt's choice as in the software "
            "pytorch-grad-cam, which runs the head on concepts",
            formula="cells_k = |W_j| H_jk, relu(A) ~ W H over the cells of all leads (least squares; W: C x factors and "
            "H: factors x cells, none below 0), j the concept with the highest score, or the factor-th highest; a concept's "
            "score is the model's for W_j max_k H_jk at every cell of the layer",
            misleads="Shows where the layer sees one concept; the prompt only says which. What a prompt needs may be spread over "
            "several, and the best may score no more than an empty signal: see concept_scores in the report. A lead's map "
            "depends on what other leads hold. Of a layer without ReLU the negative half is left out.",
            options=(
                Option("factors", int, 8, "Concepts that the activations are made of.", least=1),
                Option("factor", int, None, "The one shown, 1 that with the highest score; by default 1.", least=1),
                Option("steps", int, 200, "Updates of the factorization.", least=1),
            ),
        ),
        Method(
            name="saliency",
            function="ecgcam.attribution.gradients:saliency",
            family="signal",
            needs=("gradients",),
            passes="1 F + 1 B of the whole window per prompt",
            paper="Simonyan et al. 2014, section 3",
            formula="map_lt = |d score / d x_lt|, per mV, on the whole window",
            misleads="Says where a small change would move the score, not what made it what it is: where the score is flat "
            "around this signal, evidence that matters gets nothing. Noisy from sample to sample.",
        ),
        Method(
            name="input-x-gradient",
            function="ecgcam.attribution.gradients:input_x_gradient",
            family="signal",
            needs=("gradients",),
            passes="1 F + 1 B of the whole window per prompt",
            paper="Shrikumar et al. 2016",
            formula="map_lt = (x_lt - fill_lt) d score / d x_lt, on the whole window; the paper's fill is 0",
            misleads=f"{_INPUT} The gradient is that of this signal alone: only of a linear model do the values sum to "
            "score(x) - score(fill).",
            signed=True,
        ),
        Method(
            name="integrated-gradients",
            function="ecgcam.attribution.gradients:integrated_gradients",
            family="signal",
            needs=("gradients",),
            passes="steps x (1 F of the whole window, for all prompts, and 1 B per prompt)",
            paper="Sundararajan et al. 2017, equation 1",
            formula="map_lt = (x_lt - fill_lt) int_0^1 (d score / d x_lt)(fill + a (x - fill)) da, by Gauss-Legendre quadrature; "
            "sums to score(x) - score(fill) but for completeness_error in the report",
            misleads=f"{_INPUT} Shrunken ECGs on the way from the fill are low-voltage ECGs to the model, and their "
            "gradients count as much as the last one's.",
            options=(Option("steps", int, 100, "Nodes of the quadrature.", least=1),),
            signed=True,
        ),
        Method(
            name="gradient-shap",
            function="ecgcam.attribution.gradients:gradient_shap",
            family="signal",
            needs=("gradients",),
            passes="draws x (2 F of the whole window, for all prompts, and 1 B per prompt)",
            paper="Erion et al. 2021 (expected gradients); Lundberg's shap calls it GradientExplainer",
            formula="map_lt = E[(x - b)_lt (d score / d x_lt)(b + a (x - b))], a uniform in [0, 1], b the fill with white noise "
            "(the papers draw b from the training set); a is drawn once from each of `draws` parts of [0, 1]; sums to score(x) - "
            "E[score(b)] but for completeness_error in the report",
            misleads="An estimate: look at completeness_error and at another seed. As integrated-gradients; the noise in b "
            "stays in the map where the gradient is steep.",
            options=(
                Option("draws", int, 100, "Starting points, each with one place on the way.", least=1),
                Option("noise", float, 0.5, "Noise on the fill, in robust spreads (1.4826 MAD) of the lead.", least=0),
            ),
            signed=True,
        ),
        Method(
            name="smooth-grad",
            function="ecgcam.attribution.gradients:smooth_grad",
            family="signal",
            needs=("gradients",),
            passes="draws x the cost of `around`",
            paper="Smilkov et al. 2017",
            formula="map = E[M(x + n)], n white noise on the valid samples, of `noise` robust spreads of each lead (the paper's "
            "is a share of max - min, which of an ECG is the QRS or the wander), M the method `around`",
            misleads="Explains noisy ECGs, not this one: noise as high as the small waves makes another ECG of it.",
            options=_NOISY,
            signed=True,
        ),
        Method(
            name="smooth-grad-squared",
            function="ecgcam.attribution.gradients:smooth_grad_squared",
            family="signal",
            needs=("gradients",),
            passes="draws x the cost of `around`",
            paper="Hooker et al. 2019 (SG-SQ)",
            formula="map = E[M(x + n)^2], as smooth-grad",
            misleads="As smooth-grad. Squares exaggerate: half the effect is a quarter of the map; signs are lost.",
            options=_NOISY,
        ),
        Method(
            name="var-grad",
            function="ecgcam.attribution.gradients:var_grad",
            family="signal",
            needs=("gradients",),
            passes="draws x the cost of `around`",
            paper="Adebayo et al. 2018 (VarGrad)",
            formula="map = Var[M(x + n)], the mean squared deviation from the mean, as smooth-grad",
            misleads="Shows where the explanation is unsteady under noise. A moment that matters steadily gets nothing.",
            options=_NOISY,
        ),
        Method(
            name="full-grad",
            function="ecgcam.attribution.gradients:full_grad",
            family="signal",
            needs=("gradients",),
            passes="2 F + 1 B of the whole window per prompt",
            paper="Srinivas and Fleuret 2019",
            formula="map = x d score / d x + sum over layers and channels of b d score / d b, b the biases of Conv1d, Linear, "
            "LayerNorm, and b - w m / sqrt(v + eps) of BatchNorm1d, laid on samples as the declared layer with as many "
            "cells is, shared evenly by the leads; biases without a place in time (after the pooling) are spread over the "
            "window. The paper's maps take magnitudes (post=abs) and stretch each layer to [0, 1], which is left out. The "
            "input part, the bias part and how far they are off the score are in the report",
            misleads="The biases' part belongs to no lead: leads differ by the input part alone. x is the signal in "
            "model space: after a min-max it holds the height of the baseline, which counts. The parts sum to the score only of "
            "piecewise linear networks, not through attention, GELU or layer normalisation.",
            options=(
                Option(
                    "length", str, "held", "Of a cosine: the embedding's length a constant, or free (parts sum to 0).",
                    choices=("held", "free"),
                ),
                Option("post", str, "sum", "Add up with signs, or magnitudes of each channel.", choices=("sum", "abs")),
            ),
            signed=True,
        ),
        Method(
            name="guided-backprop",
            function="ecgcam.attribution.gradients:guided_backprop",
            family="signal",
            needs=("gradients", "relu"),
            passes="1 F + 1 B of the whole window per prompt",
            paper="Springenberg et al. 2015, figure 1",
            formula="the gradient, per mV, with R = relu(R') [z > 0] for the gradient R' that reaches relu(z)",
            misleads="Close to an edge detector: it changes little when the model's last layers are randomised, or the prompt is "
            f"another one (Adebayo et al. 2018, Nie et al. 2018). {_RELU_ONLY}",
            signed=True,
        ),
        Method(
            name="deconvolution",
            function="ecgcam.attribution.gradients:deconvolution",
            family="signal",
            needs=("gradients", "relu"),
            passes="1 F + 1 B of the whole window per prompt",
            paper="Zeiler and Fergus 2014, section 2.1",
            formula="the gradient, per mV, with R = relu(R') for the gradient R' that reaches relu(z)",
            misleads=f"As guided-backprop, and it knows of this signal only what other non-linearities let through. {_RELU_ONLY}",
            signed=True,
        ),
        Method(
            name="guided-grad-cam",
            function="ecgcam.attribution.gradients:guided_grad_cam",
            family="signal",
            needs=("activations", "gradients", "relu"),
            passes="1 F + 1 B of the whole window, and of the lead-masked batch, per prompt",
            paper="Selvaraju et al. 2017",
            formula="map_lt = guided-backprop_lt relu(grad-cam)_t laid on the samples; cam=lead: for each lead the Grad-CAM "
            "of the signal that keeps that lead alone, cam=whole: that of the whole window for all, as in the paper",
            misleads="Fine detail from a method that hardly knows the prompt, within moments from one that does: the detail "
            f"is no evidence. {_RELU_ONLY}",
            options=(
                Option("cam", str, "lead", "Grad-CAM of each lead alone, or of the whole window.", choices=("lead", "whole")),
            ),
            signed=True,
        ),
        Method(
            name="occlusion",
            function="ecgcam.attribution.perturbation:occlusion",
            family="signal",
            needs=("scores",),
            passes="1 F per lead and stride, for all prompts",
            paper="Zeiler and Fergus 2014",
            formula="map_lt = mean over the windows that cover t of score(x) - score(x, lead l filled within the window); "
            "padding is never filled",
            misleads="Filling makes steps at the window's edges, which the model has never seen. A regular rhythm repeats "
            "itself: with one beat hidden the others still say so, and no single window matters. Narrow "
            "windows undervalue slow waves. Sizes are losses of score: compare leads with --scale raw.",
            options=(
                Option("window_ms", float, 200.0, "Width of the window.", above=0),
                Option("stride_ms", float, 100.0, "From one window to the next; no wider than the window.", above=0),
            ),
            signed=True,
        ),
        Method(
            name="wave-occlusion",
            function="ecgcam.attribution.perturbation:wave_occlusion",
            family="signal",
            needs=("scores", "waves"),
            passes="1 F per lead and part, for all prompts",
            paper="Zeiler and Fergus 2014, with parts of the heartbeat for windows",
            formula="map_lt = score(x) - score(x, lead l filled within the part that t is in). by=segment: P, PR, QRS, ST, T or "
            "TP of all beats at once; by=wave: one P, QRS or T of one beat; by=beat: one beat, from its P (QRS where no P is "
            "called) to the next one. Padding, and what is in no part, is never filled and has no value",
            misleads="As good as the delineation: `--waves` draws it; a P that was not found is part of TP. Long parts lose more "
            "than short ones: TP is half the time. With by=wave or beat a regular rhythm still says what the hidden beat said. "
            "Sizes are losses of score: compare leads with --scale raw.",
            options=(Option("by", str, "segment", "What is hidden at once.", choices=("segment", "wave", "beat")),),
            signed=True,
        ),
        Method(
            name="lead-occlusion",
            function="ecgcam.attribution.perturbation:lead_occlusion",
            family="signal",
            needs=("scores",),
            passes="1 F per lead, for all prompts",
            paper="leave one out; Zeiler and Fergus 2014 with a lead for a window",
            formula="map_lt = score(x) - score(x without lead l), at each valid sample t",
            misleads="Says nothing of moments. Leads repeat one another (III = II - I): each of two leads that say the same "
            "looks needless, since the other remains; lead-shapley shares between them. Pictures show the values only with "
            "--scale raw: the default scale shows gains.",
            signed=True,
        ),
        Method(
            name="lead-shapley",
            function="ecgcam.attribution.shapley:lead_shapley",
            family="signal",
            needs=("scores",),
            passes="2^leads F up to 8 leads, else at most permutations x (leads - 1) + 2 F; for all prompts",
            paper="Shapley 1953; Castro et al. 2009; pairs: Mitchell et al. 2022",
            formula="phi_l = mean over orders of the leads of v(leads up to l) - v(leads before l), v(S) the score with the "
            "leads outside S filled; sum_l phi_l = score(x) - score(fill). map_lt = phi_l fs / number of valid samples of l "
            "(score per second: a row's sum / fs is phi_l). Values, standard errors and whether they are exact are in the report",
            misleads="Says nothing of moments. Most of the signals it runs have several leads filled, which the model may never "
            "have seen. Sampled values within two standard errors of each other have no order. Pictures show the values "
            "only with --scale raw: the default scale shows gains.",
            options=(
                Option("permutations", int, 128, "Orders drawn for more than 8 leads; an even number.", least=4),
            ),
            signed=True,
        ),
        Method(
            name="attention-rollout",
            function="ecgcam.attribution.attention:attention_rollout",
            family="rerun",
            needs=("attention",),
            passes="1 F",
            paper="Abnar and Zuidema 2020, section 3",
            formula="cells_k = mean_q R_qk (a class token's row where there is one), R = M_B ... M_1, "
            "M_b = (mean of block b's heads + I) / 2, rows of sum 1",
            misleads="No prompt has a part in it, so it cannot say what speaks for one. It follows where tokens are looked at, "
            "not what is taken from them: values, feed-forward layers and signs are left out. Read by the mean of the tokens, "
            "as MERL's ViT is, it tends to be flat.",
        ),
        Method(
            name="chefer",
            function="ecgcam.attribution.attention:chefer",
            family="rerun",
            needs=("attention", "gradients"),
            passes="1 F + 1 B per prompt",
            paper="Chefer, Gur and Wolf 2021 (generic attention-model explainability), equations 5 and 6",
            formula="cells_k = mean_q (R - I)_qk (a class token's row where there is one), R <- R + mean_h (G_b x A_b)^+ R "
            "over the blocks b from R = I, G_b = d score / d A_b",
            misleads="What lowers the score is dropped at every block, so the map never shows evidence against the prompt. "
            "Residual connections count as they are; feed-forward layers are not followed.",
        ),
        Method(
            name="legrad",
            function="ecgcam.attribution.attention:legrad",
            family="rerun",
            needs=("attention", "gradients"),
            passes="1 F + 1 B through one block per block and prompt",
            paper="Bousselham et al. 2025 (ICCV), section 3",
            formula="cells_k = mean over blocks b, heads h and queries q of (d s_b / d A_b,hqk)^+, s_b the score of block b's "
            "tokens read as the last block's are (of a network that reads their mean: mean, normalisation, projection)",
            misleads="Says where more attention would raise the score, not where there is attention: a cell that is not looked "
            "at can light up. Early blocks' tokens are scored by a readout that was trained on the last block's.",
        ),
        Method(
            name="attention-pool",
            function="ecgcam.attribution.attention:attention_pool",
            family="rerun",
            needs=("attention",),
            passes="1 F",
            paper="the pooling of Radford et al. 2021, section 2.4",
            formula="cells_k = mean_h a_hk, a the pooling query's weights, that of its own token left out",
            misleads="No prompt has a part in it: every prompt gets the same map. A weight says how much of a cell is read, not "
            "what for; cells are wide, and hold what earlier layers brought there from elsewhere.",
        ),
        Method(
            name="deep-lift",
            function="ecgcam.attribution.peers:deep_lift",
            family="signal",
            needs=("gradients", "captum"),
            passes="2 F + 1 B through the whole network per prompt",
            paper="Shrikumar et al. 2017, section 3.5.1; by captum",
            formula="map_lt = (x_lt - fill_lt) m_lt, m the product of multipliers (change of output / change of input) of the "
            "rescale rule along the network; sum = score(x) - score(fill). A cosine's multiplier is made of the same rule for "
            "square, root and reciprocal. How far the sum is off is in the report",
            misleads="Where x and fill lie on one side of a ReLU but pass it differently between, it sees only the two ends. "
            "Where a lead equals its fill it gets nothing, however much the flat line matters. Networks with attention, GELU or "
            "LayerNorm are refused: captum has no rule for them and would take the gradient without a word.",
            signed=True,
        ),
        Method(
            name="lrp",
            function="ecgcam.attribution.peers:lrp",
            family="signal",
            needs=("gradients", "captum"),
            passes="3 F + 1 B through the whole network per prompt",
            paper="Bach et al. 2015, equation 58; by captum",
            formula="R_i = sum_j a_i w_ij R_j / (z_j + epsilon sign z_j), layer by layer from R = score(x), z_j = sum_i a_i w_ij "
            "+ bias; the length of the embedding held constant. What biases and epsilon keep is in the report",
            misleads="Its reference is 0 in model space, not the fill: after a min-max that is the lowest voltage of the window. "
            "Biases (batch normalisation has them too) can keep most of the score. With epsilon near 0 it is input times "
            "gradient of a ReLU network, noise included.",
            options=(
                Option("epsilon", float, 1e-6, "What stabilises the quotient; larger is smoother and keeps more.", above=0),
            ),
            signed=True,
        ),
        Method(
            name="kernel-shap",
            function="ecgcam.attribution.peers:kernel_shap",
            family="signal",
            needs=("scores", "captum"),
            passes="samples F, for all prompts",
            paper="Lundberg and Lee 2017, theorem 2; by captum",
            formula="phi = the weighted least-squares solution of score(tiles of S as they are, the others filled) = phi_0 + "
            "sum over S of phi_i, S drawn with the Shapley kernel, the full and the empty set with weight 10^6; "
            "map_lt = phi_i fs / number of valid samples of tile i (score per second)",
            misleads="An estimate: with few samples for each tile the values scatter, and captum states no error; look at "
            "another seed. Most sets leave pieces of beats, which the model has never seen. Tiles cut across beats.",
            options=(_TILE, _SAMPLES),
            signed=True,
        ),
        Method(
            name="lime",
            function="ecgcam.attribution.peers:lime",
            family="signal",
            needs=("scores", "captum"),
            passes="samples F, for all prompts",
            paper="Ribeiro et al. 2016, section 3; by captum",
            formula="coefficients of a ridge regression of the score on the presence of each tile (there with probability 1/2, "
            "else filled), samples weighed by exp(-d^2 / (2 0.25^2)), d the cosine distance of presence to all ones; "
            "laid on samples as kernel-shap",
            misleads="The plane is fitted to signals with half their tiles gone, not near this one; the values do not sum to the "
            "score. Kernel width and penalty are conventions of images. An estimate: look at another seed.",
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
        raise EcgcamError(f"--method {name}: no such method; choose from {', '.join(METHODS)}")
    return METHODS[name]
