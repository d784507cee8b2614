"""The numbers of ``results.json``, from the tables that the notebooks wrote.

A number that cannot be computed is null, with the reason in ``notes``: a list of sentences passed from part to part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from hepred_lib.cohort.predictors import predictor_frame
from hepred_lib.cohort.rules import LOCATIONS
from hepred_lib.cohort.scores import SCORES
from hepred_lib.errors import StudyError
from hepred_lib.imaging.segmentation import volume_agreement
from hepred_lib.stats.calibration import in_the_large
from hepred_lib.stats.curves import columns_of
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.discrimination import auc, auc_interval, clustered_auc_interval, compare_aucs, expected_auc
from hepred_lib.stats.evaluation import NOT_ASSESSABLE, calibration_reading, compare_pair, evaluate, null_accuracy
from hepred_lib.stats.sample_size import ExternalMinimum, external_minimum
from hepred_lib.stats.sensitivity import MIN_LOST, outcome_bounds, outcome_weights, weighted_performance
from hepred_lib.stats.subgroups import FIGURES, interaction_test, subgroup_performance

# Each is evidence of blood where it is above 0; so is a location, or an outcome that the hospital itself states.
BLOOD = ("baseline_volume_ml", "baseline_ivh_ml", "followup_volume_ml", "ivh")
DESCRIBED = ("baseline_volume_ml", "baseline_mask")
NO_HEMORRHAGE, NO_SCAN, NO_SCORE = "no hemorrhage", "no baseline CT", "no DL score"
NO_FOLLOWUP, NO_SECOND_VOLUME = "no follow-up CT", "no follow-up volume and no mask"
OUTSIDE = "follow-up CT outside the inclusion window"
NO_FIRST_VOLUME, NO_VENTRICLES = "no baseline volume and no mask", "no volume of ventricular blood and no mask"


def mark_hemorrhages(table: pd.DataFrame, stated: pd.Series) -> pd.DataFrame:
    """The table with ``has_hemorrhage`` (1 or 0) and without an outcome where there is no hemorrhage.

    A row is without a hemorrhage where its baseline volume and mask are empty or 0 and nothing else shows blood: no
    location, no ventricular blood, no follow-up volume above 0, no stated outcome. Where no row of the table has a
    volume or a mask, their absence means nothing, and every row is taken for a hemorrhage.

    Parameters
    ----------
    table : DataFrame
        Manifest columns, empty volumes measured on the masks, ``he`` derived.
    stated : Series
        ``he`` as the manifest states it, before any was derived (two volumes of 0 mL make no patient without
        expansion).
    """
    blood = table.reindex(columns=BLOOD).gt(0).any(axis=1) | stated.notna() | _known(table, "location")
    has = blood | (not table.reindex(columns=DESCRIBED).notna().any(axis=None))
    return table.assign(has_hemorrhage=has.astype(int), he=table["he"].where(has))


def outcome_reasons(table: pd.DataFrame) -> pd.Series:
    """Why a row has no outcome, as a fact about the patient; empty text where it has one.

    Parameters
    ----------
    table : DataFrame
        As :func:`mark_hemorrhages` gives it.
    """
    known = {name: _known(table, name) for name in ("followup_ct", "ct_to_followup_h", "followup_volume_ml")}
    conditions = {
        "": table["he"].notna(),
        NO_HEMORRHAGE: table["has_hemorrhage"].eq(0),
        OUTSIDE: table["outside_window"].eq(1) if "outside_window" in table else np.zeros(len(table), bool),
        NO_FIRST_VOLUME: known["followup_volume_ml"] & ~_known(table, "baseline_volume_ml"),
        NO_VENTRICLES: known["followup_volume_ml"],  # both volumes are known, and still no outcome
        NO_SECOND_VOLUME: known["followup_ct"] | known["ct_to_followup_h"],
    }
    return pd.Series(np.select(list(conditions.values()), list(conditions), NO_FOLLOWUP), table.index, dtype=object)


def within_window(table: pd.DataFrame, window_h: float) -> pd.DataFrame:
    """The table without the outcomes of patients whose second CT came later than the window; 0 is no window.

    A patient whose interval is not known keeps the outcome. ``outside_window`` is 1 where one was taken away.

    Raises
    ------
    StudyError
        The window is no number of hours, or it leaves no patient with an outcome.
    """
    if not 0 <= window_h < np.inf:
        raise StudyError(f"followup_window_h must be hours, 0 for no window, got {window_h}.")
    late = table["he"].notna() & table["ct_to_followup_h"].gt(window_h) & (window_h > 0)
    found = table.assign(he=table["he"].mask(late), outside_window=late.astype(int))
    if table["he"].notna().any() and found["he"].isna().all():
        raise StudyError(
            f"followup_window_h of {window_h:g} leaves no patient with an outcome: the earliest second CT came after "
            f"{table.loc[late, 'ct_to_followup_h'].min():g} h."
        )
    return found


def weigh_outcomes(
    cohort: pd.DataFrame, table: pd.DataFrame, names: Sequence[str], *, seed: int
) -> tuple[pd.Series, dict[str, Any]]:
    """Weights of the patients with an outcome, as if they stood for those without, too.

    Parameters
    ----------
    cohort : DataFrame
        The included patients with their ``split``.
    table : DataFrame
        All rows of the manifest.
    names : sequence of str
        Baseline variables.
    seed : int

    Returns
    -------
    Series and dict
        By row of the cohort, missing without an outcome, 1 where too few lack one; and ``without_outcome``,
        ``weighted`` (whether there are weights), ``largest`` and ``truncated``.
    """
    known = cohort[cohort["he"].notna()]
    lost = table[table["has_hemorrhage"].eq(1) & table["he"].isna()]
    development = known["split"].eq("development")
    told: dict[str, Any] = {"without_outcome": len(lost), "weighted": False, "largest": 1.0, "truncated": 0}
    weights = pd.Series(np.where(cohort["he"].notna(), 1.0, np.nan), cohort.index)
    if len(lost) >= MIN_LOST and names:
        frames = [predictor_frame(rows, names, allow_empty=True) for rows in (known[development], lost, known)]
        found = outcome_weights(*frames, share=float(development.mean()), seed=seed)
        weights[known.index] = found.weights
        told |= {"weighted": True, "largest": found.largest, "truncated": found.truncated}
    return weights, told


def weighted_models(
    rows: pd.DataFrame, models: Sequence[str], *, n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """What :func:`hepred_lib.stats.sensitivity.weighted_performance` gives for each model, in these patients.

    Parameters
    ----------
    rows : DataFrame
        Patients with an outcome: ``he``, ``outcome_weight``, ``p_<model>``.
    models : sequence of str
        None where there are no weights.
    """
    found = []
    for name in models:
        y, p = rows["he"].astype(int), rows[f"p_{name}"].clip(1e-9, 1 - 1e-9)
        told = weighted_performance(y, p, rows["outcome_weight"], n_resamples=n_resamples, rng=rng)
        found.append({"model": name, "n": len(rows), "events": int(y.sum())} | told)
    return pd.DataFrame(found, columns=None if found else ["model", "n", "events", "auc", "weighted_auc"])


def bounds_of_missing(
    rows: pd.DataFrame, lost: pd.DataFrame, described: Mapping[str, Any], imputation: Mapping[str, Any]
) -> pd.DataFrame:
    """Frequency and AUC of the clinical model if none, and if all, without an outcome had expanded; empty without them.

    Parameters
    ----------
    rows : DataFrame
        Patients with an outcome: ``he`` and ``p_clinical``.
    lost : DataFrame
        Hemorrhages without one: baseline variables.
    described, imputation : mapping
        The content of ``clinical_model.json`` and ``imputation.json``.
    """
    columns = ["if expanded", "patients", "frequency", "auc"]
    if lost.empty:
        return pd.DataFrame(columns=columns)
    model = DevelopedModel.from_json(dict(described["logistic"]), dict(imputation))
    p = model.predict(predictor_frame(lost, described["candidates"], allow_empty=True))
    found = outcome_bounds(rows["he"].astype(int), rows["p_clinical"], p)
    return pd.DataFrame([{columns[0]: case, **figures} for case, figures in found.items()])


def by_followup(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    """AUC and calibration of a model in the patients whose second CT came within one, two and three days.

    Parameters
    ----------
    rows : DataFrame
        Patients with an outcome: ``he``, ``ct_to_followup_h``, ``p_<model>``.
    """
    hours = rows["ct_to_followup_h"]
    parts = {f"within {limit} h": hours <= limit for limit in (24, 48, 72)} | {"time not known": hours.isna()}
    found = []
    for words, members in ({"all": pd.Series(True, rows.index)} | parts).items():
        part = rows[members]
        if len(part):
            risk = part[f"p_{model}"].clip(1e-9, 1 - 1e-9).to_numpy()
            found.append(subgroup_performance(part["he"].astype(int), risk, np.full(len(part), words)))
    return pd.concat(found, ignore_index=True).rename(columns={"group": "second CT"})


def exclusions(table: pd.DataFrame, *, image_source: str) -> pd.Series:
    """Why a row cannot be in the study, as a fact about the patient; empty text where it is included.

    With scans a first CT is needed: a row without an outcome serves segmentation and detection. Without scans an
    outcome is needed, and for ``column`` a score.
    """
    if image_source == "scans":
        return pd.Series(np.where(_known(table, "baseline_ct"), "", NO_SCAN), table.index, dtype=object)
    reasons = outcome_reasons(table)
    unscored = reasons.eq("") & ~_known(table, "external_score") & (image_source == "column")
    return reasons.mask(unscored, NO_SCORE)


def count_patients(cohort: pd.DataFrame, excluded: pd.DataFrame) -> dict[str, int]:
    """Patients with an outcome by split; rows of the manifest without a hemorrhage, and hemorrhages without an outcome.

    The last two are counted over included and excluded rows, so that a study of tables alone, which excludes both,
    counts them too.
    """
    known = cohort[cohort["he"].notna()]
    parts = {split: known.loc[known["split"] == split, "he"] for split in ("development", "test")}
    return {
        "patients": len(known),
        **{split: len(he) for split, he in parts.items()},
        **{f"he_{split}": int(he.sum()) for split, he in parts.items()},
        "excluded": len(excluded),
        **count_missing(cohort, excluded),
    }


def count_missing(*tables: pd.DataFrame) -> dict[str, int]:
    """Rows without a hemorrhage (``blood_free``), and hemorrhages ``without_outcome``, over all the tables."""
    return {
        "blood_free": sum(int(rows["has_hemorrhage"].eq(0).sum()) for rows in tables),
        "without_outcome": sum(int((rows["has_hemorrhage"].eq(1) & rows["he"].isna()).sum()) for rows in tables),
    }


def counts_by_set(cohort: pd.DataFrame) -> pd.DataFrame:
    """The included patients of each set: with an outcome, with expansion, without an outcome, without a hemorrhage."""
    rows = []
    for split, part in cohort.groupby("split"):
        missing = count_missing(part)
        counts = int(part["he"].count()), int(part["he"].sum()), missing["without_outcome"], missing["blood_free"]
        rows.append((split, *counts))
    names = ["set", "with outcome", "with HE", "without outcome", "without hemorrhage"]
    return pd.DataFrame(rows, columns=names)


def missing_outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """Hemorrhages without an outcome by reason: `reason`, `patients`; no row where every outcome is known."""
    lacking = table[table["has_hemorrhage"].eq(1) & table["he"].isna()]
    return outcome_reasons(lacking).value_counts().rename_axis("reason").reset_index(name="patients")


def flow_table(table: pd.DataFrame, cohort: pd.DataFrame, excluded: pd.DataFrame, *, folds: int) -> pd.DataFrame:
    """What the flow of participants draws: one row per box, from the rows of the manifest to both sets."""
    known, missing = cohort[cohort["he"].notna()], count_missing(cohort)
    words = {
        "blood_free": "No hemorrhage: networks only",
        "without_outcome": "Hemorrhage without outcome: networks only",
        "development": f"Development set, {folds} folds",
        "test": "Test set",
    }
    steps = [
        ("assessed", "Assessed", len(table), table["he"].sum()),
        ("excluded", "Excluded", len(excluded), np.nan),
        *(("reason", reason, count, np.nan) for reason, count in excluded["reason"].value_counts().items()),
        *((step, words[step], count, np.nan) for step, count in missing.items() if count),
        ("included", "Included, with outcome", len(known), known["he"].sum()),
    ]
    parts = {split: known.loc[known["split"] == split, "he"] for split in ("development", "test")}
    steps += [(split, words[split], len(he), he.sum()) for split, he in parts.items() if len(he)]
    return pd.DataFrame(steps, columns=["step", "text", "n", "events"])


def _known(table: pd.DataFrame, name: str) -> pd.Series:
    """Whether each row has a value in a column, which may be absent."""
    return table[name].notna() if name in table else pd.Series(False, index=table.index)


OLDER = 65


def subgroup_splits(
    patients: pd.DataFrame, development: pd.DataFrame, predictors: Iterable[str]
) -> dict[str, pd.Series]:
    """Subgroups by sex, age, location, ventricular blood, baseline volume, site and missing values.

    Parameters
    ----------
    patients : DataFrame
        The patients to be judged, columns as in ``cohort.csv``; any of them may be absent or empty.
    development : DataFrame
        Where the tertiles of the volume come from.
    predictors : iterable of str
        Terms that the model uses: patients who lack a column of one form the group of missing values.

    Returns
    -------
    dict of str to Series
        For each split that has at least two groups, an ordered category per patient, missing where it is not known.
    """
    used = ["sex" if name == "male" else name for name in columns_of(tuple(predictors)) if name != "dl_score"]
    columns = ("sex", "age", "location", "ivh", "site", "baseline_volume_ml")
    known = patients.reindex(columns=list(dict.fromkeys((*columns, *used))))
    volume, elsewhere = (table.reindex(columns=columns)["baseline_volume_ml"] for table in (patients, development))
    first, second = np.round(elsewhere.quantile([1 / 3, 2 / 3]).to_numpy(), 1)
    thirds = [f"below {first:g} mL", f"{first:g} to {second:g} mL", f"{second:g} mL or more"]
    third = pd.Series(np.searchsorted([first, second], volume, "right"), volume.index).map(dict(enumerate(thirds)))
    ages, places = [f"under {OLDER}", f"{OLDER} or older"], {place: place.replace("_", " ") for place in LOCATIONS}
    older, sites = known["age"].ge(OLDER), known["site"].map(str, na_action="ignore")
    imputed = known[used].isna().any(axis=1).map({False: "all known", True: "some imputed"})
    words = {
        "Sex": (known["sex"].map({"F": "female", "M": "male"}), ["female", "male"]),
        "Age (years)": (older.map({False: ages[0], True: ages[1]}).where(known["age"].notna()), ages),
        "Location": (known["location"].map(places), list(places.values())),
        "Ventricular blood": (known["ivh"].map({0: "no", 1: "yes"}), ["no", "yes"]),
        "Site": (sites, sorted(sites.dropna().unique())),
        "Baseline volume": (third.where(volume.notna() & np.isfinite(first)), thirds),
        "Predictors": (imputed, ["all known", "some imputed"]),
    }
    found = {name: group.astype(pd.CategoricalDtype(order, ordered=True)) for name, (group, order) in words.items()}
    return {name: groups for name, groups in found.items() if groups.nunique() > 1}


def needed_here(patients: pd.DataFrame, name: str, found: Mapping[str, Any]) -> dict[str, float]:
    """Patients by whom a model could be judged precisely, were it calibrated here: the sizes of `external_minimum`.

    Its log odds are moved until the mean probability is the share of patients with HE.

    Parameters
    ----------
    patients : DataFrame
        With outcomes: `he`, and `p_<model>`, missing where a patient lacks the model's input.
    name : str
    found : mapping
        What the model achieves in them.

    Returns
    -------
    dict
        `available` and `events` here, then the sizes; NaN where they cannot be worked out.
    """
    judged = patients[patients[f"p_{name}"].notna()]
    p = judged[f"p_{name}"].clip(1e-9, 1 - 1e-9)
    share, area = found["n_events"] / found["n"], found["auc"]
    point = (found["sensitivity"], found["specificity"], found["threshold"])
    sizes = dict.fromkeys([entry.name for entry in fields(ExternalMinimum)], np.nan)
    if area is not None and 0.5 < area < 1 and p.nunique() > 1 and 0 < point[2] < 1:
        calibrated = logit(p) + in_the_large(judged["he"].to_numpy(float), logit(p).to_numpy())
        sizes |= asdict(external_minimum(share, area, calibrated, operating_point=point))
    sizes["needed"], sizes["needed_events"] = sizes.pop("n"), sizes.pop("events")
    return {"available": found["n"], "events": found["n_events"]} | sizes


def subgroups_of_last(
    patients: pd.DataFrame, development: pd.DataFrame, models: Mapping[str, Sequence[str]], *, everyone: str
) -> pd.DataFrame:
    """`subgroup_table` of the last of these models (by name, its predictors); no row without a model."""
    if not models:
        return pd.DataFrame(columns=SUBGROUP_COLUMNS)
    name, path = list(models.items())[-1]
    judged = patients[patients[f"p_{name}"].notna()].reset_index(drop=True)
    splits = subgroup_splits(judged, development, path)
    return subgroup_table(judged["he"].astype(int), judged[f"p_{name}"], splits, model=name, everyone=everyone)


def subgroup_table(
    y: pd.Series, p: pd.Series, splits: Mapping[str, pd.Series], *, model: str, everyone: str = "All test patients"
) -> pd.DataFrame:
    """What the subgroup figure draws: all patients first, then each subgroup with its split's tests of interaction.

    Parameters
    ----------
    y, p : Series
        Outcome, and probability in [0, 1]; 0 and 1 are moved inwards by 1e-9.
    splits : mapping of str to Series
        As `subgroup_splits` gives them.
    model : str
    everyone : str
        What the row of all patients is called.

    Returns
    -------
    DataFrame
        `model, split, group, n, events`, the figures of :func:`hepred_lib.stats.subgroups.subgroup_performance`,
        `note`, and `p_auc`, `p_slope`, `p_in_the_large` of the interaction tests, repeated within a split.
    """
    risk = p.clip(1e-9, 1 - 1e-9).to_numpy()
    everybody = subgroup_performance(y, risk, np.full(len(y), everyone))
    parts = [everybody.assign(split="", p_auc=np.nan, p_slope=np.nan, p_in_the_large=np.nan)]
    for name, groups in splits.items():
        table = subgroup_performance(y, risk, groups.astype(object))
        order = [group for group in [*groups.cat.categories, "missing"] if group in set(table["group"])]
        tests = interaction_test(y, risk, groups.astype(object))["p"].add_prefix("p_").to_dict()
        parts.append(table.set_index("group").loc[order].reset_index().assign(split=name, **tests))
    return pd.concat([part for part in parts if len(part)], ignore_index=True).assign(model=model)[SUBGROUP_COLUMNS]


MODELS = ("image", "clinical", "integrated")
COMPARED = (("integrated", "clinical"), ("integrated", "image"), ("clinical", "image"))
SUBGROUP_COLUMNS = ["model", "split", "group", "n", "events", *FIGURES, "note", "p_auc", "p_slope", "p_in_the_large"]
# Where no scan was read: no slice to call, no mask to compare with.
NO_SLICES = pd.DataFrame(columns=["patient_id", "presence", "blood"])
NO_MASKS = pd.DataFrame({"dice": [], "hd95_mm": [], "reference_ml": [], "predicted_ml": []})


def detection(calls: pd.DataFrame, *, n_resamples: int, rng: np.random.Generator, notes: list[str]) -> dict[str, Any]:
    """AUC of the presence of blood by slice, interval by resampling patients; slices without a true call left out."""
    judged = calls[calls["blood"].notna()]
    found: dict[str, Any] = {"level": "slice", "auc": None, "auc_ci": None, "n_slices": len(judged)}
    if judged["blood"].nunique() < 2:
        notes.append(f"detection: slices with and without blood are needed, got {len(judged)} of one kind.")
        return found
    y, patients = judged["blood"].astype(int), judged["patient_id"].to_numpy()
    estimate = clustered_auc_interval(y, judged["presence"], patients, n_resamples=n_resamples, rng=rng)
    found["auc"] = estimate.auc
    if np.isfinite(estimate.standard_error):
        found["auc_ci"] = [estimate.low, estimate.high]
    else:
        notes.append("detection.auc_ci: the resampled AUCs do not vary.")
    return found


def segmentation(agreement: pd.DataFrame, *, notes: list[str]) -> dict[str, Any]:
    """Agreement of outlines over the patients who have blood (``segmentation.csv``)."""
    names = ("dice_median", "dice_iqr", "hd95_mm_median", "volume_bias_ml", "volume_loa_ml")
    found, bloody = dict.fromkeys(names), agreement[agreement["reference_ml"] > 0]
    if bloody.empty:
        notes.append("segmentation: no reference outline with blood.")
        return found
    if np.isinf(bloody["hd95_mm"]).any():
        notes.append("segmentation.hd95_mm_median: patients of whom nothing was outlined count as infinitely far.")
    dice = bloody["dice"]
    found |= {"dice_median": float(dice.median()), "dice_iqr": dice.quantile([0.25, 0.75]).tolist()}
    found["hd95_mm_median"] = float(bloody["hd95_mm"].median())
    if len(bloody) > 1:
        volumes = volume_agreement(bloody["reference_ml"], bloody["predicted_ml"])
        found |= {"volume_bias_ml": volumes["bias"], "volume_loa_ml": [volumes["low"], volumes["high"]]}
    return found


def evaluate_models(rows: pd.DataFrame, thresholds: Mapping[str, float], *, notes: list[str]) -> dict[str, Any]:
    """Every model on the patients who have its probability, and the accuracy of classifying all patients as negative.

    Parameters
    ----------
    rows : DataFrame
        Patients with an outcome: `he`, and `p_<model>`, missing where a patient lacks the model's input.
    thresholds : mapping of str to float
    notes : list of str
        Reasons for what is null are appended.

    Returns
    -------
    dict
        By model, what :func:`hepred_lib.stats.evaluation.evaluate` gives after `n` and `n_events`, or None where no
        patient has its input; and `null`. Empty where no outcome is known.
    """
    if rows.empty:
        notes.append("models: no outcomes.")
        return {}
    found: dict[str, Any] = {}
    for name, threshold in thresholds.items():
        judged = rows[rows[f"p_{name}"].notna()]
        if judged.empty:
            found[name] = None
            notes.append(f"models.{name}: no patient with an outcome has its input.")
            continue
        y = judged["he"].astype(int)
        found[name] = {"n": len(y), "n_events": int(y.sum())} | evaluate(y, judged[f"p_{name}"], threshold)
        notes += [f"models.{name}.{note}" for note in found[name].pop("notes")]
        reading = calibration_reading(found[name])
        if NOT_ASSESSABLE in reading:
            limits = "-".join(f"{limit:.2f}" for limit in found[name]["calibration_slope_ci"])
            notes.append(f"models.{name}.calibration_slope: {reading} ({limits}, {found[name]['n_events']} events).")
    return found | {"null": {"accuracy": null_accuracy(rows["he"].astype(int))}}


def compare(rows: pd.DataFrame, models: Sequence[str], *, notes: list[str], data: str = "test") -> list[dict[str, Any]]:
    """Paired DeLong tests between the models, each on the patients who have both probabilities: `n`, `n_events`.

    ``data`` names the rows: test, development where none is held out, or external. ``p_closed`` is the p of the
    closed test: the larger of the pair's and that of all models at once.
    """
    found = []
    for pair in COMPARED:
        columns = [f"p_{name}" for name in pair]
        if not set(pair) <= set(models):
            continue
        common = rows[rows[columns].notna().all(axis=1)]
        if common.empty:
            notes.append(f"comparisons.{'-'.join(pair)}: no patient has both probabilities.")
            continue
        y = common["he"].astype(int)
        test = compare_pair(y, *(common[name] for name in columns))
        notes += [f"comparisons.{'-'.join(pair)}.{note}" for note in test.pop("notes")]
        which = {"a": pair[0], "b": pair[1], "data": data, "test": "delong"}
        found.append(which | test | {"n": len(y), "n_events": int(y.sum())})
    common = rows.dropna(subset=[f"p_{name}" for name in models])
    together = 0.0
    if len(found) > 1 and common["he"].nunique() > 1:
        together = compare_aucs(common["he"].astype(int), {name: common[f"p_{name}"] for name in models}).p
    for test in found:
        test["p_closed"] = None if test["p"] is None or np.isnan(together) else max(test["p"], float(together))
    return found


def added_score(
    records: Mapping[str, Mapping[str, Any]], image_source: str, *, notes: list[str]
) -> dict[str, float | None] | None:
    """The tests of the added score, as chapter 06 has recorded them; None where there are none."""
    found = records.get("06_integrated_to_he", {"results": {}})["results"].get("added_score")
    if found is None:
        why = "there is no score" if image_source == "none" else "the score has no coefficient in the model"
        notes.append(f"added_score: {why}.")
    elif image_source == "column":
        notes.append("added_score.p_permuted: the score was trained elsewhere, so that p is valid.")
    elif found["p_permuted"] is None:
        notes.append("added_score.p_permuted: a fold has too few patients of an outcome to fit its read-out again.")
    return found


def bedside_scores(rows: pd.DataFrame, *, notes: list[str]) -> dict[str, Any]:
    """AUC of the published bedside scores in the patients whose columns are complete; empty without any patient."""
    found: dict[str, dict[str, Any]] = {}
    for name, score in SCORES.items() if len(rows) else ():
        values = score(rows)
        usable = values.notna()
        found[name] = {"auc": None, "auc_ci": None, "n": int(usable.sum())}
        y = rows.loc[usable, "he"].astype(int)
        if y.nunique() < 2:
            notes.append(f"scores.{name}: its columns are complete in {int(usable.sum())} patients of one outcome.")
            continue
        estimate = auc_interval(y, values[usable], method="logit")
        limits = [estimate.low, estimate.high] if np.isfinite(estimate.standard_error) else None
        found[name] |= {"auc": estimate.auc, "auc_ci": limits}
    return found


def oracle_auc(rows: pd.DataFrame, truth: pd.DataFrame | None, *, notes: list[str]) -> dict[str, float | None] | None:
    """AUC of the simulation's own probabilities in these patients; None where the truth does not name each of them."""
    if truth is None or not rows["patient_id"].isin(truth["patient_id"]).all():
        notes.append("oracle: the truth is known for simulated cohorts only.")
        return None
    known = rows[["patient_id", "he"]].merge(truth, on="patient_id", suffixes=("", "_truth"), validate="one_to_one")
    y = known["he"].astype(int)
    if y.nunique() < 2:
        notes.append("oracle: patients with and without expansion are needed.")
        return {f"{name}_auc": None for name in MODELS}
    return {f"{name}_auc": auc(y, known[f"p_{name}"]) for name in MODELS}


