"""What trained networks say of patients: outlines, presence of blood, and the normalized DL score.

The score of a patient is the raw expansion logit of a network over the slices on which *it* outlines at least 20 mm2
of blood. Each network's logits are standardized with the mean and standard deviation of its own held-out fold; no
label is used. A development patient has the score of the one network that has not seen them, a new patient the mean
of all networks' scores, with the spread between networks beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hepred_lib.manifest import ManifestError
from hepred_lib.multitask.bags import Patient
from hepred_lib.multitask.descriptors import measured_descriptors
from hepred_lib.multitask.devices import half_precision_pays
from hepred_lib.multitask.network import FINDINGS, MultitaskNetwork
from hepred_lib.multitask.presence import EVIDENCE, slice_evidence
from hepred_lib.multitask.window import network_input, uncut
from hepred_lib.progress import progress
from hepred_lib.segmentation import fill_holes
from hepred_lib.slices import HU, HU_OFFSET, POSITIVE_SLICE_MM2, from_torch

FALLBACK_SLICES = 3


@dataclass(frozen=True)
class Prediction:
    """One network's reading of one patient, by slice and as a whole.

    Attributes
    ----------
    probability : ndarray of float32, shape (n, h, w)
        Probability of parenchymal blood in each pixel.
    presence : ndarray, shape (n,)
        Probability that the slice holds blood, told with the slices around it.
    evidence : ndarray, shape (n, 8)
        What presence is told from, in the order of :data:`EVIDENCE`.
    attention : ndarray, shape (n,)
        Weight of each slice in the patient's logit; 0 for slices that were not used.
    logit : float
        Raw expansion logit.
    findings : ndarray, shape (2 k + 1,)
        What the logit is read from, in the order of :data:`FINDINGS`.
    detected : bool
        False where no slice passes and the three slices of highest presence stand in.
    volume_ml : float
        Volume of the outline at a probability of 0.5.
    """

    probability: np.ndarray
    presence: np.ndarray
    evidence: np.ndarray
    attention: np.ndarray
    logit: float
    findings: np.ndarray
    detected: bool
    volume_ml: float


@torch.inference_mode()
def predict_patient(network: MultitaskNetwork, patient: Patient) -> Prediction:
    """Read one patient with one network."""
    device = next(network.parameters()).device
    slices = network_input(patient.planes, np.arange(len(patient.planes)), patient.frame, device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half_precision_pays(device)):
        output = network(slices)
    logits, presence = output.outline.float(), output.presence.float()
    probability, evidence = torch.sigmoid(logits), slice_evidence(presence, logits)
    outline = (probability >= 0.5).float()
    area_mm2 = outline.sum(dim=(1, 2, 3)) * patient.pixel_mm**2
    used = torch.nonzero(area_mm2 >= POSITIVE_SLICE_MM2).squeeze(1)
    detected = len(used) > 0
    if not detected:
        used = torch.topk(presence, min(FALLBACK_SLICES, len(presence))).indices.sort().values
    bags = network.expand(
        tuple(level[used].float() for level in output.features),
        slices[used],
        outline[used],
        torch.zeros(len(used), dtype=torch.long, device=device),
        torch.full((len(used),), patient.voxel_ml, device=device),
    )
    attention = torch.zeros(len(presence), device=device).index_put((used,), bags.attention)
    whole = uncut(probability.squeeze(1).cpu().numpy(), patient.planes.shape[-2:])
    findings = _with_measured(network, bags.findings, patient, whole >= 0.5)
    return Prediction(
        probability=whole,
        presence=torch.sigmoid(network.context(evidence)).cpu().numpy(),
        evidence=evidence.cpu().numpy(),
        attention=attention.cpu().numpy(),
        logit=float(network.expansion.classify(findings)),
        findings=findings[0].cpu().numpy(),
        detected=detected,
        volume_ml=float(outline.sum()) * patient.voxel_ml,
    )


def _with_measured(network: MultitaskNetwork, findings: Tensor, patient: Patient, outline: np.ndarray) -> Tensor:
    """The findings of one patient with the descriptors measured inside the outline (n, h, w); 0 where there is none.

    What is told is drawn in to three SDs, as what was taught: without a hematoma it can be anything.
    """
    spacing_mm = (patient.pixel_mm, patient.pixel_mm, 1000.0 * patient.voxel_ml / patient.pixel_mm**2)
    hu = from_torch(patient.planes[:, HU]).astype(np.float32) - HU_OFFSET
    measured = measured_descriptors(hu, fill_holes(from_torch(outline)), spacing_mm)
    standard = network.expansion.standardize(torch.from_numpy(measured).to(findings.device)[None])
    told, volume, _ = findings.split([standard.shape[1], 1, standard.shape[1]], dim=1)
    return torch.cat([told.clamp(-3, 3), volume, standard.nan_to_num(0.0)], dim=1)


def predict_cohort(
    network: MultitaskNetwork, patients: Iterable[Patient], *, label: str = "predict"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read many patients with one network.

    Returns
    -------
    predictions : DataFrame
        One row a patient: ``dl_logit, hematoma_detected, predicted_volume_ml`` and the findings behind the logit.
    slices : DataFrame
        One row a slice: ``patient_id, blood`` (1, 0, or missing where neither call is wrong) and the evidence for it.
    """
    rows, slices = [], []
    for patient in progress(list(patients), desc=label, unit="patient"):
        reading = predict_patient(network, patient)
        rows.append(
            {
                "patient_id": patient.patient_id,
                "dl_logit": reading.logit,
                "hematoma_detected": int(reading.detected),
                "predicted_volume_ml": reading.volume_ml,
                **dict(zip(FINDINGS, reading.findings.tolist(), strict=True)),
            }
        )
        evidence = pd.DataFrame(reading.evidence, columns=list(EVIDENCE))
        slices.append(evidence.assign(patient_id=patient.patient_id, blood=patient.labels))
    columns = ["patient_id", "dl_logit", "hematoma_detected", "predicted_volume_ml", *FINDINGS]
    empty = pd.DataFrame(columns=["patient_id", "blood", *EVIDENCE])
    return pd.DataFrame(rows, columns=columns), pd.concat(slices, ignore_index=True)[list(empty)] if slices else empty


