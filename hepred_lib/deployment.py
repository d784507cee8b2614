"""The frozen study on patients it has never seen: nothing is fitted, scaled or chosen here.

Everything comes from the run's own files: networks and scales of the DL score, regression coefficients, imputation
models, thresholds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepred_lib.manifest import COLUMNS, ManifestError, predictor_frame
from hepred_lib.multitask.reading import Reader, Reading, load_reader, read_with
from hepred_lib.scans import write_like
from hepred_lib.slices import BRAIN_ML, from_torch
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.study import StudyError, read_json

IMPUTATIONS = {"image": None, "clinical": "imputation.json", "integrated": "integrated_imputation.json"}
FLAG_WORDS = {
    "brain_volume": f"the brain mask is outside {BRAIN_ML[0]:g}-{BRAIN_ML[1]:g} mL: look at the overview",
    "thick_slices": "slices are more than 7.5 mm apart",
    "few_slices": "fewer than 12 slices",
    "noisy": "noise above 6 HU",
    "clipped_hu": "Hounsfield units are clipped below 300",
}


@dataclass(frozen=True)
class FrozenModel:
    """One logistic model of a study with its threshold and the predictors it was offered."""

    name: str
    logistic: DevelopedModel
    threshold: float
    offered: tuple[str, ...]


@dataclass(frozen=True)
class FrozenStudy:
    """All that a new patient is predicted from; ``reader`` is None where the study has no networks."""

    folder: Path
    reader: Reader | None
    models: Mapping[str, FrozenModel]

    @property
    def thresholds(self) -> dict[str, float]:
        """Threshold of each model, chosen on development patients."""
        return {name: model.threshold for name, model in self.models.items()}


@dataclass(frozen=True)
class Answer:
    """The answer for one patient, and the data of its overview figure."""

    answer: dict[str, Any]
    overview: dict[str, np.ndarray]


def load_frozen(folder: Path) -> FrozenStudy:
    """Load a finished study.

    Raises
    ------
    StudyError
        The folder holds no finished study.
    """
    if not (folder / "clinical_model.json").is_file():
        raise StudyError(f"RUN must be the folder of a finished study, but {folder} holds no clinical_model.json.")
    models = {name: _load_model(folder, name) for name in IMPUTATIONS if (folder / f"{name}_model.json").is_file()}
    reader = None
    if (folder / "image_model.json").is_file():
        image = read_json(folder / "image_model.json")
        scales = pd.DataFrame(image["scales"]).set_index("fold")
        reader = load_reader(folder, scales, image["preprocessing"]) if image["image_source"] == "scans" else None
    return FrozenStudy(folder, reader, models)


def predict_table(frozen: FrozenStudy, table: pd.DataFrame) -> pd.DataFrame:
    """Probabilities of every model for a table of patients with manifest columns and, for the image, ``dl_score``.

    Returns
    -------
    DataFrame
        ``p_image, p_clinical, p_integrated``; NaN where the score is missing or a needed column is absent altogether.
    """
    found = pd.DataFrame(np.nan, index=table.index, columns=[f"p_{name}" for name in IMPUTATIONS])
    for name, model in frozen.models.items():
        x = _frame(table, model)
        if x is None:
            continue
        usable = x["dl_score"].notna() if "dl_score" in x else pd.Series(True, index=x.index)
        if usable.any():
            found.loc[usable, f"p_{name}"] = model.logistic.predict(x[usable])
    return found


def predict_one(frozen: FrozenStudy, ct: Path, bedside: Mapping[str, Any] | None, *, out: Path) -> Answer:
    """One new patient: the answer, ``hematoma.nii.gz`` on the scan's own grid, and the data of the overview.

    Parameters
    ----------
    frozen : FrozenStudy
    ct : Path
        Non-contrast head CT, NIfTI.
    bedside : mapping, optional
        Manifest columns of the patient, as :func:`read_bedside` gives them.
    out : Path
        Folder for the outline.

    Raises
    ------
    StudyError
        The study has no networks.
    ScanError
        The scan cannot be used.
    """
    if frozen.reader is None:
        raise StudyError(f"{frozen.folder} was studied without scans: it has no network that could read one.")
    reading, _ = read_with(frozen.reader, {"patient_id": ct.name.split(".")[0], "baseline_ct": ct})
    out.mkdir(parents=True, exist_ok=True)
    write_like(out / "hematoma.nii.gz", reading.outline.astype(np.uint8), reading.scan)
    row = pd.DataFrame([{**(bedside or {}), "dl_score": reading.dl_score}])
    p = predict_table(frozen, row if bedside is not None else row[["dl_score"]]).iloc[0]
    answer = {
        "hematoma_detected": reading.prediction.detected,
        "hematoma_volume_ml": round(reading.volume_ml, 3),
        "dl_score": reading.dl_score,
        "dl_score_spread": _known(reading.dl_score_spread),
        **{name: _known(value) for name, value in p.items()},
        "warnings": _warnings(frozen, reading, bedside),
    }
    return Answer(answer, _overview(reading, answer))


def read_bedside(path: Path) -> dict[str, Any]:
    """A patient's bedside values from a JSON object of manifest columns; numbers are checked against their ranges.

    Raises
    ------
    ManifestError
        The file is no JSON object, a name is unknown, or a value is outside its range.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path.name} must be a readable JSON object: {error}.") from error
    if not isinstance(values, dict):
        raise ManifestError(f"{path.name} must be a JSON object of manifest columns, got {type(values).__name__}.")
    for name, value in values.items():
        if name not in COLUMNS:
            raise ManifestError(f"{path.name}: {name!r} is no column of the manifest (see hepred check --rules).")
        if value is not None and not _fits(name, value):
            raise ManifestError(f"{path.name}: {name} must {COLUMNS[name].requirement}, got {value!r}.")
    return values


