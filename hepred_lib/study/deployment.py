"""The frozen study on patients it has never seen: nothing is fitted, scaled or chosen here.

Everything comes from the run's own files: networks and scales of the DL score, regression coefficients, imputation
models, thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepred_lib.cohort.predictors import predictor_frame
from hepred_lib.errors import HeadError, ManifestError, StudyError
from hepred_lib.imaging.scans import write_like
from hepred_lib.intake.check import fault_of, read_new_patients
from hepred_lib.literal import shown
from hepred_lib.multitask.device import pick_device
from hepred_lib.multitask.prediction import Reader, Readings, load_reader, read_cohort, read_with, standardize
from hepred_lib.stats.calibration import METHODS, Update, closed_test, cross_validated_update
from hepred_lib.stats.curves import columns_of
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.evaluation import evaluate
from hepred_lib.study.cases import write_viewer
from hepred_lib.study.files import file_sha256, read_json, read_model_file, read_table, write_json
from hepred_lib.study.run import read_record
from hepred_lib.study.segmenting import scan_warnings, write_overview
from hepred_lib.study.summary import NO_SCAN, NO_SCORE, within_window
from hepred_lib.study.tables import listed

# What numbers that fit their schema, but not one another, lead to.
MISFITS = (KeyError, IndexError, TypeError, ValueError, np.linalg.LinAlgError)
IMPUTATIONS = {"image": None, "clinical": "imputation.json", "integrated": "integrated_imputation.json"}
NO_BEDSIDE = "no value of a selected predictor"
OUTLINES, VIEWER = ("hematoma.nii.gz", "ventricles.nii.gz"), "viewer.html"
OTHER_SCALE_SD = 3.0  # a cohort whose median score lies further away was scored on another scale


@dataclass(frozen=True)
class FrozenModel:
    """One logistic model of a study with its threshold, the predictors it was offered, and a hospital's update."""

    name: str
    logistic: DevelopedModel
    threshold: float
    offered: tuple[str, ...]
    update: Update | None = None

    @property
    def bedside(self) -> tuple[str, ...]:
        """The selected predictors, as columns."""
        return tuple(name for name in self.logistic.predictors if name not in self.logistic.settings.added)


@dataclass(frozen=True)
class FrozenStudy:
    """All that a new patient is predicted from.

    Attributes
    ----------
    folder : Path
    reader : Reader or None
        None where the study has no networks.
    models : mapping of str to FrozenModel
    image_source : str
        ``scans``, ``column`` or ``none``.
    scales : DataFrame or None
        Mean and SD of the score in the study's development patients, indexed by fold.
    """

    folder: Path
    reader: Reader | None
    models: Mapping[str, FrozenModel]
    image_source: str = "none"
    scales: pd.DataFrame | None = None

    @property
    def thresholds(self) -> dict[str, float]:
        """Threshold of each model, chosen on development patients."""
        return {name: model.threshold for name, model in self.models.items()}


def load_frozen(folder: Path, *, device: str = "auto", updated: Path | None = None) -> FrozenStudy:
    """Load a finished study; its networks read on the device of this name.

    Parameters
    ----------
    folder : Path
    device : str
    updated : Path, optional
        The folder ``updated`` of an external evaluation: its models take the place of those that they were made from.

    Raises
    ------
    StudyError
        The folder holds no finished study, or ``updated`` no model that was made from it.
    """
    if not (folder / "clinical_model.json").is_file():
        raise StudyError(f"RUN must be the folder of a finished study, but {folder} holds no clinical_model.json.")
    # What a study of another image source may have left is no part of this one.
    finished = folder / "results.json"
    source = read_json(finished).get("image_source") if finished.is_file() else None
    names = [name for name in IMPUTATIONS if name == "clinical" or source != "none"]
    models = {name: _load_model(folder, name) for name in names if (folder / f"{name}_model.json").is_file()}
    if updated is not None:
        models |= _load_updates(folder, updated, models)
    if "image" not in models:
        return FrozenStudy(folder, None, models)
    image = read_model_file(folder / "image_model.json", "image_model")
    scales = pd.DataFrame(image["scales"]).set_index("fold")
    if scales.index.has_duplicates:
        raise StudyError(f"{folder / 'image_model.json'}: scales: every fold must be listed once.")
    reader = None
    if image["image_source"] == "scans":
        reader = load_reader(folder, scales, image["preprocessing"], device=pick_device(device))
    return FrozenStudy(folder, reader, models, image["image_source"], scales)


