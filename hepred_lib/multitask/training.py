"""Training of one fold: every step of it, read top to bottom.

Vocabulary
----------
fold
    a part of the development patients: *held out* from its network, which all others (``in_fold``) train
step
    one update of the weights, on a few patients; a step can be worked on in *parts* and by several processes
average
    the exponential average of the weights over steps: the network that is kept
state
    all that changes from step to step; saved after each epoch as the *checkpoint*
read-out
    a linear layer that is fitted once more when the deep features are done: see :mod:`hepred_lib.multitask.readout`

No held-out patient influences a network: the number of epochs is fixed, and the learning rate follows a cosine. Every
draw depends on (seed, fold, epoch, patient) or on the step alone, so that a training that was killed resumes at the
last epoch and ends with the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hepred_lib.disk import written_whole
from hepred_lib.errors import StudyError
from hepred_lib.multitask.data import (
    Batch,
    Patient,
    Stack,
    augment,
    descriptor_scale,
    epoch_steps,
    mixed_seed,
    normalize,
    step_batches,
    step_parts,
)
from hepred_lib.multitask.device import autocast, pick_device, pick_precision
from hepred_lib.multitask.network import (
    LOG_VOLUME,
    READOUTS,
    UNUSABLE,
    MultitaskNetwork,
    NetworkSettings,
    SliceOutput,
    read_metadata,
    start_from,
)
from hepred_lib.multitask.prediction import predict_cohort, read_out
from hepred_lib.multitask.readout import fit_presence, fit_readout
from hepred_lib.multitask.replay import Replay
from hepred_lib.pretrained import pretrained_file
from hepred_lib.progress import progress
from hepred_lib.study.files import file_sha256, read_table
from hepred_lib.study.run import library_code

LOSSES = ("loss", "loss_segmentation", "loss_presence", "loss_expansion", "loss_descriptors")
CROSS_ENTROPY_WEIGHT, COARSE_WEIGHT, VENTRICLES_WEIGHT = 20.0, 0.3, 0.3
SMOOTH_MM2 = 20 * (200 / 128) ** 2  # twenty pixels of 128 in 200 mm
VOLUME_WEIGHT = 0.2  # beside ten descriptors
CHECKED_EVERY = 16
# Pale blood is learned first; the last epochs see hematomas as they are, or the faint ends of all are drawn too far.
FADING_SHARE = 2 / 3
# The gradient of most steps is longer than this: every step is about as long, and no hard patient turns it alone.
LONGEST_GRADIENT = 0.5
# The last linear layers see one target per patient where the decoder sees thousands of pixels: they take longer steps.
# What lies before them must not, or its ReLU units die.
READOUT_PACE, LAST_LAYERS = 10.0, ("expansion.describe.", "expansion.classify.")
# How a step is shared out changes nothing but rounding: a training can go on with other devices.
SHARED_OUT = ("devices", "accumulation")


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the patients, or the setting that would fit."""


@dataclass(frozen=True)
class TrainingSettings:
    """The schedule, the weights of the joint loss, and how a step is shared out.

    The loss is outline + ``presence_weight`` x presence + ``expansion_weight`` x expansion + ``descriptor_weight`` x
    descriptors. At an ``expansion_weight`` of 0 no outcome teaches the network, only its read-out. A step of
    ``patients_per_step`` is worked on by ``devices`` processes, each in ``accumulation`` parts.
    """

    epochs: int = 16
    patients_per_step: int = 2
    slices_per_patient: int = 6
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    expansion_weight: float = 0.0
    presence_weight: float = 0.3
    descriptor_weight: float = 0.2
    averaging: float = 0.99
    devices: int = 1
    accumulation: int = 1
    readout: str = "deep"
    pretrained: str = "none"
    precision: str = "auto"
    seed: int = 7
    fold: int = 0

    def __post_init__(self) -> None:
        if self.readout not in READOUTS:
            raise ValueError(f"readout must be one of {tuple(READOUTS)}, got {self.readout!r}.")


