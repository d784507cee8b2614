"""The multitask network: one encoder, a decoder, three read-outs. What it is made of, how it is saved and loaded.

Vocabulary
----------
slice
    one axial section with two neighbours on each side as channels, and once more in a window of higher HU: see
    :func:`hepred_lib.multitask.data.normalize`
bag
    the slices of one patient in a batch; ``bag`` numbers the patient of each slice, 0 to b - 1
outline
    the segmentation as logits: the parenchymal hematoma and, as a second channel, blood in the ventricles
presence
    the logit that a slice contains blood
descriptor
    a property of the hematoma that can be measured inside an outline (density, margin, shape)
deep features
    a hidden layer of 32 numbers per patient, computed from mean and SD of the decoder's features over the hematoma
findings
    what is known by name: descriptors *predicted* from the deep features, the log volumes of the hematoma and of the
    blood in the ventricles, and the descriptors *measured* inside the network's own outline
read-out
    which of these the expansion logit is computed from: ``findings``; ``deep`` features and the volumes; or ``both``
evidence
    presence logit and highest outline logits of a slice and of the slices around it

A ResNet encoder (torchvision, without its last stage) and a U-Net decoder give the outline, and coarse outlines at the
lower resolutions, so that deep features are taught directly. A presence head classifies each slice; adjacent slices
help to identify the faint ends of a hematoma. An expansion head pools the features over the hematoma, predicts the
descriptors from them, and computes one logit per patient.

References
----------
He K et al. Deep residual learning for image recognition. CVPR 2016.
Ronneberger O et al. U-Net. MICCAI 2015.
Lee CY et al. Deeply-supervised nets. AISTATS 2015.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hepred_lib.errors import StudyError
from hepred_lib.multitask.data import DESCRIPTORS, N_CHANNELS, NEIGHBOURS
from hepred_lib.study.files import damaged, write_bytes

ENCODERS = ("resnet18", "resnet34", "resnet50")
DECODER_WIDTHS = (96, 48, 32)
NEGLIGIBLE_ML, NO_AREA = 0.05, 1e-6
RARE_LOGIT = -4.0  # about one pixel in fifty is blood: no step is spent on learning that
PEAK_MM2 = 8 * (200 / 128) ** 2  # eight pixels of 128 in 200 mm; a positive slice has 20 mm2 at least
PLACES = ("own", "brighter_neighbour", "fainter_neighbour", "second_neighbour")
EVIDENCE = tuple(f"{source}_{place}" for place in PLACES for source in ("presence", "outline"))
VOLUMES = ("log_volume", "log_ivh_volume")
FINDINGS = (*(f"predicted_{name}" for name in DESCRIPTORS), *VOLUMES, *(f"measured_{name}" for name in DESCRIPTORS))
DEEP = tuple(f"deep_{number:02d}" for number in range(32))
LOG_VOLUME = FINDINGS.index("log_volume")
READOUTS = {"findings": FINDINGS, "deep": (*VOLUMES, *DEEP), "both": (*FINDINGS, *DEEP)}
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
    """The network's output for n slices: outline logits (n, 2, h, w), presence logits (n,), decoder features.

    ``coarse`` are outline logits (n, 2, h / 2^k, w / 2^k) of the lower resolutions, coarsest first: for training only.
    """

    outline: Tensor
    coarse: tuple[Tensor, ...]
    presence: Tensor
    features: tuple[Tensor, ...]


class BagOutput(NamedTuple):
    """The network's output for b patients: expansion logits (b,), and the share of blood in each of their slices (n,).

    ``values`` (b, v), the findings and the deep features in the order of ``READOUTS["both"]``, are all that the logits
    are computed from; the measured ones are 0. ``recalled`` (b,) is the log volume as the deep features remember it,
    for training only.
    """

    expansion: Tensor
    share: Tensor
    values: Tensor
    recalled: Tensor


class MultitaskNetwork(nn.Module):
    """Outline, presence and expansion from one encoder."""

    def __init__(self, settings: NetworkSettings) -> None:
        import torchvision  # as long to import as torch itself: only where a network is built

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
        self.outline = nn.Sequential(nn.Conv2d(DECODER_WIDTHS[-1], 8, kernel_size=3, padding=1), nn.PixelShuffle(2))
        self.coarse_outline = nn.ModuleList(nn.Conv2d(width, 2, kernel_size=1) for width in DECODER_WIDTHS[:-1])
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
    """From the features over the hematoma to one logit per patient.

    A patient is summarized by mean and SD of the decoder's features over the whole hematoma, at every resolution: the
    mean says what is there, the SD how uneven it is. With the volume and the moments of the HU they give the deep
    features, and these the descriptors, and once more the volume, which they would else forget. The descriptors
    *measured* inside the network's own outline join once training is done; until then they are 0, their mean.
    """

    descriptor_mean: Tensor
    descriptor_sd: Tensor

    def __init__(self, n_features: int, *, n_descriptors: int = len(DESCRIPTORS), dropout: float = 0.25) -> None:
        super().__init__()
        self.normalize = nn.LayerNorm(2 * n_features)
        self.project = nn.Sequential(
            nn.Linear(2 * n_features + 3, 64),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(64, len(DEEP)),
            nn.GELU(),
        )
        self.describe = nn.Linear(len(DEEP), n_descriptors)
        self.recall = nn.Linear(len(DEEP), 1)
        self.classify = nn.Linear(2 * n_descriptors + len(VOLUMES) + len(DEEP), 1)
        # Where the outcomes are too few to fit a read-out, the score follows the volume.
        for weights in self.classify.parameters():
            nn.init.zeros_(weights)
        self.classify.weight.data[0, LOG_VOLUME] = 1.0
        self.register_buffer("descriptor_mean", torch.zeros(n_descriptors))
        self.register_buffer("descriptor_sd", torch.ones(n_descriptors))

    def forward(
        self,
        features: tuple[Tensor, ...],
        slices: Tensor,
        outline: Tensor,
        bag: Tensor,
        voxel_ml: Tensor,
        n_patients: int = 1,
    ) -> BagOutput:
        """Pool slices to patients.

        Parameters
        ----------
        features : tuple of Tensor
            Decoder features of n slices, (n, c, h, w) at several resolutions.
        slices : Tensor
            The network's input, (n, channels, H, W); the slice itself is channel ``NEIGHBOURS``.
        outline : Tensor
            Share of hematoma and of ventricular blood in each pixel, (n, 2, H, W): the reference in training, the
            prediction afterwards.
        bag : Tensor
            Patient of each slice, int (n,), numbered 0 to n_patients - 1.
        voxel_ml : Tensor
            Volume of a pixel of each slice in mL, (n,).
        n_patients : int
        """
        blood, ventricular = outline[:, :1], outline[:, 1:]
        pooled = torch.cat([_over_region(level, blood, bag, n_patients) for level in features], dim=1)
        moments = _moments(slices[:, NEIGHBOURS : NEIGHBOURS + 1], blood, bag, voxel_ml, n_patients)
        deep = self.project(torch.cat([self.normalize(pooled), moments], dim=1))  # (b, 32)
        predicted = self.describe(deep)
        volumes = [moments[:, :1], _log_ivh(ventricular, bag, voxel_ml, n_patients)]
        values = torch.cat([predicted, *volumes, torch.zeros_like(predicted), deep], dim=1)
        area = blood.sum(dim=(1, 2, 3)) + NO_AREA
        share = area / _by_patient(area, bag, n_patients)[bag]
        return BagOutput(self.classify(values).squeeze(1), share, values, self.recall(deep).squeeze(1))

    def standardize(self, descriptors: Tensor) -> Tensor:
        """Descriptors (b, k) in SDs from the mean of the training patients, clipped to ± 3 SD; NaN stays NaN."""
        return ((descriptors - self.descriptor_mean) / self.descriptor_sd).clamp(-3, 3)


class SliceContext(nn.Module):
    """A weighted sum of :data:`EVIDENCE`; weights are no parameters, since no gradient teaches them."""

    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.eye(1, len(EVIDENCE))[0])
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, evidence: Tensor) -> Tensor:
        """Presence logits (n,) from the evidence (n, k) of a patient's n slices."""
        return evidence @ self.weight + self.bias


