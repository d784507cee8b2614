"""What the expansion score rests on: share of the hematoma by slice, and an activation map over the hematoma.

The map is Grad-CAM on the decoder's finest features: each feature is weighted by the mean slope of the expansion logit
along it, and only what raises the logit more than the hematoma does on average is kept: features are pooled under the
outline, and a constant over all of it carries no location. The map shows where the features lie that moved this
network, not why a hematoma grows. A map that stays the same when the weights are random would show the image alone; a
test checks that it does not. What is measured inside the outline moves the logit too, and is not in the map.

References
----------
Selvaraju RR et al. Grad-CAM: visual explanations from deep networks via gradient-based localization. ICCV 2017.
Adebayo J et al. Sanity checks for saliency maps. NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from hepred_lib.imaging.slices import BRAIN, at_own_pixels, stacked
from hepred_lib.multitask.data import Patient, cut, network_input, uncut
from hepred_lib.multitask.network import MultitaskNetwork
from hepred_lib.multitask.prediction import Reading, predict_patient

LEAST_SHARE = 0.01  # of the hematoma, in a slice that is shown


@dataclass(frozen=True)
class Explanation:
    """Share of the hematoma in each slice (n,), summing to 1, and the activation map (n, h, w), 0 to 1 by patient."""

    share: np.ndarray
    activation: np.ndarray


def explain_patient(network: MultitaskNetwork, patient: Patient) -> Explanation:
    """Share of the hematoma by slice, and activation map, of one patient under one network, with its own outline.

    Slices that the score does not use have share 0 and an empty map. A map is scaled to its own maximum.
    """
    reading = predict_patient(network, patient)
    used = np.flatnonzero(reading.share > 0)
    found = np.stack([reading.probability[used], reading.ventricular[used]], axis=1) >= 0.5
    outline = torch.from_numpy(cut(found, patient.frame).astype(np.float32))
    device = next(network.parameters()).device
    slices = network_input(patient.planes, used, patient.frame, device)
    with torch.inference_mode(False), torch.enable_grad():
        features = network(slices).features
        bag = torch.zeros(len(used), dtype=torch.long, device=device)
        voxel = torch.full((len(used),), patient.voxel_ml, device=device)
        logit = network.expansion(features, slices, outline.to(device), bag, voxel).expansion[0]
        (slope,) = torch.autograd.grad(logit, features[-1])
    cam = (slope.mean(dim=(0, 2, 3), keepdim=True) * features[-1].detach()).sum(dim=1, keepdim=True)
    enlarged = nn.functional.interpolate(cam, size=outline.shape[-2:], mode="bilinear", align_corners=False)
    # Features are pooled under the outline only: elsewhere the map would show what the score cannot see.
    seen = outline[:, :1].to(device) if reading.detected else torch.ones_like(enlarged)
    above = (enlarged - (enlarged * seen).sum() / seen.sum()).clamp_min(0) * seen
    activation = np.zeros(reading.probability.shape, dtype=np.float32)
    activation[used] = uncut(above.squeeze(1).cpu().numpy(), patient.planes.shape[-2:])
    return Explanation(reading.share, activation / max(float(activation.max()), 1e-12))


def explain_with(networks: Sequence[MultitaskNetwork], patient: Patient) -> Explanation:
    """The mean explanation of several networks."""
    each = [explain_patient(network, patient) for network in networks]
    return Explanation(np.mean([one.share for one in each], axis=0), np.mean([one.activation for one in each], axis=0))


def confident_calls(image: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Of each kind of call (true positive, ...) the patient who was classified with the most confidence.

    Parameters
    ----------
    image : DataFrame
        Patients with an outcome: ``patient_id, he, p_image``.
    threshold : float
        Positive at or above it.

    Returns
    -------
    DataFrame
        ``kind, patient_id, p_image``, at most one row per kind.
    """
    positive = image["p_image"].ge(threshold)
    word = np.where(positive, "positive", "negative")
    kind = np.where(positive == image["he"].eq(1), "true ", "false ").astype(object) + word
    distance = (image["p_image"] - threshold).abs()
    ordered = image.assign(kind=kind, distance=distance).sort_values("distance", ascending=False)
    return ordered.groupby("kind").head(1).sort_values("kind")[["kind", "patient_id", "p_image"]]


def explained_pictures(networks: Sequence[MultitaskNetwork], readings: Sequence[Reading]) -> dict[str, np.ndarray]:
    """Each patient's slice with most of the activation map, as the figure ``activation`` draws it.

    Returns
    -------
    dict
        ``hu, predicted, activation`` (n, h, w) at the scan's own pixels, the last within the brain; the slice's number
        ``shown`` (n,), ``n_slices``, ``pixel_mm``; and ``share`` (n, s), NaN beyond a patient's own slices.
    """
    longest, rows = max((len(reading.patient.planes) for reading in readings), default=0), []
    for reading in readings:
        explanation = explain_with(networks, reading.patient)
        inside = explanation.activation * (reading.patient.planes[:, BRAIN] > 0)
        # The map's sum shows where the score was raised most; slices that hardly count are not shown.
        top = int((inside.sum(axis=(1, 2)) * (explanation.share >= LEAST_SHARE)).argmax())
        masks, maps = {"predicted": reading.outline}, {"activation": inside[top] / max(float(inside.max()), 1e-12)}
        share = np.pad(explanation.share, (0, longest - len(explanation.share)), constant_values=np.nan)
        found = at_own_pixels(reading.scan.hu, reading.slices, top, masks=masks, maps=maps)
        rows.append(found | {"share": share, "shown": found["slice"]})
    keys = ("hu", "predicted", "activation", "shown", "n_slices", "pixel_mm", "share")
    return stacked(rows, keys)