@dataclass(frozen=True)
class TrainedFold:
    """What the training of one fold leaves.

    Attributes
    ----------
    network : MultitaskNetwork
        Trained and with its read-outs fitted, in evaluation mode.
    history : DataFrame
        One row an epoch: :data:`LOSSES`, without the expansion loss where its weight is 0.
    predictions : DataFrame
        One row per patient of the cohort: see :func:`hepred_lib.multitask.prediction.predict_cohort`, then ``fold`` and
        ``role``.
    readouts : DataFrame
        One row per read-out: whether it was ``fitted``, on how many ``cases`` (patients or slices), ``positive`` ones.
    """

    network: MultitaskNetwork
    history: pd.DataFrame
    predictions: pd.DataFrame
    readouts: pd.DataFrame


@dataclass
class TrainingState:
    """Everything that changes from step to step; what a checkpoint holds."""

    network: MultitaskNetwork
    average: MultitaskNetwork
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    epoch: int = 0
    step: int = 0


def complete_fold(
    patients: Sequence[Patient],
    roles: pd.Series,
    network_settings: NetworkSettings,
    *,
    settings: TrainingSettings,
    checkpoint: Path,
    device: torch.device | None = None,
) -> TrainedFold:
    """Train the network of one fold, fit its read-outs on the patients who trained it, and predict every patient.

    Parameters
    ----------
    patients : sequence of Patient
        The whole cohort. Of those who are not ``in_fold`` nothing is used but for their own prediction.
    roles : Series
        By patient, from :func:`hepred_lib.multitask.data.fold_roles`.
    network_settings, settings, checkpoint, device
        As in :func:`train_fold`.
    """
    trained = [patient for patient in patients if roles[patient.patient_id] == "in_fold" and patient.has_mask]
    network, history = train_fold(trained, network_settings, settings=settings, checkpoint=checkpoint, device=device)
    predictions, slices = predict_cohort(network, patients)
    predictions = predictions.assign(fold=settings.fold, role=predictions["patient_id"].map(roles))
    he = pd.Series([patient.he for patient in patients], index=predictions.index)
    taught = predictions["role"].eq("in_fold") & he.notna()
    refitted = fit_readout(network, predictions[taught], he[taught], readout=settings.readout, seed=settings.seed)
    predictions["dl_logit"] = read_out(network, predictions)
    slices = slices[slices["patient_id"].map(roles).eq("in_fold")]
    weighed, blood = fit_presence(network.context, slices), slices["blood"].dropna()
    readouts = [("expansion", refitted, int(taught.sum()), int(he[taught].sum()))]
    readouts += [("presence", weighed, len(blood), int(blood.sum()))]
    table = pd.DataFrame(readouts, columns=["readout", "fitted", "cases", "positive"])
    return TrainedFold(network, history, predictions, table)


def read_histories(folder: Path, folds: Sequence[int]) -> pd.DataFrame:
    """The learning curves of all folds of a run, ``fold, epoch`` and the losses; no row where there are no folds."""
    tables = [read_table(folder / "folds" / str(fold) / "history.csv") for fold in folds]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["fold", "epoch", *LOSSES])


