"""What trained networks predict for a patient: outline, presence of blood by slice, and the normalized DL score.

Vocabulary
----------
prediction
    one network's output for one patient, or the mean over networks
raw logit
    a network's expansion logit, computed over the slices in which *it* outlines at least 20 mm2 of blood
scale
    mean and standard deviation of a network's raw logits in its own held-out fold; no label is used
DL score
    raw logits on the common scale: of a development patient, that of the one network that has not seen them; of any
    other patient, the mean over all networks, with the spread between networks beside it
reading
    one scan read by all networks of a study, with the outline on the scan's own grid
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hepred_lib.errors import ManifestError, ScanError, StudyError
from hepred_lib.imaging.markers import measure_markers
from hepred_lib.imaging.preprocessing import BrainSlices, SliceGrid, bounding_box, filled
from hepred_lib.imaging.scans import Scan
from hepred_lib.imaging.segmentation import at_half_height, dice, hd95_mm, without_distant_specks
from hepred_lib.imaging.slices import (
    HU,
    HU_OFFSET,
    POSITIVE_SLICE_MM2,
    at_own_pixels,
    encode,
    from_torch,
    quality_flags,
    read_patient,
)
from hepred_lib.multitask.data import DESCRIPTORS, Patient, measured_descriptors, network_input, uncut
from hepred_lib.multitask.device import autocast, device_words, one_thread_on
from hepred_lib.multitask.network import (
    DEEP,
    EVIDENCE,
    READOUTS,
    VOLUMES,
    MultitaskNetwork,
    load_network,
    slice_evidence,
)
from hepred_lib.progress import Item, Result, worked
from hepred_lib.study.files import read_table

FALLBACK_SLICES = 3
AGREEMENT = (
    *("patient_id", "dice", "hd95_mm", "reference_ml", "predicted_ml"),
    *("ivh_dice", "reference_ivh_ml", "predicted_ivh_ml"),
)
READ = (
    *("patient_id", "dl_score", "dl_score_spread", "hematoma_detected", "predicted_volume_ml"),
    *("predicted_ivh_ml", "flags", "unread", "unmasked", "blend_seen", "hypodensity_seen"),
)
VALUES = READOUTS["both"]


@dataclass(frozen=True)
class Prediction:
    """One network's reading of one patient, by slice and as a whole.

    Attributes
    ----------
    probability : ndarray of float32, shape (n, h, w)
        Probability of parenchymal blood in each pixel.
    presence : ndarray, shape (n,)
        Probability that the slice contains blood, from the slice and those around it.
    evidence : ndarray, shape (n, 8)
        What presence is predicted from, in the order of :data:`EVIDENCE`.
    ventricular : ndarray of float32, shape (n, h, w)
        Probability of blood in the ventricles.
    share : ndarray, shape (n,)
        Share of the hematoma in each slice: its weight in the deep features; 0 for slices that were not used.
    logit : float
        Raw expansion logit.
    values : ndarray, shape (v,)
        What the logit is read from, in the order of :data:`VALUES`.
    detected : bool
        False where no slice passes and the three slices of highest presence stand in.
    volume_ml : float
        Volume of the outline at a probability of 0.5.
    """

    probability: np.ndarray
    presence: np.ndarray
    evidence: np.ndarray
    ventricular: np.ndarray
    share: np.ndarray
    logit: float
    values: np.ndarray
    detected: bool
    volume_ml: float


def predict_patient(network: MultitaskNetwork, patient: Patient) -> Prediction:
    """Read one patient with one network; several threads may do so at once.

    Raises
    ------
    StudyError
        The device's memory is too small, or what it computes is not finite.
    """
    device = next(network.parameters()).device
    elsewhere = "read on the CPU (device: cpu, or CUDA_VISIBLE_DEVICES empty)"
    try:
        with one_thread_on(device), torch.inference_mode():
            reading = _predicted(network, patient, device)
    except torch.OutOfMemoryError as error:
        raise StudyError(
            f"the memory of {device} is too small to read {len(patient.planes)} slices of {patient.frame} (patient "
            f"{patient.patient_id}): end what else uses it, read fewer patients at a time (threads), or {elsewhere} "
            f"({error})."
        ) from error
    # Some cards without tensor cores (GTX 16xx) give NaN in float16: an outline of NaN would be no hematoma.
    if not np.isfinite([*reading.evidence.flat, reading.logit]).all():
        where = f"patient {patient.patient_id} on {device_words(device)}"
        raise StudyError(f"what the network computes of {where} must be finite, got NaN or infinity; {elsewhere}.")
    return reading


def _predicted(network: MultitaskNetwork, patient: Patient, device: torch.device) -> Prediction:
    """What :func:`predict_patient` returns; in inference mode."""
    slices = network_input(patient.planes, np.arange(len(patient.planes)), patient.frame, device)
    with autocast(device):
        output = network(slices)
    logits, presence = output.outline.float(), output.presence.float()
    probability, evidence = torch.sigmoid(logits), slice_evidence(presence, logits[:, :1], patient.pixel_mm)
    outline = (probability >= 0.5).float()
    area_mm2 = outline[:, 0].sum(dim=(1, 2)) * patient.pixel_mm**2
    used = torch.nonzero(area_mm2 >= POSITIVE_SLICE_MM2).squeeze(1)
    detected = len(used) > 0
    if not detected:
        used = torch.topk(presence, min(FALLBACK_SLICES, len(presence))).indices.sort().values
    bags = network.expansion(
        tuple(level[used].float() for level in output.features),
        slices[used],
        outline[used],
        torch.zeros(len(used), dtype=torch.long, device=device),
        torch.full((len(used),), patient.voxel_ml, device=device),
    )
    share = torch.zeros(len(presence), device=device).index_put((used,), bags.share)
    whole, ventricular = (uncut(part.cpu().numpy(), patient.planes.shape[-2:]) for part in probability.unbind(dim=1))
    values = _with_measured(network, bags.values, patient, whole >= 0.5)
    return Prediction(
        probability=whole,
        ventricular=ventricular,
        presence=torch.sigmoid(network.context(evidence)).cpu().numpy(),
        evidence=evidence.cpu().numpy(),
        share=share.cpu().numpy(),
        logit=float(network.expansion.classify(values)),
        values=values[0].cpu().numpy(),
        detected=detected,
        volume_ml=float(outline[:, 0].sum()) * patient.voxel_ml,
    )


def predict_cohort(
    network: MultitaskNetwork, patients: Iterable[Patient], *, label: str = "predict"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read many patients with one network.

    Returns
    -------
    predictions : DataFrame
        One row per patient: ``dl_logit, hematoma_detected, predicted_volume_ml``, findings and deep features.
    slices : DataFrame
        One row a slice: ``patient_id, blood`` (1, 0, or missing where neither call is wrong) and the evidence for it.
    """

    def predicted(patient: Patient) -> tuple[dict[str, Any], pd.DataFrame]:
        reading = predict_patient(network, patient)
        row = {
            "patient_id": patient.patient_id,
            "dl_logit": reading.logit,
            "hematoma_detected": int(reading.detected),
            "predicted_volume_ml": reading.volume_ml,
            **dict(zip(VALUES, reading.values.tolist(), strict=True)),
        }
        evidence = pd.DataFrame(reading.evidence, columns=list(EVIDENCE))
        return row, evidence.assign(patient_id=patient.patient_id, blood=patient.labels)

    found = list(in_threads(predicted, list(patients), desc=label, unit="patient"))
    rows, slices = [row for row, _ in found], [table for _, table in found]
    columns = ["patient_id", "dl_logit", "hematoma_detected", "predicted_volume_ml", *VALUES]
    empty = pd.DataFrame(columns=["patient_id", "blood", *EVIDENCE])
    return pd.DataFrame(rows, columns=columns), pd.concat(slices, ignore_index=True)[list(empty)] if slices else empty


