"""The patients of a manifest as every notebook takes them: volumes measured, outcomes derived, hemorrhages marked."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pandas as pd

from hepred_lib.intake.check import fill_volumes
from hepred_lib.manifest import COLUMNS, derive_labels, read_manifest
from hepred_lib.results import mark_hemorrhages
from hepred_lib.scans import ScanError

VOLUMES = ["baseline_volume_ml", "followup_volume_ml", "baseline_ivh_ml", "followup_ivh_ml"]
IMAGES = tuple(name for name, column in COLUMNS.items() if column.kind == "path")


def read_patients(manifest: str | os.PathLike, *, definition: str) -> pd.DataFrame:
    """One row per patient of the manifest, with ``he`` and ``has_hemorrhage``.

    Raises
    ------
    ManifestError
        The manifest breaks its rules, or a stated outcome contradicts the volumes.
    ScanError
        A mask from which a volume is needed, or its scan, cannot be used.
    """
    table = read_manifest(manifest)
    return mark_hemorrhages(derive_labels(fill_volumes(table), definition=definition), table["he"])


def read_new_patients(manifest: str | os.PathLike, *, definition: str) -> tuple[pd.DataFrame, pd.Series]:
    """As :func:`read_patients`, but a volume that cannot be measured costs one patient an outcome, and stops nobody.

    Returns
    -------
    table : DataFrame
    unmeasured : Series of str
        Why a patient's volumes could not be measured, on the table's index; empty text where they could.

    Raises
    ------
    ManifestError
        As :func:`read_patients`.
    """
    table = read_manifest(manifest)
    volumes, unmeasured = table[VOLUMES].copy(), pd.Series("", index=table.index, dtype=object)
    for index in table.index:
        try:
            volumes.loc[[index]] = fill_volumes(table.loc[[index]])[VOLUMES]
        except ScanError as error:
            unmeasured[index] = fault_of(error, table.loc[index])
    labelled = derive_labels(table.assign(**volumes), definition=definition)
    return mark_hemorrhages(labelled, table["he"]), unmeasured


def fault_of(error: ScanError, row: Mapping[str, object]) -> str:
    """What is wrong with a patient's scan or mask, by the name of its column instead of its place on the disk."""
    words = str(error).replace(f" (patient {row['patient_id']})", "").removesuffix(".")
    for name in IMAGES:
        if isinstance(row.get(name), str):
            words = words.replace(row[name], name)
    return words