def train_fold(
    patients: Sequence[Patient],
    network_settings: NetworkSettings,
    *,
    settings: TrainingSettings,
    checkpoint: Path,
    device: torch.device | None = None,
) -> tuple[MultitaskNetwork, pd.DataFrame]:
    """Train on these patients by gradient; return the averaged network and its learning curves.

    Parameters
    ----------
    patients : sequence of Patient
        The training part of one fold, with reference outlines; without an outcome they serve outline and presence.
    network_settings : NetworkSettings
    settings : TrainingSettings
    checkpoint : Path
        Where the state is kept after each epoch; resumed when it was made from these patients and settings.
    device : torch.device, optional
        Of a training on one device.

    Returns
    -------
    network : MultitaskNetwork
        In evaluation mode.
    history : DataFrame
        One row an epoch: loss and its parts.

    Raises
    ------
    TrainingError
        The loss is not finite (the message names the patients), or a step does not fit into the device's memory (it
        names the setting that does).
    StudyError
        A step has fewer patients than parts, or there are fewer GPUs than `devices`.
    """
    device = device or pick_device()
    # One for all processes, whatever their cards are, and of the checkpoint: another machine may compute otherwise.
    settings = replace(settings, precision=pick_precision(device, settings.precision))
    if not patients:
        raise TrainingError(f"fold {settings.fold} has no patient with a reference segmentation to train its network.")
    fewest = len(patients) // math.ceil(len(patients) / settings.patients_per_step)
    step_parts(np.arange(fewest), settings.devices * settings.accumulation)
    if settings.devices > 1:
        light = [replace(patient, planes=None) if patient.path else patient for patient in patients]
        try:
            run_on(settings.devices, device.type, _train, light, network_settings, settings, checkpoint)
        except torch.multiprocessing.ProcessRaisedException as error:
            raise TrainingError(str(error).strip().splitlines()[-1]) from error
    # Resumed, where several trained it.
    state, history = _train(device, patients, network_settings, settings, checkpoint)
    untaught = [] if settings.expansion_weight else ["loss_expansion"]
    return state.average.eval(), pd.DataFrame(history).drop(columns=untaught)


def _train(
    device: torch.device,
    patients: Sequence[Patient],
    network_settings: NetworkSettings,
    settings: TrainingSettings,
    checkpoint: Path,
) -> tuple[TrainingState, list[dict]]:
    """One process's share of a training, from the checkpoint's epoch to the last; the first process keeps the state."""
    patients = [p if p.planes is not None else replace(p, planes=np.load(p.path, mmap_mode="r")) for p in patients]
    mark = _fingerprint(patients, network_settings, settings, device.type)
    state = _new_state(patients, network_settings, settings, device)
    history = resume_state(state, checkpoint, mark)
    if state.epoch == settings.epochs:
        return state, history
    n_steps = math.ceil(len(patients) / settings.patients_per_step)
    model = shared(state.network, device)
    stack = Stack(patients, device)
    compute = gradients_of(state, model, settings, device)
    total, desc = settings.epochs * n_steps, f"fold {settings.fold}"
    bar = progress(total=total, initial=state.step, desc=desc, unit="step", quiet=rank() > 0)
    with bar, deterministic(device):
        while state.epoch < settings.epochs:
            key = (settings.seed, settings.fold, state.epoch)
            pending: list[tuple[str, Tensor]] = []
            sums = torch.zeros(len(LOSSES), device=device)
            for numbers in epoch_steps(len(patients), settings.patients_per_step, key):
                _set_learning_rate(state, settings, total)
                batches = step_batches(
                    stack,
                    numbers,
                    slices_per_patient=settings.slices_per_patient,
                    seed=key,
                    fading=state.epoch < FADING_SHARE * settings.epochs,
                    parts=(rank(), settings.devices, settings.accumulation),
                )
                sums += _train_step(state, model, batches, settings, compute, pending)
                bar.update()
            _require_finite(pending, state.step)
            state.epoch += 1
            means = dict(zip(LOSSES, (averaged(sums) / n_steps).cpu().tolist(), strict=True))
            history.append({"epoch": state.epoch, **means})
            bar.set_postfix({"loss": f"{means['loss']:.3f}"})
            if rank() == 0:
                save_state(state, history, checkpoint, mark)
    return state, history