def slice_evidence(presence: Tensor, outline: Tensor, pixel_mm: float) -> Tensor:
    """The evidence for blood in each slice of one patient, from bottom to top.

    Parameters
    ----------
    presence : Tensor, shape (n,)
        Presence logits of the slices alone.
    outline : Tensor, shape (n, 1, h, w)
        Outline logits of the hematoma; a slice's peak is the mean of the highest, over the area of ``PEAK_MM2``.
    pixel_mm : float

    Returns
    -------
    Tensor, shape (n, 8)
        Logit and peak of the slice itself, the larger and the smaller of its two neighbours, the larger of the two
        slices next to these. An end slice stands in for those it lacks.
    """
    pixels = outline.flatten(1)
    n_highest = min(max(1, round(PEAK_MM2 / pixel_mm**2)), pixels.shape[1])
    peak = pixels.topk(n_highest, dim=1).values.mean(dim=1)
    own = torch.stack([presence, peak], dim=1)
    padded = torch.cat([own[:1], own[:1], own, own[-1:], own[-1:]])
    below, above = padded[1:-3], padded[3:-1]
    return torch.cat(
        [own, torch.maximum(below, above), torch.minimum(below, above), torch.maximum(padded[:-4], padded[4:])], dim=1
    )


def save_network(network: MultitaskNetwork, path: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Weights as safetensors, the settings that rebuild the network in its metadata; replaced only when they change."""
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    write_bytes(path, save(tensors, metadata={"network": json.dumps(asdict(network.settings))}))


def start_from(network: MultitaskNetwork, path: Path) -> None:
    """Give a new network the weights of another; those of the expansion logit stay as they are.

    Predicted descriptors keep their meaning: their weights are changed from the other network's scale to this one's.

    Raises
    ------
    StudyError
        The file is damaged, or its network has another encoder.
    """
    other = load_network(path)
    if other.settings.encoder != network.settings.encoder:
        raise StudyError(
            f"encoder must be {other.settings.encoder}, that of the pretrained network {path.name}, got "
            f"{network.settings.encoder}; set pretrained to none to train another one from the start."
        )
    head, own = other.expansion, network.expansion
    with torch.no_grad():
        ratio = head.descriptor_sd / own.descriptor_sd
        moved = (head.descriptor_mean - own.descriptor_mean) / own.descriptor_sd
        head.describe.weight.mul_(ratio[:, None])
        head.describe.bias.mul_(ratio).add_(moved)
    kept = ("expansion.classify.", "expansion.descriptor_", "context.")
    weights = {name: value for name, value in other.state_dict().items() if not name.startswith(kept)}
    network.load_state_dict(weights, strict=False)


def load_network(path: Path) -> MultitaskNetwork:
    """The network that :func:`save_network` wrote, in evaluation mode on the CPU; weights are float32 again.

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
    with safe_open(path, framework="pt") as stream:
        return stream.metadata() or {}


def _by_patient(values: Tensor, bag: Tensor, n_patients: int, *, dim: int = 0) -> Tensor:
    """Sums over the slices of each patient, along ``dim``."""
    if n_patients == 1 and not values.is_cpu:  # a GPU adds at indices in any order, and rounds as it comes
        return values.sum(dim=dim, keepdim=True)
    shape = [*values.shape[:dim], n_patients, *values.shape[dim + 1 :]]
    return values.new_zeros(shape).index_add(dim, bag, values)


def _moments(window: Tensor, blood: Tensor, bag: Tensor, voxel_ml: Tensor, n_patients: int) -> Tensor:
    """Log volume, mean and SD of the window's intensity over the hematoma of each patient (b, 3), all of order one."""
    sums = torch.stack([blood, blood * window, blood * window**2]).sum(dim=(2, 3, 4)) * voxel_ml
    volume, first, second = _by_patient(sums, bag, n_patients, dim=1)
    volume = volume.clamp_min(NEGLIGIBLE_ML)
    mean = first / volume
    sd = (second / volume - mean**2).clamp_min(1e-6).sqrt()
    # Near 0 for a hematoma of median size, of 60 HU with an SD of 10, so that no weight has to undo an offset.
    return torch.stack([torch.log(volume) - 2.4, 10 * (mean - 0.5), 10 * (sd - 0.25)], dim=1)


def _log_ivh(ventricular: Tensor, bag: Tensor, voxel_ml: Tensor, n_patients: int) -> Tensor:
    """Log of the volume in the ventricles of each patient (b, 1), from -1 without any to about 1."""
    volume = _by_patient(ventricular.sum(dim=(1, 2, 3)) * voxel_ml, bag, n_patients)
    return torch.log(volume.clamp_min(NEGLIGIBLE_ML))[:, None] / 3.0


def _over_region(level: Tensor, blood: Tensor, bag: Tensor, n_patients: int) -> Tensor:
    """Mean and SD of features over each patient's hematoma (b, 2 c); over the slices where the outline is empty."""
    weight = nn.functional.adaptive_avg_pool2d(blood, (level.shape[-2], level.shape[-1])).squeeze(1) + NO_AREA
    # As products of matrices: faster than multiplying and summing in channels-last order.
    powers = [torch.einsum("nhw,nchw->nc", weight, power) for power in (level, level**2)]
    sums = torch.cat([*powers, weight.sum(dim=(1, 2))[:, None]], dim=1)
    parts = [level.shape[1], 2 * level.shape[1]]
    first, second, total = _by_patient(sums, bag, n_patients).tensor_split(parts, dim=1)
    mean = first / total
    return torch.cat([mean, (second / total - mean**2).clamp_min(1e-6).sqrt()], dim=1)


def _maxima(level: Tensor) -> Tensor:
    # On a CPU the gradient of amax is many times slower in channels-last order; on a GPU pooling warns of chance.
    return nn.functional.adaptive_max_pool2d(level, 1).flatten(1) if level.is_cpu else level.amax(dim=(2, 3))
