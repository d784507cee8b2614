"""Single cases to scroll through: which are kept, their slices and outlines, and the page that shows them.

``cases/`` of a run holds ``cases.csv``, one row per kept patient with the reason, and ``NAME.npz``: ``hu`` and
``masks``, uint8 (n, h, w) in torch's order, ``brain``, 0/1, and ``pixel_mm``. ``hu`` is coded as in the slice store, 0
beyond the skull, so that nobody is recognised; ``masks`` has a bit for each of :data:`OUTLINES`. The page needs no
request to anywhere: slices come as text, packed by gzip and base64, and a script of our own unpacks and draws them.
"""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from hepred_lib.figures.style import ORANGE, PURPLE, SKY, YELLOW
from hepred_lib.imaging.preprocessing import bounding_box
from hepred_lib.imaging.segmentation import dice
from hepred_lib.imaging.slices import BLOOD, BRAIN, HU, HU_OFFSET, IVH, read_quality, shown_hu
from hepred_lib.study.files import read_figure_data, read_table, templates, write_bytes, write_figure_data, write_table
from hepred_lib.study.run import are_simulated

if TYPE_CHECKING:
    from hepred_lib.multitask.data import Patient
    from hepred_lib.multitask.prediction import Prediction, Reader

LARGEST = 256  # rows and columns; of larger slices every second or third pixel is kept
COLUMNS = ("patient_id", "reason", "dice", "dice_on", "reference_ml", "predicted_ml", "simulated")
TEMPLATES = Path(__file__).with_name("templates")
# The outlines by their bit in ``masks``; two colours that are told apart by every kind of colour vision and in grey.
OUTLINES: tuple[dict[str, Any], ...] = (
    {"bit": 1, "name": "reference hematoma", "colour": SKY, "dash": []},
    {"bit": 2, "name": "predicted hematoma", "colour": YELLOW, "dash": [6, 5]},
    {"bit": 4, "name": "reference ventricular blood", "colour": PURPLE, "dash": []},
    {"bit": 8, "name": "predicted ventricular blood", "colour": ORANGE, "dash": [6, 5]},
)
NO_CASES = "This study keeps no cases: it has no networks, or its chapter 04 was executed without them."
NOT_SHARED = "The patients of this study are real: this site shows no case unless `hepred site --share` is given."
OUTCOMES = {1.0: "expansion", 0.0: "no expansion"}
JITTER, GOLDEN = 0.3, 0.618034  # points around their outcome: how far, and by which step