def _train_step(
    state: TrainingState,
    model: nn.Module,
    batches: Iterable[Batch],
    settings: TrainingSettings,
    compute: Callable[[Batch], Tensor],
    pending: list[tuple[str, Tensor]],
) -> Tensor:
    """Forward and backward of a step's parts by ``compute``, one update; returns the mean losses, still on the device.

    Each part's patients and loss are added to ``pending``: to look at every loss at once would hold up the device.
    """
    # Dropout draws from the global generator: seed it by step, so that a resumed run draws the same.
    torch.manual_seed(mixed_seed((settings.seed, settings.fold, rank(), state.step)))
    state.optimizer.zero_grad(set_to_none=True)
    losses: Any = 0.0  # a tensor after the first part
    for part, batch in enumerate(batches):
        last = part + 1 == settings.accumulation
        with nullcontext() if last or settings.devices == 1 else model.no_sync():
            values = _fitting(compute, batch, settings) / settings.accumulation
        losses = losses + values
        pending.append((", ".join(batch.patient_ids), values[0]))
    if state.step % CHECKED_EVERY == 0 or losses.device.type == "cpu":
        _require_finite(pending, state.step)
    state.scaler.unscale_(state.optimizer)
    nn.utils.clip_grad_norm_(state.network.parameters(), LONGEST_GRADIENT)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.step += 1
    _update_average(state, settings.averaging)
    return losses


def gradients_of(
    state: TrainingState, model: nn.Module, settings: TrainingSettings, device: torch.device
) -> Callable[[Batch], Tensor]:
    """What computes a batch's losses and leaves their gradients in the network; on one GPU it replays a recording."""

    def work(batch: Batch, generator: torch.Generator) -> Tensor:
        losses = joint_loss(model, augment(batch, generator), settings)
        state.scaler.scale(losses[0] / settings.accumulation).backward()
        return losses.detach()

    alone = settings.devices == settings.accumulation == 1
    return Replay(work, list(state.network.parameters()), device, record=alone)


def _fitting(compute: Callable[[Batch], Tensor], batch: Batch, settings: TrainingSettings) -> Tensor:
    """Losses of a batch with their gradients; names the accumulation that fits where memory is short."""
    try:
        return compute(batch)
    except torch.OutOfMemoryError as error:
        more, most = settings.accumulation * 2, settings.patients_per_step // settings.devices
        advice = f"set accumulation to {more}" if more <= most else "take fewer slices_per_patient or a smaller matrix"
        raise TrainingError(
            f"the device's memory is too small for {len(batch.hu)} slices of {tuple(batch.hu.shape[-2:])} at a time: "
            f"{advice}, or let fewer folds share the device (hepred run --cores) ({error})."
        ) from error


def joint_loss(model: nn.Module, batch: Batch, settings: TrainingSettings) -> Tensor:
    """The weighted sum of the losses and its parts, shape (5,), in the order of :data:`LOSSES`.

    The sum holds the coarse outlines' losses too; they are not listed.

    Parameters
    ----------
    model : MultitaskNetwork, or the same shared among processes
    batch : Batch
    settings : TrainingSettings
        Holds the weights of the losses.
    """
    network: Any = getattr(model, "module", model)
    slices = normalize(batch.hu).contiguous(memory_format=torch.channels_last)
    with autocast(batch.hu.device, settings.precision):
        output = model(slices)
    features = tuple(level.float() for level in output.features)
    n_patients = len(batch.patient_ids)
    bags = network.expansion(features, slices, batch.blood, batch.bag, batch.voxel_ml, n_patients)
    outline, coarse = outline_losses(output, batch)
    presence = _mean_of_known(nn.functional.binary_cross_entropy_with_logits, output.presence.float(), batch.presence)
    expansion = _mean_of_known(nn.functional.binary_cross_entropy_with_logits, bags.expansion, batch.he)
    described = bags.values[:, : batch.descriptors.shape[1]]
    descriptors = network.expansion.standardize(batch.descriptors)
    description = _mean_of_known(nn.functional.smooth_l1_loss, described, descriptors)
    volume = nn.functional.smooth_l1_loss(bags.recalled, bags.values[:, LOG_VOLUME].detach())
    description = description + VOLUME_WEIGHT * volume
    heads = settings.presence_weight * presence + settings.expansion_weight * expansion
    heads = heads + settings.descriptor_weight * description
    total = outline + COARSE_WEIGHT * coarse + heads
    return torch.stack([total, outline, presence, expansion, description])


