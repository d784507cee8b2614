"""Training of one fold's network: a fixed schedule, read top to bottom.

No held-out patient influences it: the number of epochs is fixed, the learning rate follows a cosine, and the network
that is kept is the exponential average of the weights. Every draw depends on (seed, fold, epoch, patient) alone, and
the whole state is saved after each epoch: a killed training goes on where it was and ends with the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hepred_lib.multitask import devices
from hepred_lib.multitask.augmentation import augment
from hepred_lib.multitask.bags import Batch, Patient, epoch_steps, mixed_seed, step_batches, step_parts
from hepred_lib.multitask.checkpoint import TrainingState, resume_state, save_state
from hepred_lib.multitask.descriptors import descriptor_scale
from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings
from hepred_lib.multitask.objective import LOSSES, LossWeights, joint_loss
from hepred_lib.progress import progress
from hepred_lib.study.identity import library_code

CHECKED_EVERY = 16
# The gradient of most steps is longer than this: every step is about as long, and no hard patient turns it alone.
LONGEST_GRADIENT = 0.5
# The last linear layers see one target a patient where the decoder sees thousands of pixels: they take longer steps.
# What lies before them must not, or its units fall silent and no gradient wakes them.
READOUT_PACE, READOUTS = 10.0, ("expansion.describe.", "expansion.classify.")


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the patients, or the setting that would fit."""


@dataclass(frozen=True)
class TrainingSettings:
    """The schedule, the weights of the joint loss, and how a step is shared out.

    The loss is outline + ``presence_weight`` x presence + ``expansion_weight`` x expansion + ``descriptor_weight`` x
    descriptors. A step of ``patients_per_step`` is worked on by ``devices`` processes, each in ``accumulation`` parts.
    """

    epochs: int = 16
    patients_per_step: int = 2
    slices_per_patient: int = 6
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    expansion_weight: float = 0.3
    presence_weight: float = 0.3
    descriptor_weight: float = 0.2
    averaging: float = 0.99
    devices: int = 1
    accumulation: int = 1
    seed: int = 7
    fold: int = 0

    @property
    def weights(self) -> LossWeights:
        """Of the joint loss."""
        return LossWeights(self.presence_weight, self.expansion_weight, self.descriptor_weight)


@dataclass
class _Pending:
    """Losses that are still on the device, with the patients they belong to."""

    patients: list[str]
    losses: list[Tensor]


def train_fold(
    patients: Sequence[Patient],
    network_settings: NetworkSettings,
    *,
    settings: TrainingSettings,
    checkpoint: Path,
    device: torch.device | None = None,
) -> tuple[MultitaskNetwork, pd.DataFrame]:
    """Train on these patients and return the averaged network and its learning curves.

    Parameters
    ----------
    patients : sequence of Patient
        The training part of one fold; patients without an outcome serve outline and presence only.
    network_settings : NetworkSettings
    settings : TrainingSettings
    checkpoint : Path
        Where the state is kept after each epoch, without ending; taken up again when it fits these settings.
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
    ValueError
        A step has fewer patients than parts, or there are fewer GPUs than `devices`.
    """
    device = device or devices.pick_device()
    fewest = len(patients) // math.ceil(len(patients) / settings.patients_per_step)
    step_parts(np.arange(fewest), settings.devices * settings.accumulation)
    if settings.devices > 1:
        light = [replace(patient, planes=None) if patient.path else patient for patient in patients]
        try:
            devices.run_on(settings.devices, _train_share, light, network_settings, settings, checkpoint)
        except torch.multiprocessing.ProcessRaisedException as error:
            raise TrainingError(str(error).strip().splitlines()[-1]) from error
    mark = _fingerprint(patients, network_settings, settings)
    state = _new_state(patients, network_settings, settings, device)
    history = resume_state(state, checkpoint, mark)
    _train(state, history, patients, settings, save=lambda: save_state(state, history, checkpoint, mark))
    return state.average.eval(), pd.DataFrame(history)


def _train_share(
    device: torch.device,
    patients: Sequence[Patient],
    network_settings: NetworkSettings,
    settings: TrainingSettings,
    checkpoint: Path,
) -> None:
    """One process's share of a training; the first process keeps the state."""
    opened = [p if p.planes is not None else replace(p, planes=np.load(p.path, mmap_mode="r")) for p in patients]
    mark = _fingerprint(opened, network_settings, settings)
    state = _new_state(opened, network_settings, settings, device)
    history = resume_state(state, checkpoint, mark)
    first = devices.rank() == 0
    _train(
        state, history, opened, settings, save=lambda: save_state(state, history, checkpoint, mark) if first else None
    )