def expected_skill(rows: pd.DataFrame, truth: pd.DataFrame | None) -> pd.DataFrame:
    """The part of what can be known that each score finds: (expected AUC - 0.5) / (that of the best score - 0.5).

    Parameters
    ----------
    rows : DataFrame
        ``patient_id``, the models' ``p_image, p_clinical, p_integrated``, and ``score_*`` of the image's other
        read-outs; those that a patient lacks are left out.
    truth : DataFrame, optional
        ``truth.csv``: the simulation's own probabilities, given the same information as each model has.

    Returns
    -------
    DataFrame indexed by ``score``
        ``expected_auc``, the ``best`` one, ``expected_skill``; no row where the truth does not name each patient.
    """
    table, columns = rows.set_index("patient_id"), ["score", "expected_auc", "best", "expected_skill"]
    if truth is None or not table.index.isin(truth["patient_id"]).all():
        return pd.DataFrame(columns=columns).set_index("score")
    known = truth.set_index("patient_id").loc[table.index]
    models = {f"p_{name}": name for name in MODELS}
    readouts = {name: "image, " + name.removeprefix("score_") for name in table.filter(regex="^score_")}
    found = []
    for column, name in (models | readouts).items():
        if table[column].notna().all():
            p = known[f"p_{name.split(',')[0]}"]
            own, best = expected_auc(table[column], p), expected_auc(p, p)
            found.append((name, own, best, (own - 0.5) / (best - 0.5)))
    return pd.DataFrame(found, columns=columns).set_index("score")