def column_score(frozen: FrozenStudy, score: pd.Series) -> pd.Series:
    """A score made elsewhere (column ``external_score``) on the study's scale, by the stored constants of the study."""
    return standardize(score, pd.Series(frozen.scales.index[0], index=score.index), frozen.scales)


def predict_table(frozen: FrozenStudy, table: pd.DataFrame) -> pd.DataFrame:
    """Probabilities of every model for a table of patients with manifest columns and, for the image, ``dl_score``.

    Returns
    -------
    DataFrame
        ``p_image, p_clinical, p_integrated``; NaN where the patient's score is missing, or every selected predictor.

    Raises
    ------
    StudyError
        A model whose predictors are not those of the table, with the model's file.
    """
    found = pd.DataFrame(np.nan, index=table.index, columns=[f"p_{name}" for name in IMPUTATIONS])
    for name, model in frozen.models.items():
        x = _frame(table, model)
        usable = ~missing_inputs(table, model).any(axis=1)
        if usable.any():
            try:
                p = model.logistic.predict(x[usable])
                found.loc[usable, f"p_{name}"] = p if model.update is None else model.update.apply(p)
            except ValueError as error:
                beside = f" (imputed by {IMPUTATIONS[name]})" if IMPUTATIONS[name] else ""
                path = frozen.folder / f"{name}_model.json"
                reason = shown(error, 200).rstrip(".")
                raise StudyError(f"{path}{beside} does not fit the patients: {reason}.") from error
    return found


def missing_inputs(table: pd.DataFrame, model: FrozenModel) -> pd.DataFrame:
    """Why a patient has no probability of this model, as booleans: ``score`` missing, no ``bedside`` value known.

    The bedside values are those that were selected; where none was, all that the model was offered.
    """
    x = _frame(table, model)
    score = x["dl_score"].isna() if "dl_score" in x else False
    asked = model.bedside or tuple(x.columns.drop("dl_score", errors="ignore"))
    bedside = x[list(asked)].isna().all(axis=1) if model.offered else False
    return pd.DataFrame({"score": score, "bedside": bedside}, index=x.index)


def new_patients(frozen: FrozenStudy, manifest: Path) -> pd.DataFrame:
    """Patients of a manifest with outcomes by the study's definition; ``unmeasured`` says why a volume is missing.

    Raises
    ------
    ManifestError
        The manifest breaks its rules, or names patients of the study itself.
    """
    definition = read_json(frozen.folder / "clinical_model.json")["definition"]
    table, unmeasured = read_new_patients(manifest, definition=definition)
    asked = (read_record(frozen.folder, "01_cohort") or {}).get("parameters", {})
    table = within_window(table, asked.get("followup_window_h", 0.0))
    known = table.loc[table["patient_id"].isin(read_table(frozen.folder / "cohort.csv")["patient_id"]), "patient_id"]
    if len(known):
        raise ManifestError(
            f"{manifest.name}: patient_id must be of patients whom the study has not seen, got {len(known)} of its "
            f"own: {listed(known.tolist()[:5])}. Leave them out, or rename them if they are other people."
        )
    return table.assign(unmeasured=unmeasured)


def read_scans(frozen: FrozenStudy, table: pd.DataFrame) -> Readings:
    """Read the baseline scan of every patient who has one; a scan that cannot be read stops nobody else.

    Parameters
    ----------
    frozen : FrozenStudy
        Without networks nothing is read.
    table : DataFrame
        As :func:`new_patients` gives it.
    """
    readings = read_cohort(frozen.reader or Reader((), pd.DataFrame(), {}), table, explain=fault_of, signs=True)
    # Without a reference it is not known which slices have blood.
    known = readings.slices["patient_id"].isin(readings.agreement["patient_id"])
    return replace(readings, slices=readings.slices[known])


def predict_cohort(frozen: FrozenStudy, table: pd.DataFrame, readings: Readings) -> pd.DataFrame:
    """Every patient of the table with score and probabilities; ``reason`` says what is missing and why, or is empty.

    The score is that of the networks, or the hospital's own on the study's scale (``image_source: column``).
    """
    own = table["external_score"]
    read = readings.table.rename(columns={"dl_score": "network_score"})
    patients = table.merge(read, on="patient_id", how="left", validate="one_to_one")
    patients["dl_score"] = column_score(frozen, own) if frozen.image_source == "column" else patients["network_score"]
    patients = patients.drop(columns="network_score").join(predict_table(frozen, patients))
    reasons = [*missing_reasons(frozen, patients).to_dict("list").values(), _unmeasured(patients).tolist()]
    parts = ["; ".join(dict.fromkeys("; ".join(filter(None, row)).split("; "))) for row in zip(*reasons, strict=True)]
    return patients.assign(reason=parts)


