"""The data card of a study: of a simulated cohort how it was made, of a real one what its manifest tells."""

from __future__ import annotations

import pandas as pd

from hepred_lib.cohort.rules import COLUMNS
from hepred_lib.literal import for_markdown
from hepred_lib.reporting.evidence import AbsentError, Evidence
from hepred_lib.reporting.markdown import document, link, section, table
from hepred_lib.reporting.simulated_card import simulated_sections

# Columns that describe no patient, and volumes that are empty where there is nothing to measure.
NO_CHARACTERISTIC = ("patient_id", "split", "fold", "site", "dl_score", "baseline_ivh_ml", "followup_ivh_ml")
NO_CHARACTERISTIC += ("has_hemorrhage",)
TO_ADD = (
    "where the patients come from: registry, trial or routine; hospitals, countries, dates of accrual and follow-up",
    "who was eligible, and who was left out before the manifest (died, operated on, not rescanned)",
    "treatments between the two scans",
    "scanners, slice thickness, reconstruction; how identifiers were removed from headers",
    "who drew the outlines and read the signs, their training, agreement between readers, blinding",
    "how and when each bedside and laboratory value was measured",
    "ethical approval and consent, funding, conflicts of interest, registration, protocol",
    "who may have the data, under which licence",
)


def data_card(evidence: Evidence) -> str:
    """The card as a page of Markdown."""
    study = evidence.value("results.json", "study")
    cohort = evidence.table("cohort.csv", "split")
    kind = "the simulated cohort" if evidence.simulated else "the manifest"
    return document(
        f"Data card: {kind} of study {study}",
        *([_warning()] if evidence.simulated else []),
        section("Patients", _counts(evidence, cohort)),
        section("Characteristics", _CHARACTERISTICS, table(characteristics(cohort))),
        *(simulated_sections(evidence, cohort) if evidence.simulated else [_to_add()]),
        section("Columns", "As the manifest's rules have them.", table(_columns(cohort))),
    )


def characteristics(cohort: pd.DataFrame) -> pd.DataFrame:
    """Each variable in development and test patients with an outcome, and its missing values.

    A variable with two or few levels is given in per cent of the known, a number as median (quartiles).
    """
    known = cohort[cohort["he"].notna()]
    rows = []
    for name in known.columns:
        if name in NO_CHARACTERISTIC or known[name].isna().all() or _is_free_text(known[name]):
            continue
        for level in _levels(known[name]):
            cells = {split: _cell(values, level) for split, values in known[name].groupby(known["split"])}
            rows.append({"variable": _words(name, level), **cells, "missing": _missing(known[name])})
    return pd.DataFrame(rows).rename(
        columns={"development": _titled(known, "development"), "test": _titled(known, "test")}
    )


def _is_free_text(values: pd.Series) -> bool:
    """Whether a column holds words that no rule knows: a remark about one patient belongs on no card."""
    return values.name not in COLUMNS and not pd.api.types.is_numeric_dtype(values)


def _titled(known: pd.DataFrame, split: str) -> str:
    return f"{split} (n = {int(known['split'].eq(split).sum())})"


def _levels(values: pd.Series) -> list[object]:
    """The levels to count; one None where the numbers are summarized instead."""
    present = sorted(values.dropna().unique())
    if set(present) <= {0, 1}:
        return [1]
    if pd.api.types.is_numeric_dtype(values):
        return [None]
    return ["M"] if set(present) <= {"F", "M"} else present


def _cell(values: pd.Series, level: object) -> str:
    known = values.dropna()
    if known.empty:
        return "-"
    if level is None:
        low, middle, high = known.quantile([0.25, 0.5, 0.75])
        return f"{middle:.3g} ({low:.3g}-{high:.3g})"
    return f"{100 * known.eq(level).mean():.1f} % ({int(known.eq(level).sum())})"


def _words(name: str, level: object) -> str:
    unit = COLUMNS[name].unit if name in COLUMNS and level is None else ""
    detail = f": {level}" if isinstance(level, str) else ""
    return for_markdown(f"{name}{detail}") + (f" [{unit}]" if unit else "")


def _missing(values: pd.Series) -> str:
    return f"{100 * values.isna().mean():.1f} % ({int(values.isna().sum())})"


def _counts(evidence: Evidence, cohort: pd.DataFrame) -> str:
    n, counts = evidence.known("results.json", "n"), evidence.value("results.json", "n")
    words = {"without_outcome": "hemorrhages without an outcome", "blood_free": "rows without a hemorrhage"}
    missing = "".join(f"{counts[key]} {said}; " for key, said in words.items() if counts.get(key) is not None)
    sites = sorted(map(for_markdown, cohort["site"].dropna().astype(str).unique())) if "site" in cohort else []
    lines = [
        f"- {n['patients']} patients with an outcome: {n['development']} for development ({n['he_development']} with "
        f"expansion), {n['test']} for evaluation ({n['he_test']}); {missing}{n['excluded']} rows excluded.",
        f"- Sites: {', '.join(sites) if sites else 'not told'}.",
        f"- Hematoma volume: {_volume(cohort)}.",
        f"- {_scans(evidence)}",
        f"- Manifest: SHA-256 `{evidence.value('provenance.json', 'manifest_sha256')}`; rows as used: "
        f"{link('cohort.csv')}, left out: {link('excluded.csv')}.",
    ]
    return "\n".join(lines)


def _volume(cohort: pd.DataFrame) -> str:
    # Over hemorrhages: 0 mL in a patient without one is no volume of a hematoma.
    bled = cohort["has_hemorrhage"].eq(1) if "has_hemorrhage" in cohort else cohort["he"].notna()
    first = cohort.loc[bled, "baseline_volume_ml"].dropna() if "baseline_volume_ml" in cohort else []
    if not len(first):
        return "not in the manifest"
    low, middle, high = first.quantile([0.25, 0.5, 0.75])
    return f"median {middle:.1f} mL (quartiles {low:.1f}-{high:.1f}, range {first.min():.1f}-{first.max():.1f})"


def _scans(evidence: Evidence) -> str:
    try:
        quality = evidence.table("slices/quality.csv", "thickness_mm", "noise_hu")
    except AbsentError:
        return "Scans: none are read."
    thin, thick = quality["thickness_mm"].min(), quality["thickness_mm"].max()
    outlined = int(quality["has_mask"].sum()) if "has_mask" in quality else 0
    apart = f"{thin:.3g}" if thin == thick else f"{thin:.3g}-{thick:.3g}"
    return (
        f"Scans: {len(quality)}, {outlined} with an outline; slices {apart} mm apart, noise "
        f"{quality['noise_hu'].median():.1f} HU (median)."
    )


def _columns(cohort: pd.DataFrame) -> pd.DataFrame:
    used = [name for name in cohort if name in COLUMNS and cohort[name].notna().any()]
    rows = [(c.name, c.unit, c.requirement.removeprefix("be "), c.meaning) for c in (COLUMNS[name] for name in used)]
    return pd.DataFrame(rows, columns=["column", "unit", "accepted", "meaning"])


def _to_add() -> str:
    return section("To be added by whoever knows the patients", "\n".join(f"- [ ] {what}" for what in TO_ADD))


def _warning() -> str:
    return (
        "**No person stands behind these data.** They show that code and method work and how near a model comes to the "
        "best possible one; they say nothing of clinical performance."
    )


_CHARACTERISTICS = (
    "Patients with an outcome. A number is given as median (quartiles), a yes or a level in per cent of the known "
    "(count). Missing: share and count of both partitions."
)
