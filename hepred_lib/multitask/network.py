"""The multitask network: one encoder, a decoder, three read-outs. What it is made of, how it is saved and loaded.

Vocabulary
----------
slice
    one axial section with two neighbours on each side as channels, 0 to 80 HU scaled to -1 to 1
bag
    the slices of one patient in a batch; ``bag`` numbers the patient of each slice, 0 to b - 1
outline
    the segmentation of the hematoma as logits, one a pixel
presence
    the logit that a slice contains blood
descriptor
    a property of the hematoma that can be measured inside an outline (density, margin, shape)
findings
    all that the expansion logit is computed from: descriptors *predicted* from deep features, the log volume, and
    the same descriptors *measured* inside the network's own outline
evidence
    presence logit and highest outline logits of a slice and of the slices around it

A ResNet encoder (torchvision, without its last stage) and a U-Net decoder give the outline, and coarse outlines at the
lower resolutions, so that deep features are taught directly. A presence head classifies each slice; adjacent slices
help to identify the faint ends of a hematoma. An expansion head pools the features under the outline over a patient's
slices by gated attention, predicts the descriptors from them, and computes one logit per patient from the findings.

References
----------
He K et al. Deep residual learning for image recognition. CVPR 2016.
Ronneberger O et al. U-Net. MICCAI 2015.
Lee CY et al. Deeply-supervised nets. AISTATS 2015.
Ilse M et al. Attention-based deep multiple instance learning. ICML 2018.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hepred_lib.errors import StudyError
from hepred_lib.multitask.data import DESCRIPTORS, N_CHANNELS
from hepred_lib.study.files import damaged, write_bytes

ENCODERS = ("resnet18", "resnet34", "resnet50")
DECODER_WIDTHS = (96, 48, 32)
NEGLIGIBLE_ML = 0.05
RARE_LOGIT = -4.0  # about one pixel in fifty is blood: no step is spent on learning that
PEAK_PIXELS = 8  # the smallest positive slice, 20 mm2, has eight pixels of 128 in 200 mm
PLACES = ("own", "brighter_neighbour", "fainter_neighbour", "second_neighbour")
EVIDENCE = tuple(f"{source}_{place}" for place in PLACES for source in ("presence", "outline"))
FINDINGS = (*(f"predicted_{name}" for name in DESCRIPTORS), "log_volume", *(f"measured_{name}" for name in DESCRIPTORS))
# What a file that is cut, edited or of another network leads to.
UNUSABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError, SafetensorError)


@dataclass(frozen=True)
class NetworkSettings:
    """All that is needed to build the network again."""

    encoder: str = "resnet18"
    n_channels: int = N_CHANNELS
    n_descriptors: int = len(DESCRIPTORS)
    dropout: float = 0.25

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {ENCODERS}, got {self.encoder!r}.")


class SliceOutput(NamedTuple):
    """The network's output for n slices: outline logits (n, 1, h, w), presence logits (n,), decoder features.

    ``coarse`` are outline logits (n, 1, h / 2^k, w / 2^k) of the lower resolutions, coarsest first: for training only.
    """

    outline: Tensor
    coarse: tuple[Tensor, ...]
    presence: Tensor
    features: tuple[Tensor, ...]


class BagOutput(NamedTuple):
    """The network's output for b patients: expansion logits (b,), and the attention of each of their slices (n,).

    ``findings`` (b, 2 k + 1), see :data:`FINDINGS`, are all that the logits are computed from; the measured ones are 0.
    """

    expansion: Tensor
    attention: Tensor
    findings: Tensor


class MultitaskNetwork(nn.Module):
    """Outline, presence and expansion from one encoder."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        backbone = torchvision.models.get_model(settings.encoder, weights=None)
        stem = nn.Conv2d(settings.n_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.stem = nn.Sequential(stem, backbone.bn1, backbone.relu)
        self.pool = backbone.maxpool
        # The last stage holds three quarters of the weights and sees 32 x 32 pixels as one: nothing a hematoma needs.
        self.stages = nn.ModuleList([backbone.layer1, backbone.layer2, backbone.layer3])
        deepest = backbone.fc.in_features // 2
        skips, inputs = (deepest // 2, deepest // 4, 64), (deepest, *DECODER_WIDTHS[:-1])
        self.decoder = nn.ModuleList(map(UpBlock, inputs, skips, DECODER_WIDTHS))
        # Four sub-pixels for each pixel at half resolution: the outline at full resolution without its cost.
        self.outline = nn.Sequential(nn.Conv2d(DECODER_WIDTHS[-1], 4, kernel_size=3, padding=1), nn.PixelShuffle(2))
        self.coarse_outline = nn.ModuleList(nn.Conv2d(width, 1, kernel_size=1) for width in DECODER_WIDTHS[:-1])
        for layer in (self.outline[0], *self.coarse_outline):
            nn.init.constant_(layer.bias, RARE_LOGIT)
        self.presence = nn.Linear(2 * deepest + DECODER_WIDTHS[-1], 1)
        self.context = SliceContext()
        self.expansion = ExpansionHead(
            sum(DECODER_WIDTHS), n_descriptors=settings.n_descriptors, dropout=settings.dropout
        )

    def forward(self, slices: Tensor) -> SliceOutput:
        """Outline and presence of each slice; ``slices`` (n, channels, h, w) with h and w multiples of 16."""
        level = self.stem(slices)  # (n, 64, h / 2, w / 2)
        levels = [level]
        level = self.pool(level)
        for stage in self.stages:  # down to (n, deepest, h / 16, w / 16)
            level = stage(level)
            levels.append(level)
        features = []
        for block, skip in zip(self.decoder, reversed(levels[:-1]), strict=True):  # up to (n, 32, h / 2, w / 2)
            level = block(level, skip)
            features.append(level)
        deepest = levels[-1]
        # The finest level's maxima join: a bleed of eight pixels is lost in a mean over the slice.
        summary = torch.cat([deepest.mean(dim=(2, 3)), _maxima(deepest), _maxima(level)], dim=1)
        coarse = tuple(head(low) for head, low in zip(self.coarse_outline, features[:-1], strict=True))
        return SliceOutput(self.outline(level), coarse, self.presence(summary).squeeze(1), tuple(features))

    def expand(
        self, features: tuple[Tensor, ...], slices: Tensor, outline: Tensor, bag: Tensor, voxel_ml: Tensor
    ) -> BagOutput:
        """Expansion logits of the patients whose slices these are; see :class:`ExpansionHead`."""
        return self.expansion(features, slices, outline, bag, voxel_ml)


class UpBlock(nn.Module):
    """Double the resolution, join the encoder's features, convolve."""

    def __init__(self, n_input: int, n_skip: int, n_output: int) -> None:
        super().__init__()
        self.convolution = nn.Sequential(
            nn.Conv2d(n_input + n_skip, n_output, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(n_output),
            nn.ReLU(inplace=True),
        )

    def forward(self, level: Tensor, skip: Tensor) -> Tensor:
        """Upsample ``level`` by nearest neighbour (its backward pass is deterministic) and fuse ``skip``."""
        return self.convolution(torch.cat([nn.functional.interpolate(level, scale_factor=2.0), skip], dim=1))


class ExpansionHead(nn.Module):
    """From the features under the outline to one logit per patient.

    Each slice is summarized by the mean of the decoder's features over the hematoma, at every resolution; slices are
    pooled by gated attention within their patient. From the pooled features, the moments of the HU under the outline
    and the log volume, the descriptors are predicted. The logit is a weighted sum of the findings: a hundred events can
    weigh a score of numbers, not a hundred features. The descriptors *measured* inside the network's own outline join
    once training is done; until then they are 0, their mean.
    """

    def __init__(
        self, n_features: int, *, n_descriptors: int = len(DESCRIPTORS), n_hidden: int = 32, dropout: float = 0.25
    ) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.LayerNorm(n_features), nn.Linear(n_features, n_hidden), nn.GELU(), nn.Dropout(dropout)
        )
        self.attention_tanh = nn.Linear(n_hidden, 16)
        self.attention_gate = nn.Linear(n_hidden, 16)
        self.attention = nn.Linear(16, 1)
        self.describe = nn.Linear(n_hidden + 3, n_descriptors)
        self.classify = nn.Linear(2 * n_descriptors + 1, 1)
        self.register_buffer("descriptor_mean", torch.zeros(n_descriptors))
        self.register_buffer("descriptor_sd", torch.ones(n_descriptors))

    def forward(
        self, features: tuple[Tensor, ...], slices: Tensor, outline: Tensor, bag: Tensor, voxel_ml: Tensor
    ) -> BagOutput:
        """Pool slices to patients.

        Parameters
        ----------
        features : tuple of Tensor
            Decoder features of n slices, (n, c, h, w) at several resolutions.
        slices : Tensor
            The network's input, (n, channels, H, W); the slice itself is the middle channel.
        outline : Tensor
            Share of hematoma in each pixel, (n, 1, H, W): the reference in training, the prediction afterwards.
        bag : Tensor
            Patient of each slice, int (n,), numbered 0 to b - 1.
        voxel_ml : Tensor
            Volume of a pixel of each slice in mL, (n,).
        """
        hidden = self.project(torch.cat([_masked_mean(level, outline) for level in features], dim=1))  # (n, hidden)
        gate = torch.tanh(self.attention_tanh(hidden)) * torch.sigmoid(self.attention_gate(hidden))
        n_bags = int(bag.max()) + 1
        attention = _softmax_within(self.attention(gate).squeeze(1), bag, n_bags)
        pooled = hidden.new_zeros(n_bags, hidden.shape[1]).index_add(0, bag, attention[:, None] * hidden)
        middle = slices.shape[1] // 2
        moments = _moments(slices[:, middle : middle + 1], outline, bag, voxel_ml)
        predicted = self.describe(torch.cat([pooled, moments], dim=1))
        findings = torch.cat([predicted, moments[:, :1], torch.zeros_like(predicted)], dim=1)
        return BagOutput(self.classify(findings).squeeze(1), attention, findings)

    def standardize(self, descriptors: Tensor) -> Tensor:
        """Descriptors (b, k) in SDs from the mean of the training patients, clipped to ± 3 SD; NaN stays NaN."""
        return ((descriptors - self.descriptor_mean) / self.descriptor_sd).clamp(-3, 3)


class SliceContext(nn.Module):
    """A weighted sum of :data:`EVIDENCE`; weights are no parameters, since no gradient teaches them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.eye(1, len(EVIDENCE))[0])
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, evidence: Tensor) -> Tensor:
        """Presence logits (n,) from the evidence (n, k) of a patient's n slices."""
        return evidence @ self.weight + self.bias


def slice_evidence(presence: Tensor, outline: Tensor) -> Tensor:
    """The evidence for blood in each slice of one patient, from bottom to top.

    Parameters
    ----------
    presence : Tensor, shape (n,)
        Presence logits of the slices alone.
    outline : Tensor, shape (n, 1, h, w)
        Outline logits; a slice's peak is the mean of its eight highest.

    Returns
    -------
    Tensor, shape (n, 8)
        Logit and peak of the slice itself, the larger and the smaller of its two neighbours, the larger of the two
        slices next to these. An end slice stands in for those it lacks.
    """
    pixels = outline.flatten(1)
    peak = pixels.topk(min(PEAK_PIXELS, pixels.shape[1]), dim=1).values.mean(dim=1)
    own = torch.stack([presence, peak], dim=1)
    padded = torch.cat([own[:1], own[:1], own, own[-1:], own[-1:]])
    below, above = padded[1:-3], padded[3:-1]
    return torch.cat(
        [own, torch.maximum(below, above), torch.minimum(below, above), torch.maximum(padded[:-4], padded[4:])], dim=1
    )


def pick_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half_precision_pays(device: torch.device) -> bool:
    """Whether bfloat16 is computed by the device itself: every GPU in use; a CPU only with the instructions for it.

    A CPU without them emulates bfloat16 at half the speed of float32.
    """
    if device.type != "cpu":
        return True
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def save_network(network: MultitaskNetwork, path: Path) -> None:
    """Weights as safetensors, the settings that rebuild the network in its metadata; replaced only when they change."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_bytes(path, save(tensors, metadata={"network": json.dumps(asdict(network.settings))}))


def load_network(path: Path) -> MultitaskNetwork:
    """The network that :func:`save_network` wrote, in evaluation mode on the CPU.

    Raises
    ------
    StudyError
        The file is missing or damaged.
    """
    try:
        settings = NetworkSettings(**json.loads(read_metadata(path)["network"]))
        network = MultitaskNetwork(settings)
        network.load_state_dict(load_file(path))
    except UNUSABLE as error:
        raise StudyError(damaged(path, error)) from error
    return network.to(memory_format=torch.channels_last).eval()


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file carries beside its tensors."""
    with open(path, "rb") as stream:
        size = min(int.from_bytes(stream.read(8), "little"), path.stat().st_size)
        return json.loads(stream.read(size))["__metadata__"]


def _moments(window: Tensor, outline: Tensor, bag: Tensor, voxel_ml: Tensor) -> Tensor:
    """Log volume, mean and SD of the window's intensity under the outline of each patient (b, 3), all of order one."""
    sums = torch.stack([outline, outline * window, outline * window**2]).sum(dim=(2, 3, 4)) * voxel_ml
    volume, first, second = sums.new_zeros(3, int(bag.max()) + 1).index_add(1, bag, sums)
    volume = volume.clamp_min(NEGLIGIBLE_ML)
    mean = first / volume
    sd = (second / volume - mean**2).clamp_min(1e-6).sqrt()
    # Near 0 for a hematoma of median size, of 60 HU with an SD of 10, so that no weight has to undo an offset.
    return torch.stack([torch.log(volume) - 2.4, 10 * (mean - 0.5), 10 * (sd - 0.25)], dim=1)


def _masked_mean(level: Tensor, outline: Tensor) -> Tensor:
    """Mean of features over the outline; over the whole slice where the outline is empty."""
    weight = nn.functional.adaptive_avg_pool2d(outline, level.shape[-2:]) + 1e-6
    # As a product of matrices: faster than multiplying and summing in channels-last order.
    return torch.einsum("nhw,nchw->nc", weight.squeeze(1), level) / weight.sum(dim=(2, 3))


def _maxima(level: Tensor) -> Tensor:
    # On a CPU the gradient of amax is many times slower in channels-last order; on a GPU pooling warns of chance.
    return nn.functional.adaptive_max_pool2d(level, 1).flatten(1) if level.is_cpu else level.amax(dim=(2, 3))


def _softmax_within(logits: Tensor, bag: Tensor, n_bags: int) -> Tensor:
    same = bag[None, :] == torch.arange(n_bags, device=bag.device)[:, None]
    weights = torch.softmax(torch.where(same, logits[None, :], -torch.inf), dim=1)
    return weights.sum(dim=0)