def choose_cases(scored: pd.DataFrame, *, threshold: float, number: int = 30) -> pd.DataFrame:
    """The cases that are worth a look: a third of low Dice, a third of confident wrong calls, a third of typical ones.

    Parameters
    ----------
    scored : DataFrame
        One row per patient: ``patient_id, he, p_image``, ``dice`` where it was measured, and ``reference_ml``,
        ``predicted_volume_ml``. Where no Dice was measured, the largest that these volumes a, b allow,
        2 min(a, b) / (a + b), ranks the patient.
    threshold : float
        Of ``p_image``; half of the wrong calls are missed expansions, half false alarms.
    number : int
        At most so many patients.

    Returns
    -------
    DataFrame
        ``patient_id, reason``, the worst first; each patient once.

    Examples
    --------
    >>> scored = pd.DataFrame({"patient_id": list("abc"), "he": [0, 0, 1], "p_image": [0.1, 0.9, 0.8]})
    >>> scored = scored.assign(dice=[0.9, 0.8, 0.2], reference_ml=10.0, predicted_volume_ml=9.0)
    >>> choose_cases(scored, threshold=0.5, number=3).to_numpy().tolist()
    [['c', 'low Dice'], ['b', 'false alarm'], ['a', 'typical']]
    """
    rows = scored.set_index("patient_id").sort_index()
    volumes = rows[["reference_ml", "predicted_volume_ml"]]
    bound = (2.0 * volumes.min(axis=1, skipna=False) / volumes.sum(axis=1)).where(rows["reference_ml"].gt(0))
    agreement, wrong = rows["dice"].fillna(bound), rows["p_image"].ge(threshold) != rows["he"].eq(1)
    third = number // 3
    chosen: dict[str, str] = {}
    chosen |= dict.fromkeys(agreement[agreement.lt(1)].sort_values(kind="stable").index[:third], "low Dice")
    calls = rows[wrong & rows["he"].notna() & ~rows.index.isin(list(chosen))]
    missed = calls[calls["he"].eq(1)].sort_values("p_image", kind="stable").index
    alarms = calls[calls["he"].eq(0)].sort_values("p_image", ascending=False, kind="stable").index
    n_missed = min(len(missed), max(third // 2, third - len(alarms)))
    chosen |= dict.fromkeys(missed[:n_missed], "missed expansion")
    chosen |= dict.fromkeys(alarms[: third - n_missed], "false alarm")
    right = rows[~wrong & rows["he"].notna() & rows["dice"].notna() & ~rows.index.isin(list(chosen))]["dice"]
    nearest = (right - rows["dice"].median()).abs().sort_values(kind="stable").index
    chosen |= dict.fromkeys(nearest[: number - 2 * third], "typical")
    return pd.DataFrame({"patient_id": list(chosen), "reason": list(chosen.values())}, dtype="string")


def keep_cases(
    folder: Path,
    reader: Reader,
    image: pd.DataFrame,
    agreement: pd.DataFrame,
    *,
    threshold: float,
    number: int = 30,
) -> pd.DataFrame:
    """Read the chosen cases from the slice store and keep them in ``cases/``; others that were kept are removed.

    Parameters
    ----------
    folder : Path
        The run's folder.
    reader : Reader
        The networks by fold; without any, no case is kept.
    image : DataFrame
        ``patient_id, fold, he, p_image, predicted_volume_ml``. A patient of fold k, 0 or more, is read by network k
        alone, which has not seen them, any other by all.
    agreement : DataFrame
        ``segmentation.csv``.
    threshold, number
        As for :func:`choose_cases`.

    Returns
    -------
    DataFrame
        ``cases.csv``: ``reason``, ``dice`` and on which grid it was measured (``dice_on``: ``scan`` where
        ``segmentation.csv`` has the patient, else ``slices``), volumes in mL.
    """
    # With torch, three seconds: the site, which shows cases, does without.
    from hepred_lib.multitask.data import load_patients
    from hepred_lib.multitask.prediction import in_threads, predict_ensemble

    def keep(chosen: tuple[Any, Patient]) -> tuple[float, str]:
        row, patient = chosen
        networks = reader.networks if row.fold < 0 else (reader.networks[int(row.fold)],)
        case = case_of(patient, predict_ensemble(networks, patient)[0])
        write_figure_data(folder / "cases", row.patient_id, case)
        if np.isnan(row.dice) and patient.has_mask:
            return dice(case["masks"] & 1 > 0, case["masks"] & 2 > 0), "slices"
        return row.dice, "scan"

    table = pd.DataFrame(columns=list(COLUMNS))
    if reader.networks and number:
        quality = read_quality(folder / "slices")
        references = quality["mask_ml"].where(quality["has_mask"].eq(1)).rename("reference_ml")
        measured = agreement[["patient_id", "dice", "predicted_ml"]]
        scored = image.merge(measured, on="patient_id", how="left", validate="one_to_one")
        scored["predicted_ml"] = scored["predicted_ml"].fillna(scored["predicted_volume_ml"])
        scored = scored.merge(references, left_on="patient_id", right_index=True)
        chosen = choose_cases(scored, threshold=threshold, number=number)
        rows = chosen.merge(scored, on="patient_id", validate="one_to_one")
        stored = load_patients(folder / "slices", rows[["patient_id", "he"]], quality)
        kept = list(in_threads(keep, list(zip(rows.itertuples(), stored, strict=True)), desc="cases", unit="case"))
        rows[["dice", "dice_on"]] = pd.DataFrame(kept, columns=["dice", "dice_on"])
        rows["simulated"] = [int(are_simulated([name])) for name in rows["patient_id"]]
        table = rows[list(COLUMNS)]
    write_table(folder / "cases" / "cases.csv", table)
    for path in [path for path in (folder / "cases").glob("*.npz") if path.stem not in set(table["patient_id"])]:
        path.unlink()
    return table


def case_of(patient: Patient, prediction: Prediction) -> dict[str, np.ndarray]:
    """What ``NAME.npz`` holds: slices and outlines of one patient, cropped to the head, at most 256 by 256."""
    planes = np.asarray(patient.planes)
    brain = planes[:, BRAIN] > 0
    hu = np.clip(shown_hu(planes[:, HU].astype(float), brain, patient.pixel_mm), 0, 255).astype(np.uint8)
    blood, ventricular = prediction.probability, prediction.ventricular
    outline = (blood >= 0.5) & (blood >= ventricular)
    parts = (planes[:, BLOOD] >= 128, outline, planes[:, IVH] >= 128, (ventricular >= 0.5) & ~outline)
    masks = np.zeros(hu.shape, dtype=np.uint8)
    for kind, part in zip(OUTLINES, parts, strict=True):
        masks[part] |= kind["bit"]
    shown = (hu > 0) | (masks > 0)
    rows, columns = bounding_box(shown.any(axis=0)) if shown.any() else (slice(0, side) for side in shown.shape[1:])
    step = -(-max(rows.stop - rows.start, columns.stop - columns.start) // LARGEST)
    box = np.s_[:, rows.start : rows.stop : step, columns.start : columns.stop : step]
    arrays = {"hu": hu[box], "masks": masks[box], "brain": brain[box].astype(np.uint8)}
    return arrays | {"pixel_mm": np.array(step * patient.pixel_mm)}


def packed(case: Mapping[str, np.ndarray], *, brain_only: bool = False) -> str:
    """Slices and then masks of a case as text: anterior up, the patient's right on the left, gzip, base64.

    Parameters
    ----------
    case : mapping of str to array
    brain_only : bool
        Blank everything outside the brain, face and skull included.
    """
    inside = case["brain"] > 0
    hu, masks = ((np.where(inside, case[key], 0) if brain_only else case[key]) for key in ("hu", "masks"))
    seen = np.stack([hu, masks]).astype(np.uint8)[:, :, ::-1, ::-1]
    return b64encode(gzip.compress(seen.tobytes(), 9, mtime=0)).decode()


def write_viewer(path: Path, patient: Patient, prediction: Prediction, title: str, numbers: Mapping[str, Any]) -> None:
    """Write one case as one HTML file that holds all it needs.

    Parameters
    ----------
    path : Path
    patient, prediction
        As in a :class:`hepred_lib.multitask.prediction.Reading`.
    title : str
    numbers : mapping
        What is known of the case, by the names of the command's JSON; missing values are left out.
    """
    case = case_of(patient, prediction)
    known = dict(_worded(name, value) for name, value in numbers.items() if value is not None)
    shown = _described("case", title, known, case) | {"data": packed(case)}
    script = (TEMPLATES / "cases.js").read_text(encoding="utf-8")
    write_bytes(path, _page([shown], [case], script=script, title=title).encode())


def write_site_cases(
    run: Path, static: Path, results: Mapping[str, Any], *, share: bool, patients: bool
) -> dict[str, str]:
    """Write what the page "Cases" of the site asks for, a script for each case, and return its parts.

    Parameters
    ----------
    run : Path
        Folder of a finished study.
    static : Path
        Folder of the site's own scripts.
    results : mapping
        ``results.json``. Patients are real unless its ``oracle`` is known and every kept case has an identifier of the
        simulation.
    share : bool
        Show real patients too, everything outside the brain blanked.
    patients : bool
        Call the cases by the pseudonyms of their patients.

    Returns
    -------
    dict
        ``refusal``, why there are no cases, or empty; ``html``.
    """
    kept = run / "cases"
    listed = read_table(kept / "cases.csv") if (kept / "cases.csv").is_file() else pd.DataFrame()
    if listed.empty:
        return {"refusal": NO_CASES, "html": ""}
    simulated = results.get("oracle") is not None and listed["simulated"].eq(1).all()
    if not simulated and not share:
        return {"refusal": NOT_SHARED, "html": ""}
    rows, everyone = _known(run)
    arrays, shown = read_figure_data(kept), {}
    for number, row in enumerate(rows.to_dict("records"), 1):
        key, name, case = f"{number:02d}", row["patient_id"], arrays[row["patient_id"]]
        text = f'(window.hepredCases ??= {{}})["{key}"] = "{packed(case, brain_only=not simulated)}";\n'
        write_bytes(static / "cases" / f"{key}.js", text.encode())
        shown[name] = _described(key, name if patients else f"Case {number}", _words(row), case)
    write_bytes(static / "cases.js", (TEMPLATES / "cases.js").read_bytes())
    plots = _plots(everyone, shown, results)
    return {"refusal": "", "html": _page([*shown.values()], [arrays[name] for name in shown], plots=plots)}


class _Scale(NamedTuple):
    """One axis of a plot: its label, its ends, and its marks with their words."""

    label: str
    low: float
    high: float
    ticks: Mapping[float, str]

    def place(self, value: Any) -> Any:
        """Places along the axis in percent."""
        return 100.0 * (value - self.low) / (self.high - self.low)


_Axis = tuple[_Scale, pd.Series]  # with the patients' values along it


def _known(run: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The kept cases, and all patients, with the numbers of the run's tables and what was measured in the cases."""
    kept, everyone = read_table(run / "cases" / "cases.csv"), read_table(run / "image.csv")
    tables = {
        "cohort.csv": ["followup_volume_ml"],
        "predictions.csv": ["p_clinical", "p_integrated"],
        "segmentation.csv": ["dice", "reference_ml"],
    }
    for name, columns in tables.items():
        table = read_table(run / name).reindex(columns=["patient_id", *columns])
        everyone = everyone.merge(table, on="patient_id", how="left", validate="one_to_one")
    measured = kept.set_index("patient_id")
    for column in ("dice", "reference_ml"):
        everyone[column] = everyone[column].fillna(everyone["patient_id"].map(measured[column]))
    own = kept.columns.drop("patient_id")
    return kept.merge(everyone.drop(columns=own, errors="ignore"), on="patient_id", validate="one_to_one"), everyone


def _worded(name: str, value: Any) -> tuple[str, str]:
    """A name and a value of a command's JSON as a page prints them.

    Examples
    --------
    >>> _worded("hematoma_volume_ml", 7.4191), _worded("p_image", 0.25), _worded("hematoma_detected", 1)
    (('hematoma volume (mL)', '7.42'), ('risk, image model', '0.25'), ('hematoma detected', 'yes'))
    """
    label = f"risk, {name[2:]} model" if name.startswith("p_") else name.replace("_ml", " (mL)").replace("_hu", " (HU)")
    if isinstance(value, list):
        value = "; ".join(value) or "none"
    elif name.endswith("_detected"):
        value = "yes" if value else "no"
    return label.replace("_", " "), f"{value:.3g}" if isinstance(value, float) else str(value)


def _words(row: Mapping[str, Any]) -> dict[str, str]:
    """The numbers of one case as they are printed; a value that is missing is a dash."""

    def text(value: float, form: str) -> str:
        return "–" if pd.isna(value) else format(value, form)

    measured = "" if row["dice_on"] == "scan" else " (on these slices)"
    return {
        "Shown as": row["reason"],
        "Set": row["split"],
        "Outcome": OUTCOMES.get(row["he"], "unknown"),
        "Volume, reference (mL)": text(row["reference_ml"], ".1f"),
        "Volume, predicted (mL)": text(row["predicted_ml"], ".1f"),
        "Volume at follow-up (mL)": text(row["followup_volume_ml"], ".1f"),
        "Dice": f"{text(row['dice'], '.2f')}{measured}",
        "DL score (SD)": text(row["dl_score"], "+.2f"),
        **{f"Risk, {name} model": text(row[f"p_{name}"], ".2f") for name in ("image", "clinical", "integrated")},
    }


def _described(key: str, name: str, numbers: Mapping[str, str], case: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A case for the page: its name, its numbers, and the shape of its slices."""
    largest = (case["masks"] & 3 > 0).sum(axis=(1, 2))
    start = int(largest.argmax()) if largest.any() else len(largest) // 2
    size = {"shape": list(case["hu"].shape), "pixel_mm": float(case["pixel_mm"])}
    return {"key": key, "name": name, "numbers": dict(numbers), "start": start, **size}


def _plots(everyone: pd.DataFrame, shown: Mapping[str, Any], results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The plots of the page, the cases among all patients: DL score and risk by outcome, Dice by volume."""
    table = everyone.set_index("patient_id")
    he = table["he"].dropna()
    # Spread evenly beside the outcome, the same every time.
    beside = he + JITTER * (2.0 * (he.groupby(he).rank(method="first") * GOLDEN % 1.0) - 1.0)
    model = next(name for name in ("integrated", "clinical", "image") if table[f"p_{name}"].notna().any())
    threshold = (results["models"].get(model) or {}).get("threshold")
    scores, blood = table["dl_score"].reindex(he.index), table["reference_ml"].where(table["reference_ml"].gt(0))
    low, high = np.floor(scores.min()), np.ceil(scores.max())
    outcome = _Scale("outcome", -0.5, 1.5, OUTCOMES)
    score = _Scale("DL score (SD)", low, high, {value: f"{value:g}" for value in np.arange(low, high + 0.5)})
    shares = {value: f"{value:g}" for value in (0.0, 0.25, 0.5, 0.75, 1.0)}
    volume = _Scale("volume of the reference (mL)", -1.2, 2.6, {float(k): f"{10.0**k:g}" for k in range(-1, 3)})
    overlap, risk = (_Scale(label, -0.05, 1.05, shares) for label in ("Dice", f"risk, {model} model"))
    return [
        _plot("DL score by outcome", (outcome, beside), (score, scores), shown),
        _plot("Dice by volume", (volume, np.log10(blood)), (overlap, table["dice"]), shown),
        _plot("Predicted risk by outcome", (outcome, beside), (risk, table[f"p_{model}"]), shown, threshold),
    ]


def _plot(
    title: str, horizontal: _Axis, vertical: _Axis, shown: Mapping[str, Any], threshold: float | None = None
) -> dict[str, Any]:
    """One plot in percent of its width and height, from the top: the cases by name, other patients as mere points."""
    (across, x), (up, y) = horizontal, vertical
    points = pd.DataFrame({"x": across.place(x), "y": 100.0 - up.place(y)}).dropna().clip(0.0, 100.0).round(1)
    known = points.index.isin(list(shown))
    return {
        "title": title,
        "across": {"label": across.label, "ticks": [(across.place(at), word) for at, word in across.ticks.items()]},
        "up": {"label": up.label, "ticks": [(100.0 - up.place(at), word) for at, word in up.ticks.items()]},
        "cases": [(shown[name], *place) for name, *place in points[known].sort_values("x").itertuples()],
        "others": points[~known].sort_values(["x", "y"]).to_numpy().tolist(),
        "threshold": None if threshold is None else 100.0 - up.place(threshold),
    }


def _page(cases: list[dict[str, Any]], arrays: Sequence[Mapping[str, np.ndarray]], **values: Any) -> str:
    """The viewer, filled: part of a page of the site, or with ``script`` a page of its own."""
    environment = templates(TEMPLATES, autoescape=True)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    bits = np.bitwise_or.reduce([np.bitwise_or.reduce(case["masks"], axis=None) for case in arrays])
    outlines = [kind for kind in OUTLINES if kind["bit"] & bits]  # that any of the cases has
    content = {"cases": cases, "outlines": outlines, "offset": HU_OFFSET}
    return environment.get_template("viewer.html.j2").render(
        {"script": None, "title": "Cases", "plots": [], **values, **content, "content": content}
    )