def _train(
    state: TrainingState,
    history: list[dict],
    patients: Sequence[Patient],
    settings: TrainingSettings,
    *,
    save: Callable[[], None],
) -> None:
    """From the state's epoch to the last, adding to the history; ``save`` is called after each epoch."""
    if state.epoch == settings.epochs:
        return
    device = next(state.network.parameters()).device
    n_steps = math.ceil(len(patients) / settings.patients_per_step)
    model = devices.shared(state.network, device)
    bar = progress(
        total=settings.epochs * n_steps,
        initial=state.step,
        desc=f"fold {settings.fold}",
        unit="step",
        quiet=devices.rank() > 0,
    )
    with bar, devices.deterministic(device):
        while state.epoch < settings.epochs:
            key = (settings.seed, settings.fold, state.epoch)
            pending, sums = _Pending([], []), torch.zeros(len(LOSSES), device=device)
            for numbers in epoch_steps(len(patients), settings.patients_per_step, key):
                _set_learning_rate(state, settings, settings.epochs * n_steps)
                batches = step_batches(
                    patients,
                    numbers,
                    slices_per_patient=settings.slices_per_patient,
                    seed=key,
                    device=device,
                    parts=(devices.rank(), settings.devices, settings.accumulation),
                )
                sums += _train_step(state, model, (augment(b, seed=key) for b in batches), settings, pending)
                bar.update()
            _require_finite(pending, state.step)
            state.epoch += 1
            means = dict(zip(LOSSES, (devices.averaged(sums) / n_steps).tolist(), strict=True))
            history.append({"epoch": state.epoch, **means})
            bar.set_postfix({"loss": f"{means['loss']:.3f}"})
            save()


def _train_step(
    state: TrainingState,
    model: nn.Module,
    batches: Iterable[Batch],
    settings: TrainingSettings,
    pending: _Pending,
) -> Tensor:
    """Forward and backward of a step's parts, one update; returns the mean losses, still on the device."""
    # Dropout draws from the global generator: seed it by step, so that a resumed run draws the same.
    torch.manual_seed(mixed_seed((settings.seed, settings.fold, devices.rank(), state.step)))
    state.optimizer.zero_grad(set_to_none=True)
    losses = 0.0
    for part, batch in enumerate(batches):
        last = part + 1 == settings.accumulation
        with nullcontext() if last or settings.devices == 1 else model.no_sync():
            values = _fitting_loss(model, batch, settings) / settings.accumulation
        losses = losses + values.detach()
        pending.patients.append(", ".join(batch.patient_ids))
        pending.losses.append(values[0].detach())
    if state.step % CHECKED_EVERY == 0 or losses.device.type == "cpu":
        _require_finite(pending, state.step)
    nn.utils.clip_grad_norm_(state.network.parameters(), LONGEST_GRADIENT, foreach=True)
    state.optimizer.step()
    state.step += 1
    _update_average(state, settings.averaging)
    return losses


def _fitting_loss(model: nn.Module, batch: Batch, settings: TrainingSettings) -> Tensor:
    """Losses of a batch with their gradients; says which accumulation fits where the device's memory does not do."""
    try:
        losses = joint_loss(model, batch, settings.weights)
        (losses[0] / settings.accumulation).backward()
    except torch.OutOfMemoryError as error:
        parts = settings.accumulation * 2
        most = settings.patients_per_step // settings.devices
        advice = (
            f"set accumulation to {parts}" if parts <= most else "take fewer slices_per_patient or a smaller matrix"
        )
        raise TrainingError(
            f"the device's memory is too small for {len(batch.hu)} slices of {tuple(batch.hu.shape[-2:])} at a time: "
            f"{advice} ({error})."
        ) from error
    return losses


def _require_finite(pending: _Pending, step: int) -> None:
    if pending.losses and not torch.isfinite(torch.stack(pending.losses)).all():
        wrong = next(p for p, loss in zip(pending.patients, pending.losses, strict=True) if not torch.isfinite(loss))
        raise TrainingError(f"the loss is not finite by step {step} (patients {wrong}).")
    pending.patients.clear()
    pending.losses.clear()


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


def _set_learning_rate(state: TrainingState, settings: TrainingSettings, steps: int) -> None:
    warm = max(1, steps // 20)
    if state.step < warm:
        factor = (state.step + 1) / warm
    else:
        factor = 0.5 * (1.0 + math.cos(math.pi * (state.step - warm) / max(1, steps - warm)))
    for group in state.optimizer.param_groups:
        group["lr"] = settings.learning_rate * group["pace"] * factor


def _new_state(
    patients: Sequence[Patient], network: NetworkSettings, settings: TrainingSettings, device: torch.device
) -> TrainingState:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed_seed((settings.seed, settings.fold)))
        model = MultitaskNetwork(network)
    mean, sd = descriptor_scale([patient.descriptors for patient in patients])
    model.expansion.descriptor_mean.copy_(mean)
    model.expansion.descriptor_sd.copy_(sd)
    average = MultitaskNetwork(network)
    average.load_state_dict(model.state_dict())
    model, average = (
        item.to(device=device, memory_format=torch.channels_last).train(mode)
        for item, mode in ((model, True), (average, False))
    )
    body, readouts = (
        [weights for name, weights in model.named_parameters() if name.startswith(READOUTS) == last]
        for last in (False, True)
    )
    groups = [{"params": body, "pace": 1.0}, {"params": readouts, "pace": READOUT_PACE}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    return TrainingState(model, average, optimizer)


def _fingerprint(patients: Sequence[Patient], network: NetworkSettings, settings: TrainingSettings) -> str:
    """What a checkpoint must have been made from to be taken up again."""
    people = [
        (
            patient.patient_id,
            repr(patient.he),
            repr(patient.descriptors),
            hashlib.sha256(np.ascontiguousarray(patient.planes)).hexdigest(),
        )
        for patient in patients
    ]
    made_of = {"network": asdict(network), "training": asdict(settings), "patients": people}
    made_of["code"] = library_code("multitask", "training.py")
    return json.dumps(made_of, sort_keys=True)
