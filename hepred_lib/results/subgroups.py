"""Which subgroups a model is judged in, from what is known of the patients, and what their figure draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from hepred_lib.manifest.rules import LOCATIONS
from hepred_lib.stats.subgroups import FIGURES, interaction_test, subgroup_performance

OLDER = 65
OVERALL = "All test patients"


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
        Columns that the model uses: whoever lacks one of them is in the group of missing values.

    Returns
    -------
    dict of str to Series
        For each split that has at least two groups, an ordered category a patient, missing where it is not known.
    """
    found = {}
    for name, words in _SPLITS.items():
        column, assign = words
        if column in patients and patients[column].notna().any():
            found[name] = assign(patients[column])
    found |= _volume(patients, development)
    names = ["sex" if name == "male" else name for name in predictors]
    lacking = patients.reindex(columns=[name for name in names if name != "dl_score"]).isna().any(axis=1)
    found["Predictors"] = _ordered(
        lacking.map({False: "all known", True: "some imputed"}), ["all known", "some imputed"]
    )
    return {name: groups for name, groups in found.items() if groups.nunique() > 1}


def subgroup_table(y: pd.Series, p: pd.Series, splits: Mapping[str, pd.Series], *, model: str) -> pd.DataFrame:
    """What the subgroup figure draws: all patients first, then each subgroup with its split's tests of interaction.

    Parameters
    ----------
    y, p : Series
        Outcome, and probability in [0, 1]; 0 and 1 are moved inwards by 1e-9.
    splits : mapping of str to Series
        As `subgroup_splits` gives them.
    model : str

    Returns
    -------
    DataFrame
        `model, split, group, n, events`, the figures of :func:`hepred_lib.stats.subgroups.subgroup_performance`,
        `note`, and `p_auc`, `p_slope`, `p_in_the_large` of the interaction tests, repeated within a split.
    """
    risk = p.clip(1e-9, 1 - 1e-9).to_numpy()
    everybody = subgroup_performance(y, risk, np.full(len(y), OVERALL))
    parts = [everybody.assign(split="", p_auc=np.nan, p_slope=np.nan, p_in_the_large=np.nan)]
    for name, groups in splits.items():
        table = subgroup_performance(y, risk, groups.astype(object))
        order = [group for group in [*groups.cat.categories, "missing"] if group in set(table["group"])]
        tests = interaction_test(y, risk, groups.astype(object))["p"].add_prefix("p_").to_dict()
        parts.append(table.set_index("group").loc[order].reset_index().assign(split=name, **tests))
    columns = ["model", "split", "group", "n", "events", *FIGURES, "note", "p_auc", "p_slope", "p_in_the_large"]
    return pd.concat([part for part in parts if len(part)], ignore_index=True).assign(model=model)[columns]


def _ordered(values: pd.Series, order: Iterable[str]) -> pd.Series:
    return values.astype(pd.CategoricalDtype(list(order), ordered=True))


def _coded(words: Mapping[object, str]) -> Callable[[pd.Series], pd.Series]:
    return lambda values: _ordered(values.map(words), dict.fromkeys(words.values()))


def _age(values: pd.Series) -> pd.Series:
    names = [f"under {OLDER}", f"{OLDER} or older"]
    return _ordered(values.ge(OLDER).map({False: names[0], True: names[1]}).where(values.notna()), names)


def _site(values: pd.Series) -> pd.Series:
    words = values.where(values.isna(), values.astype(str))
    return _ordered(words, sorted(words.dropna().unique()))


def _volume(patients: pd.DataFrame, development: pd.DataFrame) -> dict[str, pd.Series]:
    name = "baseline_volume_ml"
    if not all(name in table and table[name].notna().any() for table in (patients, development)):
        return {}
    first, second = np.round(development[name].quantile([1 / 3, 2 / 3]).to_numpy(), 1)
    names = [f"below {first:g} mL", f"{first:g} to {second:g} mL", f"{second:g} mL or more"]
    tertile = np.searchsorted([first, second], patients[name], "right")
    words = pd.Series([names[number] for number in tertile], index=patients.index).where(patients[name].notna())
    return {"Baseline volume": _ordered(words, names)}


_SPLITS: dict[str, tuple[str, Callable[[pd.Series], pd.Series]]] = {
    "Sex": ("sex", _coded({"F": "female", "M": "male"})),
    "Age (years)": ("age", _age),
    "Location": ("location", _coded({place: place.replace("_", " ") for place in LOCATIONS})),
    "Ventricular blood": ("ivh", _coded({0: "no", 1: "yes"})),
    "Site": ("site", _site),
}