@torch.inference_mode()
def read_out(network: MultitaskNetwork, predictions: pd.DataFrame) -> np.ndarray:
    """Raw expansion logit from the findings and deep features of each row, shape (n,)."""
    layer = network.expansion.classify
    values = torch.tensor(predictions[list(VALUES)].to_numpy(np.float32), device=layer.weight.device)
    return layer(values).squeeze(1).cpu().numpy().astype(float)


def predict_ensemble(networks: Sequence[MultitaskNetwork], patient: Patient) -> tuple[Prediction, list[Prediction]]:
    """The mean reading of several networks, and the reading of each of them.

    Probabilities and shares are averaged; volume and detection follow from the mean outline.
    """
    readings = [predict_patient(network, patient) for network in networks]
    arrays = ("probability", "presence", "evidence", "ventricular", "share", "values")
    means = {name: np.mean([getattr(reading, name) for reading in readings], axis=0) for name in arrays}
    outline = means["probability"] >= 0.5
    mean = Prediction(
        **means,
        logit=float(np.mean([reading.logit for reading in readings])),
        detected=bool((outline.sum(axis=(1, 2)) * patient.pixel_mm**2 >= POSITIVE_SLICE_MM2).any()),
        volume_ml=float(outline.sum()) * patient.voxel_ml,
    )
    return mean, readings