def outline_losses(output: SliceOutput, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss of the outlines at full resolution, and the sum of those at lower ones: hematoma, then ventricles."""
    losses = []
    for logits in (output.outline, *output.coarse):
        blood = nn.functional.adaptive_avg_pool2d(batch.blood, (logits.shape[-2], logits.shape[-1]))
        known = torch.stack([torch.ones_like(batch.ivh_known), batch.ivh_known])
        own, ventricular = (
            outline_loss(
                logits[:, k : k + 1].float(), blood[:, k : k + 1], batch.bag, known=known[k], pixel_mm=batch.pixel_mm
            )
            for k in (0, 1)
        )
        losses.append(own + VENTRICLES_WEIGHT * ventricular)
    return losses[0], torch.stack(losses[1:]).sum()


def outline_loss(logits: Tensor, blood: Tensor, bag: Tensor, *, known: Tensor, pixel_mm: float) -> Tensor:
    """Soft Dice by patient plus pixel-wise cross-entropy; targets are shares of a pixel in [0, 1].

    One Dice per patient, as outlines are evaluated: a small hematoma counts as much as a large one, and a patient
    without blood through the false positives. Patients whose ``known`` (b,) is 0 do not count.
    """
    probability = torch.sigmoid(logits)
    sums = torch.stack([2.0 * probability * blood, probability**2 + blood**2]).sum(dim=(2, 3, 4))
    overlap, total = sums.new_zeros(2, len(known)).index_add(1, bag, sums)
    smooth = SMOOTH_MM2 / pixel_mm**2
    dice = ((overlap + smooth) / (total + smooth) * known).sum() / known.sum().clamp_min(1)
    # Blood is about one pixel in a hundred: a plain mean would drown it, and Dice alone is slow at margins.
    by_slice = nn.functional.binary_cross_entropy_with_logits(logits, blood, reduction="none").mean(dim=(1, 2, 3))
    cross_entropy = (by_slice * known[bag]).sum() / known[bag].sum().clamp_min(1)
    return known.amax() - dice + CROSS_ENTROPY_WEIGHT * cross_entropy


def _mean_of_known(loss: Callable[..., Tensor], values: Tensor, target: Tensor) -> Tensor:
    """Mean loss over rows whose target is known; 0 where none is. Without a look at the numbers from the host."""
    known = torch.isfinite(target)
    known = known.all(dim=1, keepdim=True).expand_as(target) if target.dim() > 1 else known
    each = loss(values, torch.where(known, target, 0.0), reduction="none")
    return torch.where(known, each, 0.0).sum() / known.sum().clamp_min(1)


def _require_finite(pending: list[tuple[str, Tensor]], step: int) -> None:
    """Refuse losses that are not finite, by the names of the first patients that gave one; then forget them all."""
    if pending and not torch.isfinite(torch.stack([loss for _, loss in pending])).all():
        wrong = next(names for names, loss in pending if not torch.isfinite(loss))
        raise TrainingError(f"the loss is not finite by step {step} (patients {wrong}).")
    pending.clear()


def _set_learning_rate(state: TrainingState, settings: TrainingSettings, steps: int) -> None:
    warm = max(1, steps // 20)
    if state.step < warm:
        factor = (state.step + 1) / warm
    else:
        factor = 0.5 * (1.0 + math.cos(math.pi * (state.step - warm) / max(1, steps - warm)))
    for group in state.optimizer.param_groups:
        group["lr"] = settings.learning_rate * group["pace"] * factor


@torch.no_grad()
def _update_average(state: TrainingState, averaging: float) -> None:
    # A shorter memory at first, so that the random start is forgotten.
    decay = min(averaging, (1.0 + state.step) / (10.0 + state.step))
    pairs = list(zip(_tensors(state.average), _tensors(state.network), strict=True))
    means, values = zip(*[pair for pair in pairs if pair[0].is_floating_point()], strict=True)
    get_ema_multi_avg_fn(decay)(means, values, None)
    for mean, value in pairs:
        if not mean.is_floating_point():
            mean.copy_(value)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def _new_state(
    patients: Sequence[Patient], network: NetworkSettings, settings: TrainingSettings, device: torch.device
) -> TrainingState:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed_seed((settings.seed, settings.fold)))
        model = MultitaskNetwork(network)
    mean, sd = descriptor_scale([patient.descriptors for patient in patients])
    model.expansion.descriptor_mean.copy_(mean)
    model.expansion.descriptor_sd.copy_(sd)
    if weights := pretrained_file(settings.pretrained):
        start_from(model, weights)
    average = MultitaskNetwork(network)
    average.load_state_dict(model.state_dict())
    model, average = (
        item.to(device).to(memory_format=torch.channels_last).train(mode)
        for item, mode in ((model, True), (average, False))
    )
    body, readouts = (
        [weights for name, weights in model.named_parameters() if name.startswith(LAST_LAYERS) == last]
        for last in (False, True)
    )
    groups = [{"params": body, "pace": 1.0}, {"params": readouts, "pace": READOUT_PACE}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    # float16 holds no small gradients: they are scaled up, and a step whose gradients overflow is left out.
    half = pick_precision(device, settings.precision) == "float16"
    return TrainingState(model, average, optimizer, torch.amp.GradScaler(device.type, enabled=half))


def _fingerprint(
    patients: Sequence[Patient], network: NetworkSettings, settings: TrainingSettings, device_type: str
) -> str:
    """What a checkpoint must have been made from, and computed on, to be resumed."""
    digests = [hashlib.sha256(np.ascontiguousarray(patient.planes).data).hexdigest() for patient in patients]
    people = [(p.patient_id, repr((p.he, p.descriptors)), mark) for p, mark in zip(patients, digests, strict=True)]
    schedule = {name: value for name, value in asdict(settings).items() if name not in SHARED_OUT}
    made_of = {"network": asdict(network), "training": schedule, "patients": people, "device": device_type}
    if weights := pretrained_file(settings.pretrained):
        made_of["pretrained"] = file_sha256(weights)
    made_of["code"] = library_code("multitask", "training.py")
    return json.dumps(made_of, sort_keys=True)


def save_state(state: TrainingState, history: list[dict], checkpoint: Path, fingerprint: str) -> None:
    """Keep all that the next epoch starts from, marked by what it was made from."""
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.state_dict().items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    progress = {"epoch": state.epoch, "step": state.step, "scaler": state.scaler.state_dict(), "history": history}
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(checkpoint) as temporary:
        save_file(tensors, temporary, metadata={"fingerprint": fingerprint, "progress": json.dumps(progress)})


def resume_state(state: TrainingState, checkpoint: Path, fingerprint: str) -> list[dict]:
    """Resume a state made from the same patients and settings; returns its history, empty where there is none.

    What a kill during writing left behind is removed, and so is a damaged checkpoint: training starts anew.
    """
    for rest in checkpoint.parent.glob(f".{checkpoint.name}.*.tmp"):
        rest.unlink(missing_ok=True)
    if not checkpoint.exists():
        return []
    try:
        metadata = read_metadata(checkpoint)
        if metadata["fingerprint"] != fingerprint:
            return []
        progress = json.loads(metadata["progress"])
        epoch, step, scaler, history = (progress[name] for name in ("epoch", "step", "scaler", "history"))
        tensors = load_file(checkpoint)
        _require_state(tensors, state)
    except UNUSABLE:
        checkpoint.unlink()
        return []
    for name, module in (("network", state.network), ("average", state.average)):
        module.load_state_dict(_part(tensors, name))
    slots: dict[int, dict[str, Tensor]] = {}
    parameters = [weights for group in state.optimizer.param_groups for weights in group["params"]]
    for name, value in _part(tensors, "optimizer").items():
        index, slot = name.split(".", 1)
        # The moments must lie in memory as their weights do, or the fused optimizer rounds differently.
        like = torch.empty_like(parameters[int(index)], device="cpu") if value.dim() else torch.empty(())
        slots.setdefault(int(index), {})[slot] = like.copy_(value)
    state.optimizer.load_state_dict({**state.optimizer.state_dict(), "state": slots})
    if state.scaler.is_enabled():
        state.scaler.load_state_dict(scaler)
    state.epoch, state.step = epoch, step
    return history


def _require_state(tensors: dict[str, Tensor], state: TrainingState) -> None:
    """Refuse a checkpoint that lacks a part of the state, or holds one that is not finite."""
    for name, module in (("network", state.network), ("average", state.average)):
        if _part(tensors, name).keys() != module.state_dict().keys():
            raise ValueError(f"the checkpoint must hold the whole {name}")
    if not all(torch.isfinite(value).all() for value in tensors.values() if value.is_floating_point()):
        raise ValueError("the checkpoint must be finite")


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Repeatable kernels on a GPU, so that an interrupted training ends with the same bits; the CPU has no others."""
    if device.type == "cpu":
        yield
        return
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    filled = memory.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    memory.fill_uninitialized_memory = False  # every kernel here writes all that is read
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
        memory.fill_uninitialized_memory = filled


def run_on(n_devices: int, kind: str, work: Callable[..., Any], *arguments: object) -> None:
    """Call ``work(device, *arguments)`` in one process a device, joined in a process group, and wait for all.

    Parameters
    ----------
    n_devices : int
        >= 2.
    kind : {'cpu', 'cuda', 'mps'}
    work : callable
        Importable by name; its arguments must pickle.

    Raises
    ------
    StudyError
        If fewer GPUs are there than asked for.
    """
    if kind != "cpu" and (found := torch.cuda.device_count() if kind == "cuda" else 1) < n_devices:
        raise StudyError(f"devices must be at most the {found} GPUs of this machine, got {n_devices}.")
    with tempfile.TemporaryDirectory(prefix="hepred-") as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        torch.multiprocessing.start_processes(
            _join_and_work,
            args=(n_devices, kind, meeting, torch.get_num_threads(), work, arguments),
            nprocs=n_devices,
            start_method="spawn",
        )


def _join_and_work(
    rank: int, n_devices: int, kind: str, meeting: str, n_threads: int, work: Callable[..., Any], arguments: tuple
) -> None:
    on_gpu = kind == "cuda"
    device = torch.device("cuda", rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, n_threads // n_devices))
    torch.distributed.init_process_group(
        "nccl" if on_gpu else "gloo", init_method=meeting, rank=rank, world_size=n_devices
    )
    work(device, *arguments)
    # Not after an error: it waits for the others, who wait for this process, and nobody would hear of the error.
    torch.distributed.destroy_process_group()


def rank() -> int:
    """Number of this process among those that share a training; 0 where it trains alone."""
    return torch.distributed.get_rank() if _joined() else 0


def shared(network: nn.Module, device: torch.device) -> nn.Module:
    """The network as it is called in training: itself, or wrapped so that gradients are averaged over processes."""
    if not _joined():
        return network
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)


def averaged(values: Tensor) -> Tensor:
    """The mean of each process's values where several train together, else the values."""
    if _joined():
        torch.distributed.all_reduce(values)
        values = values / torch.distributed.get_world_size()
    return values


def _joined() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
