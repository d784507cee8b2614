"""One scan read by the networks of a study: outline on the scan's own grid, score, and agreement with a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hepred_lib.multitask.bags import Patient
from hepred_lib.multitask.checkpoint import load_network
from hepred_lib.multitask.inference import Prediction, predict_ensemble, standardize
from hepred_lib.multitask.network import MultitaskNetwork
from hepred_lib.preprocessing import BrainSlices, prepare
from hepred_lib.scans import Scan, ScanError, read_mask, read_scan
from hepred_lib.segmentation import dice, fill_holes, hd95_mm
from hepred_lib.slices import encode, from_torch, quality_flags, refuse_other_masks, shown_hu


@dataclass(frozen=True)
class Reader:
    """The networks of a study, the scales of their scores, and how scans are prepared for them."""

    networks: tuple[MultitaskNetwork, ...]
    scales: pd.DataFrame
    options: Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """What the networks say of one scan.

    Attributes
    ----------
    scan : Scan
        As read, RAS+.
    slices : BrainSlices
        What the networks saw.
    patient : Patient
        The same in torch's order, with the reference where there is one.
    prediction : Prediction
        Mean over the networks.
    outline : ndarray of bool
        Hematoma on the grid of ``scan.hu``.
    volume_ml : float
        Of ``outline``.
    dl_score, dl_score_raw, dl_score_spread : float
        Mean of the standardized and of the raw scores; standard deviation of the standardized ones over the networks.
    flags : str
        Warnings about the scan.
    """

    scan: Scan
    slices: BrainSlices
    patient: Patient
    prediction: Prediction
    outline: np.ndarray
    volume_ml: float
    dl_score: float
    dl_score_raw: float
    dl_score_spread: float
    flags: str


def read_with(reader: Reader, row: Mapping[str, object]) -> tuple[Reading, np.ndarray | None]:
    """Read one patient's baseline scan.

    Parameters
    ----------
    reader : Reader
    row : mapping
        ``patient_id, baseline_ct`` and, where there are references, ``baseline_mask, baseline_ivh_mask``.

    Returns
    -------
    reading : Reading
    reference : ndarray of bool or None
        The reference outline on the grid of ``scan.hu``.

    Raises
    ------
    ScanError
        With the patient named; a :class:`hepred_lib.scans.HeadError` where the scan was read but shows no head that
        can be measured.
    """
    try:
        scan = read_scan(Path(str(row["baseline_ct"])))
        masks = [
            None if row.get(key) is None or pd.isna(row[key]) else read_mask(Path(str(row[key])), scan)
            for key in ("baseline_mask", "baseline_ivh_mask")
        ]
        slices = prepare(scan.hu, scan.spacing_mm, name=str(scan.path), **reader.options)
        refuse_other_masks(masks[0], scan, slices, row.get("baseline_mask"))
        refuse_other_masks(masks[1], scan, slices, row.get("baseline_ivh_mask"), ventricular=True)
    except ScanError as error:
        raise type(error)(f"{str(error).removesuffix('.')} (patient {row['patient_id']}).") from error
    grid = slices.grid
    planes = encode(slices, *masks)
    patient = Patient(str(row["patient_id"]), planes, grid.pixel_mm, grid.voxel_ml, np.nan, masks[0] is not None)
    prediction, logits = predict_ensemble(reader.networks, patient)
    scores = standardize(pd.Series(logits), pd.Series(reader.scales.index), reader.scales)
    outline = fill_holes(grid.to_scan(from_torch(prediction.probability)) >= 0.5)
    reading = Reading(
        scan=scan,
        slices=slices,
        patient=patient,
        prediction=prediction,
        outline=outline,
        volume_ml=float(outline.sum()) * float(np.prod(scan.spacing_mm)) / 1000.0,
        dl_score=float(scores.mean()),
        dl_score_raw=float(logits.mean()),
        dl_score_spread=float(scores.std(ddof=1)) if len(scores) > 1 else np.nan,
        flags=quality_flags(slices),
    )
    return reading, masks[0] if masks[0] is None else np.asarray(masks[0], bool)


def outline_agreement(reading: Reading, reference: np.ndarray) -> dict[str, float | str]:
    """One row of ``segmentation.csv``: Dice, HD95 and volumes on the scan's own grid."""
    voxel_ml = float(np.prod(reading.scan.spacing_mm)) / 1000.0
    return {
        "patient_id": reading.patient.patient_id,
        "dice": dice(reference, reading.outline),
        "hd95_mm": hd95_mm(reference, reading.outline, reading.scan.spacing_mm),
        "reference_ml": float(reference.sum()) * voxel_ml,
        "predicted_ml": reading.volume_ml,
    }


def slice_calls(reading: Reading) -> pd.DataFrame:
    """Rows of ``detection.csv``: presence of blood by slice, called and true (missing where neither call is wrong)."""
    return pd.DataFrame(
        {
            "patient_id": reading.patient.patient_id,
            "slice": np.arange(len(reading.prediction.presence)),
            "presence": reading.prediction.presence,
            "blood": reading.patient.labels,
            "predicted_mm2": (reading.prediction.probability >= 0.5).sum(axis=(1, 2)) * reading.patient.pixel_mm**2,
        }
    )


def picture(reading: Reading, reference: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The slice of the largest outline, in-plane axes (row y, column x): ``hu, reference, predicted, brain``."""
    truth = np.zeros_like(reading.outline) if reference is None else reference
    canonical = reading.slices.grid.to_slices(truth) >= 0.5
    predicted = from_torch(reading.prediction.probability) >= 0.5
    areas = (canonical if canonical.any() else predicted).sum(axis=(0, 1))
    z = int(areas.argmax())
    brain = reading.slices.brain[:, :, z].T
    return {
        "hu": shown_hu(reading.slices.hu[:, :, z].T[None], brain[None], reading.patient.pixel_mm)[0],
        "reference": canonical[:, :, z].T,
        "predicted": predicted[:, :, z].T,
        "brain": brain,
        "slice": np.array(z),
    }


def load_reader(folder: Path, scales: pd.DataFrame, options: Mapping[str, float]) -> Reader:
    """The networks of a run, in the order of its folds."""
    paths: Sequence[Path] = [folder / "folds" / str(fold) / "network.safetensors" for fold in scales.index]
    return Reader(tuple(load_network(path) for path in paths), scales, dict(options))