def raw_scores(folder: Path, cohort: pd.DataFrame, folds: Sequence[int]) -> pd.DataFrame:
    """The raw scores of a study: ``predictions.csv`` of these folds' networks; without networks the manifest's column.

    Parameters
    ----------
    folder : Path
        The run's folder.
    cohort : DataFrame
        ``cohort.csv``.
    folds : sequence of int
        Empty where the score was made elsewhere: see :func:`column_scores`.
    """
    paths = [folder / "folds" / str(fold) / "predictions.csv" for fold in folds]
    return pd.concat([read_table(path) for path in paths]) if paths else column_scores(cohort)


def column_scores(cohort: pd.DataFrame) -> pd.DataFrame:
    """A score made elsewhere (column ``external_score``) in the form of one fold's predictions.

    One network that trained on none of these patients: development patients are held out, in one fold.

    Raises
    ------
    ManifestError
        Every development patient with an outcome has the same score.
    """
    judged = cohort.dropna(subset=[name for name in ("he", "external_score") if name in cohort])
    scores = judged.loc[judged["split"].eq("development"), "external_score"]
    if scores.nunique() < 2:
        got = f"{scores.iloc[0]:g} for all {len(scores)}" if len(scores) else "none"
        raise ManifestError(
            f"external_score must vary among the development patients, got {got}; give each patient's own score, or "
            "set image_source to none."
        )
    return pd.DataFrame(
        {
            "patient_id": cohort["patient_id"],
            "fold": 0,
            "role": cohort["split"].map({"development": "held_out", "test": "test"}),
            "dl_logit": cohort["external_score"],
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


@dataclass(frozen=True)
class Reader:
    """The networks of a study, the scales of their scores, and how scans are prepared for them."""

    networks: tuple[MultitaskNetwork, ...]
    scales: pd.DataFrame
    options: Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """One scan as the networks of a study read it.

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
    outline, ventricles : ndarray of bool
        Hematoma, and blood in the ventricles, on the grid of ``scan.hu``; no voxel is both.
    volume_ml, ventricles_ml : float
        Their volumes.
    dl_score, dl_score_spread : float
        Mean and standard deviation of the standardized scores over the networks.
    flags : str
        Warnings about the scan.
    """

    scan: Scan
    slices: BrainSlices
    patient: Patient
    prediction: Prediction
    outline: np.ndarray
    ventricles: np.ndarray
    volume_ml: float
    ventricles_ml: float
    dl_score: float
    dl_score_spread: float
    flags: str


class Reference(NamedTuple):
    """A reader's outline of the hematoma on the scan's grid, and of the blood in the ventricles where there is one."""

    outline: np.ndarray
    ventricles: np.ndarray | None


def outlines_on(grid: SliceGrid, hu: np.ndarray, prediction: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Hematoma and blood in the ventricles on a scan's own grid; no voxel is both.

    Parameters
    ----------
    grid : SliceGrid
        Of the slices that the networks saw.
    hu : ndarray of shape (x, y, z)
        The scan.
    prediction : Prediction
    """
    blood, ventricular = (grid.to_scan(from_torch(seen)) for seen in (prediction.probability, prediction.ventricular))
    # A black hole belongs to the hematoma around it.
    outline = without_distant_specks(filled((blood >= 0.5) & (blood >= ventricular)), grid.spacing_mm)
    outline = at_half_height(outline, hu, grid.spacing_mm, ventricles=ventricular >= 0.5)
    return outline, (ventricular >= 0.5) & ~outline


def read_with(reader: Reader, row: Mapping[str, object]) -> tuple[Reading, Reference | None]:
    """Read one patient's baseline scan.

    Parameters
    ----------
    reader : Reader
    row : mapping
        ``patient_id, baseline_ct`` and, where there are references, ``baseline_mask, baseline_ivh_mask``.

    Returns
    -------
    reading : Reading
    reference : Reference or None
        None without a mask of the hematoma.

    Raises
    ------
    ScanError
        With the patient named; a :class:`hepred_lib.imaging.scans.HeadError` where the scan shows no head that
        can be measured.
    """
    scan, masks, slices = read_patient(row, **reader.options)
    grid = slices.grid
    planes = encode(slices, *masks)
    patient = Patient(str(row["patient_id"]), planes, grid.pixel_mm, grid.voxel_ml, np.nan, masks[0] is not None)
    prediction, readings = predict_ensemble(reader.networks, patient)
    logits = pd.Series([reading.logit for reading in readings])
    scores = standardize(logits, pd.Series(reader.scales.index), reader.scales)
    outline, ventricles = outlines_on(grid, scan.hu, prediction)
    voxel_ml = float(np.prod(scan.spacing_mm)) / 1000.0
    reading = Reading(
        scan=scan,
        slices=slices,
        patient=patient,
        prediction=prediction,
        outline=outline,
        ventricles=ventricles,
        volume_ml=float(outline.sum()) * voxel_ml,
        ventricles_ml=float(ventricles.sum()) * voxel_ml,
        dl_score=float(scores.mean()),
        dl_score_spread=float(scores.std(ddof=1)) if len(scores) > 1 else np.nan,
        flags=quality_flags(slices),
    )
    return reading, None if masks[0] is None else Reference(masks[0], masks[1])


@dataclass(frozen=True)
class Readings:
    """Scans that were read, and how they agree with their references.

    Attributes
    ----------
    table : DataFrame
        One row per scan: score, spread, detection, volumes, flags, in ``unread`` why a scan could not be read, and in
        ``unmasked`` why its mask could not; where they were asked for :func:`signs_seen`.
    agreement : DataFrame
        ``segmentation.csv``: one row per scan with a reference outline.
    slices : DataFrame
        ``detection.csv``: one row per slice.
    pictures : dict
        By patient, the slice of the largest outline: see :func:`picture`.
    patients : dict
        By patient, what the networks saw.
    """

    table: pd.DataFrame
    agreement: pd.DataFrame
    slices: pd.DataFrame
    pictures: dict[str, dict[str, np.ndarray]]
    patients: dict[str, Patient]


class _Found(NamedTuple):
    """What one scan adds to :class:`Readings`; only a row where it could not be read."""

    row: dict[str, Any]
    agreement: dict[str, float | str] | None = None
    calls: pd.DataFrame | None = None
    shown: dict[str, np.ndarray] | None = None
    patient: Patient | None = None


def read_cohort(
    reader: Reader,
    rows: pd.DataFrame,
    folds: pd.Series | None = None,
    *,
    explain: Callable[[ScanError, Mapping[str, object]], str] | None = None,
    signs: bool = False,
) -> Readings:
    """Read the baseline scans of a manifest's rows; without networks none is read.

    Parameters
    ----------
    reader : Reader
    rows : DataFrame
    folds : Series of int, optional
        By patient: a patient of fold k, 0 or more, is read by network k alone, which has not seen them.
    explain : callable, optional
        Given, a scan or a mask that cannot be read stops nobody else: the words for its error and row are in the
        table. A scan is read whatever its mask is.
    signs : bool
        Measure the signs that bedside scores need.

    Raises
    ------
    ScanError
        With the patient named, unless faults are explained.
    """

    def read(row: dict[str, Any]) -> _Found:
        patient, chosen = row["patient_id"], reader
        fold = -1 if folds is None else int(folds[patient])
        if fold >= 0:
            chosen = replace(reader, networks=(reader.networks[fold],), scales=reader.scales.loc[[fold]])
        try:
            reading, reference, fault = _read_whatever_its_mask(chosen, row, explain)
        except ScanError as error:
            if explain is None:
                raise
            return _Found({"patient_id": patient, "unread": explain(error, row)})
        found = {name: getattr(reading, name) for name in ("dl_score", "dl_score_spread", "flags")}
        found |= {"hematoma_detected": int(reading.prediction.detected), "predicted_volume_ml": reading.volume_ml}
        found |= {"predicted_ivh_ml": reading.ventricles_ml, "unread": "", "unmasked": fault}
        found |= signs_seen(reading, reference) if signs else {}
        agreement = None if reference is None else outline_agreement(reading, reference)
        shown = picture(reading, reference)
        return _Found({"patient_id": patient, **found}, agreement, slice_calls(reading), shown, reading.patient)

    records = rows[rows["baseline_ct"].notna()].to_dict("records") if reader.networks else []
    found = list(in_threads(read, records, desc="read scans", unit="scan"))
    calls = [each.calls for each in found if each.calls is not None]
    none = pd.DataFrame(columns=["patient_id", "slice", "presence", "blood", "predicted_mm2"])
    return Readings(
        pd.DataFrame([each.row for each in found], columns=list(READ)).astype({"patient_id": "string"}),
        pd.DataFrame([each.agreement for each in found if each.agreement], columns=list(AGREEMENT)),
        pd.concat(calls) if calls else none,
        {each.row["patient_id"]: each.shown for each in found if each.shown is not None},
        {each.row["patient_id"]: each.patient for each in found if each.patient is not None},
    )


def outline_agreement(reading: Reading, reference: Reference) -> dict[str, float | str]:
    """One row of ``segmentation.csv``: Dice, HD95 and volumes on the scan's own grid.

    Of the ventricles Dice and volume are NaN without a reference, and Dice also where neither has blood in them.
    """
    voxel_ml = float(np.prod(reading.scan.spacing_mm)) / 1000.0
    known, seen = reference.ventricles, reading.ventricles
    return {
        "patient_id": reading.patient.patient_id,
        "dice": dice(reference.outline, reading.outline),
        "hd95_mm": hd95_mm(reference.outline, reading.outline, reading.scan.spacing_mm),
        "reference_ml": float(reference.outline.sum()) * voxel_ml,
        "predicted_ml": reading.volume_ml,
        "ivh_dice": np.nan if known is None or not (known | seen).any() else dice(known, seen),
        "reference_ivh_ml": np.nan if known is None else float(known.sum()) * voxel_ml,
        "predicted_ivh_ml": reading.ventricles_ml,
    }


def signs_seen(reading: Reading, reference: Reference | None) -> dict[str, float]:
    """Blend sign and hypodensity (0/1) in the reference outline, without one in the predicted; NaN where it is empty.

    They take the place of a reader's, which the manifest calls ``blend_sign`` and ``any_hypodensity``.
    """
    outline = reading.outline if reference is None else reference.outline
    found = measure_markers(reading.scan.hu, outline, reading.scan.spacing_mm)
    return {"blend_seen": found["blend"], "hypodensity_seen": found["any_hypodensity"]}


def slice_calls(reading: Reading) -> pd.DataFrame:
    """Rows of ``detection.csv``: presence of blood by slice, called and true (missing where neither call is wrong)."""
    share = reading.slices.grid.to_slices(reading.outline)
    return pd.DataFrame(
        {
            "patient_id": reading.patient.patient_id,
            "slice": np.arange(len(reading.prediction.presence)),
            "presence": reading.prediction.presence,
            "blood": reading.patient.labels,
            "predicted_mm2": share.sum(axis=(0, 1)) * reading.patient.pixel_mm**2,
        }
    )


def picture(reading: Reading, reference: Reference | None = None) -> dict[str, np.ndarray]:
    """The slice of the largest outline at the scan's own pixels: :func:`~hepred_lib.imaging.slices.at_own_pixels`."""
    truth = np.zeros_like(reading.outline) if reference is None else reference.outline
    canonical = reading.slices.grid.to_slices(truth) >= 0.5
    areas = (canonical if canonical.any() else from_torch(reading.prediction.probability) >= 0.5).sum(axis=(0, 1))
    outlines = {"reference": truth, "predicted": reading.outline}
    return at_own_pixels(reading.scan.hu, reading.slices, int(areas.argmax()), masks=outlines, maps={})


def load_reader(
    folder: Path, scales: pd.DataFrame, options: Mapping[str, float], *, device: torch.device | None = None
) -> Reader:
    """The networks of a run on a device (the CPU if not given), in the order of the folds in ``scales``."""
    paths: Sequence[Path] = [folder / "folds" / str(fold) / "network.safetensors" for fold in scales.index]
    return Reader(tuple(load_network(path).to(device) for path in paths), scales, dict(options))


def in_threads(work: Callable[[Item], Result], items: list[Item], **bar: str) -> Iterator[Result]:
    """Work on as many patients at a time as torch has threads, each with one: several can hardly share a scan."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from worked(work, items, workers=threads, **bar)
    finally:
        torch.set_num_threads(threads)


def _read_whatever_its_mask(
    reader: Reader, row: dict[str, Any], explain: Callable[[ScanError, Mapping[str, object]], str] | None
) -> tuple[Reading, Reference | None, str]:
    """A patient's reading, reference, and what is wrong with the mask where faults are explained."""
    masks = ("baseline_mask", "baseline_ivh_mask")
    try:
        return *read_with(reader, row), ""
    except ScanError as error:
        if explain is None or all(pd.isna(row.get(mask)) for mask in masks):
            raise
        return read_with(reader, row | dict.fromkeys(masks))[0], None, explain(error, row)


def _with_measured(network: MultitaskNetwork, values: Tensor, patient: Patient, outline: np.ndarray) -> Tensor:
    """The values of one patient with the descriptors measured inside the outline (n, h, w); 0 where there is none.

    Predicted descriptors are clipped to ± 3 SD, as their targets were: without a hematoma they can be anything.
    """
    spacing_mm = (patient.pixel_mm, patient.pixel_mm, 1000.0 * patient.voxel_ml / patient.pixel_mm**2)
    box = bounding_box(outline) if outline.any() else (slice(0, 1),) * 3
    hu = from_torch(patient.planes[:, HU][box]).astype(np.float32) - HU_OFFSET
    measured = measured_descriptors(hu, filled(from_torch(outline[box])), spacing_mm)
    standard = network.expansion.standardize(torch.from_numpy(measured).to(values.device)[None])
    predicted, volumes, _, deep = values.split([len(DESCRIPTORS), len(VOLUMES), len(DESCRIPTORS), len(DEEP)], dim=1)
    return torch.cat([predicted.clamp(-3, 3), volumes, standard.nan_to_num(0.0), deep], dim=1)