def missing_reasons(frozen: FrozenStudy, patients: pd.DataFrame) -> pd.DataFrame:
    """By patient and model, why there is no probability, as a fact about the patient; empty text where there is one."""
    from_scans, found = frozen.image_source == "scans", {}
    lacking = patients["baseline_ct" if from_scans else "dl_score"].isna()
    unscored = patients["unread"].where(~lacking, NO_SCAN if from_scans else NO_SCORE)
    for name, model in frozen.models.items():
        gaps = missing_inputs(patients, model)
        score = unscored.replace("", NO_SCORE).where(gaps["score"], "")
        bedside = pd.Series(np.where(gaps["bedside"], NO_BEDSIDE, ""), patients.index)
        found[name] = score.where(bedside.eq("") | score.eq(""), score + "; ") + bedside
    return pd.DataFrame(found, index=patients.index)


def imputed_predictors(frozen: FrozenStudy, patients: pd.DataFrame) -> pd.DataFrame:
    """How often each predictor of each model was imputed in patients with a probability.

    Returns
    -------
    DataFrame
        ``model, predictor, patients, imputed, measured``; ``measured`` is False where the hospital never measured it.
    """
    rows = []
    for name, model in frozen.models.items():
        x = _frame(patients[patients[f"p_{name}"].notna()], model)
        every = _frame(patients, model).notna().any()
        rows += [
            (name, predictor, len(x), int(x[predictor].isna().sum()), bool(every[predictor]))
            for predictor in model.bedside
        ]
    return pd.DataFrame(rows, columns=["model", "predictor", "patients", "imputed", "measured"])


def input_notes(frozen: FrozenStudy, patients: pd.DataFrame) -> list[str]:
    """What a reader must know of the patients' inputs: who lacks one, what was imputed, what was never measured."""
    notes = [f"models.{name}: the study has no such model." for name in IMPUTATIONS if name not in frozen.models]
    for name, reasons in missing_reasons(frozen, patients).items():
        counts = reasons[reasons.ne("")].value_counts()
        said = [f"{reason} ({count})" for reason, count in counts.items()]
        said = [*said[:3], f"others ({counts.iloc[3:].sum()}, see predictions.csv)"] if len(said) > 4 else said
        lacking = f"no probability for {counts.sum()} of {len(patients)} patients: {listed(said)}"
        notes += [f"models.{name}: {lacking}."] if said else []
    table = imputed_predictors(frozen, patients)
    for name, rows in table[table["imputed"].gt(0)].groupby("model", sort=False):
        said = [f"{row.predictor} in {row.imputed} of {row.patients} patients" for row in rows.itertuples()]
        notes.append(f"models.{name}: imputed: {listed(said)}.")
    notes += _never_measured(frozen, patients, table)
    middle = patients["dl_score"].median() if frozen.image_source == "column" else 0.0
    if abs(middle) > OTHER_SCALE_SD:
        far = f"the median lies {middle:+.1f} SD from the study's"
        notes.append(f"dl_score: {far}; it must be the same score, on the same scale.")
    return notes


def local_updates(
    patients: pd.DataFrame, models: Mapping[str, Any], *, notes: list[str], seed: int
) -> dict[str, dict[str, Any]]:
    """What updating each model with these patients' outcomes would do.

    Parameters
    ----------
    patients : DataFrame
        With outcomes: ``he`` and ``p_<model>``, missing where a patient lacks the model's input.
    models : mapping
        By name, what the frozen model achieves here, with its ``threshold``.
    notes : list of str
        Why a model has no update is appended.
    seed : int
        Of the folds.

    Returns
    -------
    dict
        By model, ``update`` (the fields of :class:`hepred_lib.stats.calibration.Update`) and ``cross_validated``, what
        :func:`hepred_lib.stats.evaluation.evaluate` gives for probabilities updated by the other patients.
    """
    found = {}
    for name, frozen in models.items():
        judged = patients[patients[f"p_{name}"].notna()]
        y, p = judged["he"].astype(int).to_numpy(), judged[f"p_{name}"].to_numpy()
        try:
            update, crossed = closed_test(y, p), cross_validated_update(y, p, seed=seed)
        except ValueError as error:
            notes.append(f"updating.{name}: {shown(error, 200).rstrip('.')}.")
            continue
        told = evaluate(y, crossed, float(update.apply(frozen["threshold"])))
        notes += [f"updating.{name}.{note}" for note in told.pop("notes")]
        line = {key: _known(value) if isinstance(value, float) else value for key, value in asdict(update).items()}
        found[name] = {"update": line, "cross_validated": told}
    return found


