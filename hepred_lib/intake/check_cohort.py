"""What is wrong with a cohort as a whole: each row may be right by itself, and the study would still be wrong.

A finding needs to be more than chance: every rule states how many patients it requires, so that small and odd, but
correct cohorts raise nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import comb
from pathlib import Path

import pandas as pd

from hepred_lib.cohort.manifest import derive_labels, label_conflicts
from hepred_lib.cohort.predictors import CLINICAL_CANDIDATES, NO_PREDICTORS, RADIOLOGICAL_CANDIDATES
from hepred_lib.cohort.rules import COLUMNS, SPLITS, Problem, located
from hepred_lib.stats.discrimination import auc

MOMENTS = ("baseline", "followup")
BEDSIDE = (*CLINICAL_CANDIDATES, *RADIOLOGICAL_CANDIDATES)
CANDIDATES = (*BEDSIDE, "external_score", "blend_sign", "any_hypodensity", "prior_ich")
NO_FACTS = {"patient_id", "site", "split", *NO_PREDICTORS}  # not compared between patients
PATHS = tuple(name for name, column in COLUMNS.items() if column.kind == "path")
CHANCE = 0.01  # of a false alarm by coincidence, over the whole cohort
SEPARATES = 0.99  # AUC of one column alone; no bedside variable and no image score comes near it
MONOTONE = 0.99  # rank correlation with the growth
LEAST_CONSTANT = 20  # patients with a value
LEAST_CONSTANT_BINARY = 40  # what one patient in ten has is absent in 40 by chance in 1.5 %
LEAST_PAIRS = 8  # patients with both volumes
SHRUNK_SHARE, SHRUNK_ML, SHRUNK_H = 0.33, 3.0, 72.0  # without evacuation, blood is not absorbed within three days
FIRST_WORDS = re.compile(r"baseline|initial|first|admission|(?<![a-z])(bl|t0)(?![a-z0-9])", re.IGNORECASE)
SECOND_WORDS = re.compile(r"follow|second|control|(?<![a-z])(fu|fup|t1)(?![a-z0-9])", re.IGNORECASE)


def cohort_problems(table: pd.DataFrame, file: str, *, definition: str) -> list[Problem]:
    """Problems of the rows taken together, and of the two moments of one row.

    Parameters
    ----------
    table : DataFrame
        As :func:`hepred_lib.cohort.manifest.read_valid_cells` gives it: typed, indexed by line.
    file : str
        The manifest's name, for the messages.
    definition : str
        Of expansion: the outcome that a column may give away.

    Returns
    -------
    list of Problem
    """
    table = table.assign(patient_id=table["patient_id"].fillna("").astype(str))
    conflicts = label_conflicts(table, definition)
    he = derive_labels(table.assign(he=table["he"].drop(conflicts.index)), definition=definition)["he"]
    rows = [*_look_alikes(table), *_same_patients(table), *_same_files(table), *_times(table), *_names(table)]
    columns = [*_swapped(table), *_constant(table), *_gives_away(table, he), *_one_sided_splits(table, he)]
    return [*located([*rows, *_shrunk(table)], file, table["patient_id"]), *located(columns, file)]


def _look_alikes(table: pd.DataFrame) -> Iterator[Problem]:
    """Identifiers that differ by case, separators or leading zeros only."""
    seen: dict[tuple[str, ...], tuple[int, str]] = {}
    for line, patient in table["patient_id"].items():
        key = tuple(part.lstrip("0") or "0" for part in re.findall(r"[a-z]+|[0-9]+", patient.lower()))
        first_line, first = seen.setdefault(key, (line, patient))
        if key and first != patient:
            rule = "differ from every other by more than case, separators and leading zeros"
            value = f"{patient} beside {first} on line {first_line}{_in_splits(table, line, first_line)}"
            remedy = "Give one patient one row, or two patients identifiers that cannot be confused."
            yield Problem("patient_id", rule, value, remedy, line=line)


def _same_patients(table: pd.DataFrame) -> Iterator[Problem]:
    """Two identifiers with all the same measurements, too many to agree by chance."""
    facts = table.drop(columns=[name for name in table if name in NO_FACTS or name in PATHS]).dropna(axis=1, how="all")
    if facts.empty or len(facts) < 2:
        return
    texts = facts.astype("string").fillna("")
    shares = texts.apply(lambda column: column.map(column.value_counts(normalize=True)).astype(float))
    shares = shares.where(facts.notna(), 1.0)  # an empty cell proves nothing
    pairs = comb(len(facts), 2)
    for _, lines in texts.groupby(list(texts.columns), sort=False).groups.items():
        first, *others = lines
        # The chance that some pair agrees in all columns by coincidence, as if the columns were independent.
        if not others or pairs * shares.loc[first].prod() > CHANCE:
            continue
        for line in others:
            facts_of = f"all {int(facts.loc[line].notna().sum())} values of {table.at[first, 'patient_id']}"
            value = f"{facts_of} on line {first}{_in_splits(table, line, first)}"
            remedy = "One patient entered twice, or a row copied and not filled in: keep one row."
            yield Problem("the row", "be another patient than every other row", value, remedy, line=line)


def _in_splits(table: pd.DataFrame, line: int, other: int) -> str:
    """How much it matters: the words for a patient who would be in development and test at once."""
    splits = {table.at[line, "split"], table.at[other, "split"]}
    return ", one in development and one in test" if splits == set(SPLITS) else ""


def _same_files(table: pd.DataFrame) -> Iterator[Problem]:
    """A mask named in two places; scans are compared by their voxels instead."""
    masks = table[[name for name in PATHS if name.endswith("mask")]].stack().dropna().rename_axis(["line", "column"])
    named = masks.reset_index(name="path")
    firsts = named.drop_duplicates("path").set_index("path")
    for line, column, path in named[named["path"].duplicated()].itertuples(index=False):
        first = firsts.loc[path]
        rule = f"name another file than {first['column']} on line {first['line']}"
        yield Problem(column, rule, Path(path).name, "Give every scan the mask that was drawn on it.", line=line)


def _times(table: pd.DataFrame) -> Iterator[Problem]:
    for line in table.index[table["ct_to_followup_h"] == 0]:
        remedy = "Two scans of one moment are no pair: give the time between them, or leave the follow-up empty."
        yield Problem("ct_to_followup_h", "be above 0", "0", remedy, line=line)
    for line, row in table[table["dbp_mmhg"] > table["sbp_mmhg"]].iterrows():
        rule = f"not be above the systolic pressure of {row['sbp_mmhg']:g}"
        remedy = "Look whether the two columns were exchanged."
        yield Problem("dbp_mmhg", rule, f"{row['dbp_mmhg']:g}", remedy, line=line)


def _names(table: pd.DataFrame) -> Iterator[Problem]:
    """A file whose name says that it is of the other moment."""
    for column in PATHS:
        moment = "first" if column.startswith("baseline") else "second"
        own, other = (FIRST_WORDS, SECOND_WORDS) if moment == "first" else (SECOND_WORDS, FIRST_WORDS)
        for line, path in table[column].dropna().items():
            name = Path(path).name
            if other.search(name.replace("_", " ")) and not own.search(name.replace("_", " ")):
                rule, remedy = f"name a file of the {moment} scan", "Look whether the two scans were exchanged."
                yield Problem(column, rule, name, remedy, "warn", line)


def _shrunk(table: pd.DataFrame) -> Iterator[Problem]:
    """Hematomas that are much smaller on the second scan: the two moments were probably exchanged."""
    before, after = table["baseline_volume_ml"], table["followup_volume_ml"]
    soon = ~(table["ct_to_followup_h"] > SHRUNK_H)
    for line in table.index[(before - after > SHRUNK_ML) & (before - after > SHRUNK_SHARE * before) & soon]:
        rule = f"not be less than two thirds of the baseline volume of {before[line]:g} mL within {SHRUNK_H:g} h"
        remedy = "Look whether the two moments were exchanged, or blood was evacuated."
        yield Problem("followup_volume_ml", rule, f"{after[line]:g}", remedy, "warn", line)


def _swapped(table: pd.DataFrame) -> Iterator[Problem]:
    """Second volumes that are mostly smaller than the first."""
    lost = (table["baseline_volume_ml"] - table["followup_volume_ml"]).dropna()
    smaller = int((lost > 0).sum())
    if len(lost) >= LEAST_CONSTANT and smaller > 0.8 * len(lost):
        rule, value = "not be below baseline_volume_ml in most patients", f"smaller ones in {smaller} of {len(lost)}"
        remedy = "The two columns were probably exchanged: exchange their names in the header."
        yield Problem("followup_volume_ml", rule, value, remedy, line=1)


def _constant(table: pd.DataFrame) -> Iterator[Problem]:
    """Default candidates with one value in everyone."""
    for name in BEDSIDE:
        values = table[name].dropna()
        least = LEAST_CONSTANT_BINARY if COLUMNS[name].kind == "binary" else LEAST_CONSTANT
        if len(values) >= least and values.nunique() == 1:
            value = values.iloc[0] if isinstance(values.iloc[0], str) else f"{values.iloc[0]:g}"
            value, rule = (
                f"{value} in all {len(values)} patients with a value",
                "vary between patients to be a predictor",
            )
            yield Problem(name, rule, value, "Look at its coding, or leave the column out.", "warn", 1)


def _gives_away(table: pd.DataFrame, he: pd.Series) -> Iterator[Problem]:
    """Columns that tell the outcome by themselves: by their values, by being filled in, or by following the growth."""
    names = [name for name in table if name not in NO_FACTS - {"site"} and name not in PATHS]
    growth = _growth(table)
    for name in names:
        found = _outcome_told(table[name], he, len(names)) or _growth_told(table[name], growth)
        if found:
            severity = "refuse" if name in CANDIDATES else "warn"
            remedy = "It is known only afterwards: never offer it as a candidate, or leave it out."
            if name == "site":
                remedy = "Expansion must occur at every site, else the models learn the site."
            elif name == "external_score":
                remedy = "Use scores of a model that has not been trained on these patients."
            elif name in CANDIDATES:
                remedy = "Look how it was recorded: only what was known at the first scan may stand in it."
            yield Problem(name, "not give the outcome away", found, remedy, severity, 1)


def _outcome_told(values: pd.Series, he: pd.Series, columns: int) -> str:
    """How a column separates the patients with expansion from the others; empty where it does not."""
    known = he.notna()
    filled, y = values[known].notna(), he[known]
    if filled.any() and _auc_beyond_chance(y, filled.astype(float), columns):
        return "it filled in almost only where the outcome is " + ("1" if y[filled].mean() > 0.5 else "0")
    y, values = y[filled], values[known][filled]
    if not pd.api.types.is_numeric_dtype(values):
        if values.nunique() > len(values) / 5:
            return ""  # a text of its own for every patient separates them without telling anything
        values = y.groupby(values).transform("mean")
    reached = _auc_beyond_chance(y, values, columns)
    return f"an AUC of {reached:.3f} for expansion from this column alone ({len(y)} patients)" if reached else ""


def _auc_beyond_chance(y: pd.Series, score: pd.Series, columns: int) -> float:
    """The AUC, in the better direction, where it is at least 0.99 and perfect separation would not be chance."""
    events = int(y.sum())
    if not 0 < events < len(y) or 2 * columns / comb(len(y), events) > CHANCE:
        return 0.0
    reached = auc(y.to_numpy(), score.to_numpy(dtype=float))
    reached = max(reached, 1 - reached)
    return reached if reached >= SEPARATES else 0.0


def _growth(table: pd.DataFrame) -> pd.DataFrame:
    """The growth in mL and in percent, and both volumes, where both are known."""
    volumes = table[["baseline_volume_ml", "followup_volume_ml"]].dropna()
    before, after = (volumes[name] for name in volumes)
    growth = {"growth in mL": after - before, "relative growth": (after - before) / before.where(before > 0)}
    return pd.DataFrame({**growth, "before": before, "after": after})


def _growth_told(values: pd.Series, growth: pd.DataFrame) -> str:
    """Whether a column rises or falls with the growth, or repeats the second volume."""
    if not pd.api.types.is_numeric_dtype(values) or values.name == "baseline_volume_ml":
        return ""
    both = growth.assign(values=values.reindex(growth.index)).dropna()
    if len(both) < LEAST_PAIRS or both[["values", "growth in mL"]].nunique().min() < LEAST_PAIRS:
        return ""
    ranks = both.corr(method="spearman")["values"].abs()
    for name in ("growth in mL", "relative growth"):
        if ranks[name] >= MONOTONE:
            return f"a rank correlation of {ranks[name]:.3f} with the {name}"
    # Both volumes resemble each other: only what is far closer to the second one than to the first repeats it.
    if ranks["after"] >= MONOTONE and 1 - ranks["after"] < 0.1 * (1 - ranks["before"]):
        return f"a rank correlation of {ranks['after']:.3f} with the second volume"
    return ""


def _one_sided_splits(table: pd.DataFrame, he: pd.Series) -> Iterator[Problem]:
    """A set in which nobody, or everybody, has the outcome: nothing can be developed or judged on it."""
    known = pd.DataFrame({"split": table["split"], "he": he}).dropna()
    if table["split"].dropna().nunique() < 2 or known.empty:
        return
    for split in SPLITS:
        outcomes = known.loc[known["split"] == split, "he"]
        events = int(outcomes.sum())
        if events in (0, len(outcomes)):
            rule = f"put patients with and without expansion into the {split} set"
            value = f"{events} with expansion among {len(outcomes)} with a known outcome"
            remedy = "Draw the split anew by the outcome, or leave the column empty: the study then draws it."
            yield Problem("split", rule, value, remedy, "warn", 1)


def named_afterwards(columns: list[str]) -> list[str]:
    """Columns without a rule whose names say that they are known only after the first scan."""
    words = re.compile(
        r"follow|outcome|discharge|mrs|rankin|mortality|death|dead|died|surviv|growth|expan|evacuat|surg|delta|"
        r"(?<![a-z0-9])(day|d|week|month)_?[0-9]+|[0-9]+_?(d|days?|weeks?|months?|mo)(?![a-z0-9])",
        re.IGNORECASE,
    )
    return [name for name in columns if name not in COLUMNS and words.search(name)]
