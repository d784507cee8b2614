"""The outcome of every patient, and who belongs to which split and fold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hepred_lib.expansion import expansion_label
from hepred_lib.manifest.rules import SPLITS, ManifestError

MIN_CLASS_PER_FOLD = 2  # patients with, and patients without expansion
SHOWN_PATIENTS = 20


def derive_labels(table: pd.DataFrame, *, definition: str = "6ml_or_33pct") -> pd.DataFrame:
    """The table with ``he`` filled from the volumes where it is empty; rows without an outcome stay missing.

    Raises
    ------
    ManifestError
        If a printed ``he`` contradicts the printed volumes; the patients are named.
    """
    conflicts = label_conflicts(table, definition)
    if len(conflicts):
        patients = ", ".join(table.loc[conflicts.index, "patient_id"].astype(str)[:SHOWN_PATIENTS])
        raise ManifestError(
            f"he must follow from the volumes by {definition}, got the opposite in {len(conflicts)} rows: {patients}."
        )
    return table.assign(he=table["he"].fillna(_volume_labels(table, definition)))


def split_patients(table: pd.DataFrame, *, seed: int, test_fraction: float = 0.25) -> pd.Series:
    """``development`` or ``test`` for every row: the given column, or a draw stratified on ``he``.

    Rows without an outcome are a stratum of their own, so that they never move the others. A quarter of 20 patients
    with and of 48 without expansion is 5 and 12, whatever the seed.

    Parameters
    ----------
    table : DataFrame
        ``patient_id``, ``he`` (see :func:`derive_labels`) and ``split``, given for all rows or for none.
    seed : int
        Of the draw.
    test_fraction : float
        Share of every stratum that becomes test, rounded half up.

    Returns
    -------
    Series of str
        On the table's index.

    Raises
    ------
    ManifestError
        If development or test would lack patients with, or patients without expansion.
    """
    if not 0.0 < test_fraction < 1.0:
        raise ManifestError(f"test_fraction must lie between 0 and 1, got {test_fraction}.")
    if table["split"].notna().all():
        split = table["split"].astype("string")
    else:
        split = pd.Series("development", index=table.index, dtype="string", name="split")
        for rows in _shuffled_strata(table, seed):
            split[rows[: int(test_fraction * len(rows) + 0.5)]] = "test"
    for name in SPLITS:
        _require_both_classes(table.loc[split == name, "he"], 1, f"the {name} set")
    return split


def assign_folds(table: pd.DataFrame, *, folds: int, seed: int) -> pd.Series:
    """The cross-fitting fold (0 to ``folds`` - 1) of every development row, stratified on ``he``; -1 for test rows.

    Parameters
    ----------
    table : DataFrame
        ``patient_id``, ``he`` and ``split`` (see :func:`split_patients`).
    folds : int
        How many; their sizes, and their numbers of patients with expansion, differ by one at most.
    seed : int
        Of the draw.

    Returns
    -------
    Series of int
        On the table's index.

    Raises
    ------
    ManifestError
        If there are fewer than two folds, or a fold would hold fewer than two patients with or without expansion.
    """
    if folds < 2:
        raise ManifestError(f"folds must be >= 2, got {folds}.")
    fold = pd.Series(-1, index=table.index, dtype="int64", name="fold")
    development = table[table["split"] == "development"]
    _require_both_classes(development["he"], folds * MIN_CLASS_PER_FOLD, f"the development set, for {folds} folds,")
    drawn = np.concatenate(_shuffled_strata(development, seed))
    fold[drawn] = np.arange(len(drawn)) % folds
    return fold


def _volume_labels(table: pd.DataFrame, definition: str) -> pd.Series:
    """The label that the volumes give, missing where they do not suffice."""
    names = ["baseline_volume_ml", "followup_volume_ml"]
    ventricles = ["baseline_ivh_ml", "followup_ivh_ml"] if definition == "revised" else []
    rows = table[names + ventricles].dropna()
    ivh = {name: rows[name].to_numpy() for name in ventricles}
    labels = expansion_label(*(rows[name].to_numpy() for name in names), **ivh, definition=definition)
    return pd.Series(labels, index=rows.index, dtype=float).reindex(table.index)


def label_conflicts(table: pd.DataFrame, definition: str) -> pd.Series:
    """The label that the volumes give, for rows whose printed one is the other."""
    expected = _volume_labels(table, definition)
    return expected[expected.notna() & table["he"].notna() & (expected != table["he"])].astype(int)


def _shuffled_strata(table: pd.DataFrame, seed: int) -> list[np.ndarray]:
    """Index labels of the rows with, without and of unknown expansion, each shuffled from the order of identifiers."""
    ordered = table.sort_values("patient_id")
    strata = (ordered["he"] == 1, ordered["he"] == 0, ordered["he"].isna())
    return [np.random.default_rng([seed, k]).permutation(ordered.index[rows]) for k, rows in enumerate(strata)]


def _require_both_classes(he: pd.Series, least: int, where: str) -> None:
    for value, words in ((1, "with"), (0, "without")):
        count = int((he == value).sum())
        if count < least:
            raise ManifestError(
                f"{where} must hold at least {least} patients {words} expansion, got {count} of {he.notna().sum()}."
            )