def predict_ensemble(networks: Sequence[MultitaskNetwork], patient: Patient) -> tuple[Prediction, np.ndarray]:
    """The mean reading of several networks and the logit of each of them, shape (k,).

    Probabilities and attention are averaged; volume and detection follow from the mean outline.
    """
    readings = [predict_patient(network, patient) for network in networks]
    probability = np.mean([reading.probability for reading in readings], axis=0)
    area_mm2 = (probability >= 0.5).sum(axis=(1, 2)) * patient.pixel_mm**2
    mean = Prediction(
        probability=probability,
        presence=np.mean([reading.presence for reading in readings], axis=0),
        evidence=np.mean([reading.evidence for reading in readings], axis=0),
        attention=np.mean([reading.attention for reading in readings], axis=0),
        logit=float(np.mean([reading.logit for reading in readings])),
        findings=np.mean([reading.findings for reading in readings], axis=0),
        detected=bool((area_mm2 >= POSITIVE_SLICE_MM2).any()),
        volume_ml=float((probability >= 0.5).sum()) * patient.voxel_ml,
    )
    return mean, np.array([reading.logit for reading in readings])


def column_scores(cohort: pd.DataFrame) -> pd.DataFrame:
    """A score made elsewhere (column ``dl_score``) in the form of one fold's predictions.

    One network that trained on none of these patients: development patients are held out, in one fold.

    Raises
    ------
    ManifestError
        Every development patient with an outcome has the same score.
    """
    judged = cohort.dropna(subset=[name for name in ("he", "dl_score") if name in cohort])
    scores = judged.loc[judged["split"].eq("development"), "dl_score"]
    if scores.nunique() < 2:
        got = f"{scores.iloc[0]:g} for all {len(scores)}" if len(scores) else "none"
        raise ManifestError(
            f"dl_score must vary among the development patients, got {got}; give each patient's own score, or set "
            "image_source to none."
        )
    return pd.DataFrame(
        {
            "patient_id": cohort["patient_id"],
            "fold": 0,
            "role": cohort["split"].map({"development": "held_out", "test": "test"}),
            "dl_logit": cohort["dl_score"],
            "hematoma_detected": 1,
            "predicted_volume_ml": np.nan,
        }
    )


def score_scales(folds: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of the raw logits of each fold's own held-out patients.

    Parameters
    ----------
    folds : DataFrame
        All folds' predictions: ``fold, patient_id, role, dl_logit``.

    Returns
    -------
    DataFrame indexed by fold, with ``mean`` and ``sd``.

    Raises
    ------
    ValueError
        A fold whose held-out logits do not vary.
    """
    held_out = folds[folds["role"] == "held_out"].groupby("fold")["dl_logit"]
    scales = pd.DataFrame({"mean": held_out.mean(), "sd": held_out.std(ddof=1)})
    flat = scales.index[~(scales["sd"] > 0)]
    if len(flat):
        raise ValueError(f"the held-out logits of fold {flat[0]} must vary, got SD {scales.loc[flat[0], 'sd']}.")
    return scales


def normalized_scores(folds: pd.DataFrame, scales: pd.DataFrame) -> pd.DataFrame:
    """The normalized DL score of every patient from all folds' raw logits.

    Returns
    -------
    DataFrame indexed by patient: ``dl_score_raw, dl_score, dl_score_spread, hematoma_detected, predicted_volume_ml``.
    Development patients: their held-out network, spread missing. Test patients: the mean and the standard deviation
    over the networks.
    """
    own = folds[folds["role"] != "in_fold"].copy()
    own["dl_score"] = standardize(own["dl_logit"], own["fold"], scales)
    grouped = own.groupby("patient_id", sort=True)
    return pd.DataFrame(
        {
            "dl_score_raw": grouped["dl_logit"].mean(),
            "dl_score": grouped["dl_score"].mean(),
            "dl_score_spread": grouped["dl_score"].std(ddof=1),
            "hematoma_detected": (grouped["hematoma_detected"].mean() >= 0.5).astype(int),
            "predicted_volume_ml": grouped["predicted_volume_ml"].mean(),
        }
    )


def standardize(logits: pd.Series, fold: pd.Series, scales: pd.DataFrame) -> pd.Series:
    """Raw logits on the common scale: (logit - mean) / SD of the fold's held-out logits."""
    return (logits - fold.map(scales["mean"])) / fold.map(scales["sd"])