def write_updates(frozen: FrozenStudy, updates: Mapping[str, Any], folder: Path) -> list[str]:
    """Write each updated model, the frozen one inside; returns the names. A model that stands is not written."""
    changed = {name: found["update"] for name, found in updates.items() if found["update"]["method"] != METHODS[0]}
    for name, line in changed.items():
        path = frozen.folder / f"{name}_model.json"
        threshold = float(Update(**line).apply(frozen.models[name].threshold))
        words = "p = 1 / (1 + exp(-(intercept + slope x log odds of the frozen model)))"
        made_from = {"updated_from": file_sha256(path), "frozen": read_json(path)}
        content = {"model": name, "definition_of_update": words, "threshold": threshold, "update": line, **made_from}
        write_json(folder / f"{name}_model.json", content)
    return list(changed)


def predict_one(frozen: FrozenStudy, ct: Path, bedside: Mapping[str, Any] | None, *, out: Path) -> dict[str, Any]:
    """One new patient: the answer; :data:`OUTLINES` are written on the scan's own grid.

    ``overview.png`` is written beside them, and all slices to scroll through as ``viewer.html``.

    Where the scan was read but shows no head that can be measured, all that rests on it is null, no outline is written,
    and the first warning gives the reason.

    Parameters
    ----------
    frozen : FrozenStudy
    ct : Path
        Non-contrast head CT, NIfTI.
    bedside : mapping, optional
        Manifest columns of the patient, as :func:`read_bedside` gives them.
    out : Path
        Folder for the outlines and the viewer.

    Raises
    ------
    StudyError
        The study has no networks.
    ScanError
        The file cannot be read.
    """
    if frozen.reader is None:
        others = "`hepred external` takes a table of patients, and `hepred site` has a risk page"
        raise StudyError(f"{frozen.folder} was studied without scans: it has no network that could read one; {others}.")
    out.mkdir(parents=True, exist_ok=True)
    reading = None
    try:
        reading, _ = read_with(frozen.reader, {"patient_id": ct.name.split(".")[0], "baseline_ct": ct})
    except HeadError as error:
        for name in (*OUTLINES, VIEWER):
            (out / name).unlink(missing_ok=True)
        reason = str(error).replace(str(ct), ct.name).partition(" (patient ")[0].removesuffix(".")
        warnings = [f"the scan cannot be used: {reason}"]
    else:
        for name, mask in zip(OUTLINES, (reading.outline, reading.ventricles), strict=True):
            write_like(out / name, mask.astype(np.uint8), reading.scan)
        warnings = scan_warnings(reading)
        if not reading.prediction.detected:
            warnings.append("no hematoma was detected: the score rests on the three most suspicious slices")
    row = {**(bedside or {}), "dl_score": reading.dl_score if reading else np.nan}
    p = predict_table(frozen, pd.DataFrame([row])).iloc[0]
    answer: dict[str, Any] = {
        "hematoma_detected": reading.prediction.detected if reading else None,
        "hematoma_volume_ml": round(reading.volume_ml, 3) if reading else None,
        "ventricular_volume_ml": round(reading.ventricles_ml, 3) if reading else None,
        "dl_score": reading.dl_score if reading else None,
        "dl_score_spread": _known(reading.dl_score_spread) if reading else None,
        **{name: _known(value) for name, value in p.items()},
        "warnings": warnings + bedside_warnings(frozen, bedside),
    }
    said = [(name.removeprefix("p_"), answer[name]) for name in p.index if answer[name] is not None]
    lines = [f"risk of expansion, {name} model: {_percent(probability)}" for name, probability in said]
    if reading:
        found = "detected" if answer["hematoma_detected"] else "not detected"
        volume = f"hematoma {found}, {answer['hematoma_volume_ml']:.1f} mL"
        volume += f"; ventricles {answer['ventricular_volume_ml']:.1f} mL"
        lines = [volume, f"DL score {answer['dl_score']:.2f}", *lines]
        write_viewer(out / VIEWER, reading.patient, reading.prediction, ct.name, answer)
    write_overview(out / "overview.png", reading, [*lines, *answer["warnings"]])
    return answer


def _percent(p: float) -> str:
    """A probability as it is read out.

    Examples
    --------
    >>> _percent(0.131), _percent(0.004), _percent(0.997)
    ('13 %', '< 1 %', '> 99 %')
    """
    return "< 1 %" if p < 0.01 else "> 99 %" if p > 0.99 else f"{100 * p:.0f} %"