def _load_model(folder: Path, name: str) -> FrozenModel:
    described = read_json(folder / f"{name}_model.json")
    imputation = read_json(folder / IMPUTATIONS[name]) if IMPUTATIONS[name] else described.get("imputation")
    logistic = DevelopedModel.from_json(described["logistic"], imputation)
    return FrozenModel(name, logistic, described["threshold"], tuple(described.get("candidates", ())))


def _frame(table: pd.DataFrame, model: FrozenModel) -> pd.DataFrame | None:
    """Predictors as the model wants them; None where the table has no column that it could use."""
    needed = [*model.offered, "dl_score"] if "dl_score" in model.logistic.names else list(model.offered)
    if "dl_score" in needed and "dl_score" not in table:
        return None
    if model.offered and not set(model.offered) & set(table.columns):
        return None
    full = table.reindex(columns=list(dict.fromkeys(needed)))
    return predictor_frame(full, needed, allow_empty=True)


def _warnings(frozen: FrozenStudy, reading: Reading, bedside: Mapping[str, Any] | None) -> list[str]:
    words = [FLAG_WORDS[flag] for flag in reading.flags.split()]
    if not reading.prediction.detected:
        words.append("no hematoma was detected: the score rests on the three most suspicious slices")
    if bedside is None:
        return [*words, "no bedside values were given: p_clinical and p_integrated are null"]
    for model in frozen.models.values():
        lacking = [name for name in model.logistic.path if bedside.get("sex" if name == "male" else name) is None]
        if model.name != "image" and lacking:
            words.append(f"imputed for the {model.name} model: {', '.join(lacking)}")
    return words


def _overview(reading: Reading, answer: Mapping[str, Any]) -> dict[str, np.ndarray]:
    outline = from_torch(reading.prediction.probability) >= 0.5
    areas = outline.sum(axis=(0, 1))
    middle = int(areas.argmax()) if areas.any() else int(reading.prediction.presence.argmax())
    shown = np.clip(np.arange(middle - 2, middle + 4), 0, outline.shape[2] - 1)
    lines = [
        f"hematoma {'detected' if answer['hematoma_detected'] else 'not detected'}, "
        f"{answer['hematoma_volume_ml']:.1f} mL",
        f"DL score {answer['dl_score']:.2f}",
        *(
            f"{name.removeprefix('p_')} probability of expansion {answer[name]:.2f}"
            for name in ("p_image", "p_clinical", "p_integrated")
            if answer[name] is not None
        ),
        *answer["warnings"],
    ]
    return {
        "hu": np.stack([reading.slices.hu[:, :, z].T for z in shown]),
        "mask": np.stack([outline[:, :, z].T for z in shown]),
        "titles": np.array([f"slice {z + 1} of {outline.shape[2]}" for z in shown]),
        "pixel_mm": np.array(reading.slices.grid.pixel_mm),
        "window": np.array([40.0, 80.0]),
        "lines": np.array(lines),
    }


def _fits(name: str, value: Any) -> bool:
    column = COLUMNS[name]
    if column.allowed and column.kind != "binary":
        return value in column.allowed
    if column.kind in ("text", "path", "id"):
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        return False
    whole = column.kind == "number" or float(value).is_integer()
    low, high = column.low if column.low is not None else -np.inf, column.high if column.high is not None else np.inf
    return whole and low <= value <= high


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
