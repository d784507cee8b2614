"""Training of one fold's network: a fixed schedule, read top to bottom.

No held-out patient influences it: the number of epochs is fixed, the learning rate follows a cosine, and the network
that is kept is the exponential average of the weights. Every draw depends on (seed, fold, epoch, step) alone, and
the whole state is saved after each epoch: a killed training goes on where it was and ends with the same weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from hepred_lib.multitask.augmentation import augment
from hepred_lib.multitask.bags import Batch, Patient, epoch_batches, mixed_seed, normalize
from hepred_lib.multitask.checkpoint import TrainingState, resume_state, save_state
from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings
from hepred_lib.progress import progress


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the patients of the batch."""


@dataclass(frozen=True)
class TrainingSettings:
    """The schedule and the weights of the joint loss: outline + presence + ``expansion_weight`` x expansion."""

    epochs: int = 10
    patients_per_step: int = 6
    slices_per_patient: int = 6
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    expansion_weight: float = 0.3
    presence_weight: float = 0.3
    averaging: float = 0.99
    seed: int = 7
    fold: int = 0


def pick_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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

    Returns
    -------
    network : MultitaskNetwork
        In evaluation mode.
    history : DataFrame
        One row an epoch: loss and its three parts.

    Raises
    ------
    TrainingError
        The loss is not finite; the message names the batch's patients.
    """
    device = device or pick_device()
    steps = settings.epochs * math.ceil(len(patients) / settings.patients_per_step)
    state = _new_state(network_settings, settings, device)
    history = resume_state(state, checkpoint, _fingerprint(patients, network_settings, settings))
    bar = progress(total=steps, initial=state.step, desc=f"fold {settings.fold}", unit="step")
    with bar:
        while state.epoch < settings.epochs:
            sums: dict[str, float] = {}
            for batch in _augmented(patients, settings, state.epoch):
                _set_learning_rate(state, settings, steps)
                parts = _train_step(state, batch.to(device), settings)
                sums = {name: sums.get(name, 0.0) + value for name, value in parts.items()}
                bar.update()
            n_steps = steps // settings.epochs
            state.epoch += 1
            history.append({"epoch": state.epoch, **{name: value / n_steps for name, value in sums.items()}})
            bar.set_postfix({"loss": f"{history[-1]['loss']:.3f}"})
            save_state(state, history, checkpoint, _fingerprint(patients, network_settings, settings))
    return state.average.eval(), pd.DataFrame(history)


def joint_loss(network: MultitaskNetwork, batch: Batch, settings: TrainingSettings) -> dict[str, Tensor]:
    """Dice and cross-entropy of the outline, cross-entropy of presence and of expansion, and their weighted sum."""
    slices = normalize(batch.hu).contiguous(memory_format=torch.channels_last)
    with torch.autocast(batch.hu.device.type, dtype=torch.bfloat16):
        output = network(slices)
    outline = output.outline.float()
    features = tuple(level.float() for level in output.features)
    bags = network.expand(features, batch.blood, batch.bag, batch.voxel_ml)
    has_mask = torch.isfinite(batch.presence)
    loss_outline = outline_loss(outline, batch.blood)
    loss_presence = _masked_bce(output.presence.float(), batch.presence, has_mask)
    loss_expansion = _masked_bce(bags.expansion, batch.he, torch.isfinite(batch.he))
    total = loss_outline + settings.presence_weight * loss_presence + settings.expansion_weight * loss_expansion
    return {
        "loss": total,
        "loss_segmentation": loss_outline,
        "loss_presence": loss_presence,
        "loss_expansion": loss_expansion,
    }


def outline_loss(logits: Tensor, blood: Tensor) -> Tensor:
    """Soft Dice over the whole batch plus pixel-wise cross-entropy; targets are shares of a pixel in [0, 1].

    One Dice for the batch rather than one a slice: slices without blood then count through their false positives.
    """
    probability = torch.sigmoid(logits)
    overlap = 2.0 * (probability * blood).sum() + 1.0
    dice = overlap / ((probability**2).sum() + (blood**2).sum() + 1.0)
    # Blood is about one pixel in a hundred: a plain mean would drown it.
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, blood, reduction="mean")
    return 1.0 - dice + 5.0 * cross_entropy


def _augmented(patients: Sequence[Patient], settings: TrainingSettings, epoch: int) -> Iterator[Batch]:
    key = (settings.seed, settings.fold, epoch)
    batches = epoch_batches(
        patients,
        patients_per_step=settings.patients_per_step,
        slices_per_patient=settings.slices_per_patient,
        seed=key,
    )
    for step, batch in enumerate(batches):
        yield augment(batch, seed=(*key, step))


def _train_step(state: TrainingState, batch: Batch, settings: TrainingSettings) -> dict[str, float]:
    # Dropout draws from the global generator: seed it by step, so that a resumed run draws the same.
    torch.manual_seed(mixed_seed((settings.seed, settings.fold, 0, state.step)))
    losses = joint_loss(state.network, batch, settings)
    if not torch.isfinite(losses["loss"]):
        raise TrainingError(f"the loss is not finite at step {state.step} (patients {', '.join(batch.patient_ids)}).")
    state.optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimizer.step()
    state.step += 1
    _update_average(state, settings.averaging)
    return {name: float(value.detach()) for name, value in losses.items()}


@torch.no_grad()
def _update_average(state: TrainingState, averaging: float) -> None:
    # A shorter memory at first, so that the random start is forgotten.
    decay = min(averaging, (1.0 + state.step) / (10.0 + state.step))
    for mean, value in zip(state.average.state_dict().values(), state.network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1.0 - decay)
        else:
            mean.copy_(value)


def _set_learning_rate(state: TrainingState, settings: TrainingSettings, steps: int) -> None:
    warm = max(1, steps // 20)
    if state.step < warm:
        factor = (state.step + 1) / warm
    else:
        factor = 0.5 * (1.0 + math.cos(math.pi * (state.step - warm) / max(1, steps - warm)))
    for group in state.optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor


def _masked_bce(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    if not known.any():
        return logits.sum() * 0.0
    return nn.functional.binary_cross_entropy_with_logits(logits[known], target[known])


def _new_state(network: NetworkSettings, settings: TrainingSettings, device: torch.device) -> TrainingState:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed_seed((settings.seed, settings.fold)))
        model = MultitaskNetwork(network)
    average = MultitaskNetwork(network)
    average.load_state_dict(model.state_dict())
    model, average = (
        item.to(device=device, memory_format=torch.channels_last).train(mode)
        for item, mode in ((model, True), (average, False))
    )
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    return TrainingState(model, average, optimizer)


def _fingerprint(patients: Sequence[Patient], network: NetworkSettings, settings: TrainingSettings) -> str:
    """What a checkpoint must have been made from to be taken up again."""
    pixels = [int(patient.planes.sum(dtype="uint64")) for patient in patients]
    people = [(patient.patient_id, repr(patient.he), total) for patient, total in zip(patients, pixels, strict=True)]
    return json.dumps({"network": asdict(network), "training": asdict(settings), "patients": people}, sort_keys=True)