def _load_model(folder: Path, name: str) -> FrozenModel:
    """One model of a run; its file must fit its schema and itself, and give a probability where nothing is known."""
    path = folder / f"{name}_model.json"
    described = read_model_file(path, "image_model" if name == "image" else "model")
    kept_apart = IMPUTATIONS[name]
    imputation = read_model_file(folder / kept_apart, "imputation") if kept_apart else described["imputation"]
    if described["model"] != name:
        raise StudyError(f"{path}: model: must be {name!r}, got {described['model']!r}.")
    try:
        logistic = DevelopedModel.from_json(described["logistic"], imputation)
        logistic.predict(logistic.unknown_patient())
    except MISFITS as error:
        beside = f" or {kept_apart}" if kept_apart else ""
        reason = shown(error, 200).rstrip(".")
        raise StudyError(f"{path}: its parts{beside} do not fit one another: {reason}.") from error
    return FrozenModel(name, logistic, described["threshold"], tuple(described.get("candidates", ())))


def _load_updates(folder: Path, updated: Path, models: Mapping[str, FrozenModel]) -> dict[str, FrozenModel]:
    """The updated models of a folder, each made from the model that the study has now."""
    paths = {name: updated / f"{name}_model.json" for name in models if (updated / f"{name}_model.json").is_file()}
    if not paths:
        raise StudyError(f"--updated must be a folder of updated models of this study, got none in {updated}.")
    found = {}
    for name, path in paths.items():
        described = read_model_file(path, "updated_model")
        if described["updated_from"] != file_sha256(folder / f"{name}_model.json"):
            raise StudyError(f"{path} was made from another {name} model than that of {folder}: make the update anew.")
        found[name] = replace(models[name], threshold=described["threshold"], update=Update(**described["update"]))
    return found


def _frame(table: pd.DataFrame, model: FrozenModel) -> pd.DataFrame:
    """Predictors as the model wants them; a column that the table lacks is empty."""
    given = columns_of(model.offered)
    offered = ["sex" if name == "male" and "male" not in table else name for name in given]
    needed = [*offered, "dl_score"] if "dl_score" in model.logistic.settings.added else offered
    return predictor_frame(table.reindex(columns=list(dict.fromkeys(needed))), needed, allow_empty=True)


def _unmeasured(patients: pd.DataFrame) -> pd.Series:
    """Why a patient's volumes or segmentation could not be measured, in the words of ``reason``."""
    columns = patients[["unmeasured", "unmasked", "unread"]].fillna("").to_numpy()
    faults = [[fault for fault in dict.fromkeys(row[:2]) if fault and fault != row[2]] for row in columns]
    return pd.Series(["; ".join(f"not measured: {fault}" for fault in row) for row in faults], patients.index)


def _never_measured(frozen: FrozenStudy, patients: pd.DataFrame, imputed: pd.DataFrame) -> list[str]:
    """Predictors, and candidates that only help to impute them, of which no patient has a value."""
    notes = []
    for predictor, rows in imputed[~imputed["measured"].astype(bool)].groupby("predictor", sort=False):
        models = f"the models {listed(rows['model'].tolist())}"
        notes.append(f"{predictor} was never measured in these patients, but {models} read it: it is imputed in all.")
    empty = [name for model in frozen.models.values() for name, x in _frame(patients, model).items() if x.isna().all()]
    empty = [name for name in dict.fromkeys(empty) if name not in {*imputed["predictor"], "dl_score"}]
    if empty:
        others = listed(empty)
        notes.append(f"Never measured in these patients, candidates that no model uses but for imputation: {others}.")
    return notes


def bedside_warnings(frozen: FrozenStudy, bedside: Mapping[str, Any] | None) -> list[str]:
    """What a reader must know of one patient's bedside values: what is null for want of them, and what was imputed."""
    if bedside is None:
        return ["no bedside values were given: p_clinical and p_integrated are null"]
    updated = [f"p_{name}" for name, model in frozen.models.items() if model.update is not None]
    words = [f"from updated models, which fit one hospital: {', '.join(updated)}"] if updated else []
    for model in frozen.models.values():
        lacking = [name for name in model.bedside if bedside.get("sex" if name == "male" else name) is None]
        none = len(lacking) == len(model.bedside)
        told = f"p_{model.name} is null, without a value of" if none else f"imputed for the {model.name} model:"
        words += [f"{told} {', '.join(lacking)}"] if lacking else []
    return words


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
