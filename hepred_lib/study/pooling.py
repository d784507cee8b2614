"""Many finished runs of one study design: pooled over seeds and sites, or two of them compared.

*Site*: the patients of one manifest, known by its checksum. *Seed*: a repetition with the same patients. Three
variances are kept apart. The **sampling variance** of a site is the mean over its seeds of the squared standard errors:
seeds share their patients, so more seeds do not make it smaller. The **between-seed SD** is the spread of the estimate
over the seeds of a site, from training and, where a test set is drawn, from the draw; it is no standard error. The
**between-site variance** (tau squared) is estimated over sites only, each of which counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from hepred_lib.errors import StudyError
from hepred_lib.figures.catalogue import caption, draw
from hepred_lib.figures.style import render
from hepred_lib.literal import for_markdown
from hepred_lib.stats.subgroups import random_effects
from hepred_lib.study.files import damaged, read_json, read_results, read_table, write_bytes, write_table
from hepred_lib.study.run import are_simulated
from hepred_lib.study.summary import MODELS

MEASURES = {
    "auc": "AUC",
    "calibration_slope": "Calibration slope",
    "calibration_in_the_large": "Calibration in the large",
}
DIFFERENCE = "auc_difference"
ALL = "All sites"
Z95 = stats.norm.ppf(0.975)
# Parameters that runs of one design may differ in: where they are, which patients and seed, and the machine.
FREE = frozenset({"study", "runs_dir", "manifest", "truth", "seed", "device", "devices"})
# Columns of the printed table.
PRINTED = ["Model", "Site", "Patients (events)", "Runs (without estimate)", "Estimate", "95 % CI"]
PRINTED += ["Between-seed SD", "Tau", "95 % prediction"]
SAME_PATIENT = ("patient_id", "age", "sex", "onset_to_ct_h", "baseline_volume_ml")
NOTES = (
    "Sites are the units of the summary; seeds of a site share its patients: they are averaged, not counted as sites.",
    "The interval of a site is that of one run: its standard error is the root mean square over its seeds.",
    "The between-seed SD is no sampling error: it says how far training and the split move the estimate.",
    "Summary: Paule-Mandel between-site variance, Hartung-Knapp interval, never narrower than the usual one. "
    "AUCs are pooled as logits. With fewer than five sites the between-site variance is hardly known.",
)


@dataclass(frozen=True)
class Opened:
    """What pooling and comparing read of a finished run."""

    folder: Path
    results: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.provenance["notebooks"]["07_roc_calibration_figures"]["parameters"]["seed"]

    @property
    def data(self) -> tuple[str, str]:
        """Checksums of the manifest and of its scans."""
        return self.provenance["manifest_sha256"], self.provenance["scans_sha256"]

    def design(self) -> dict[str, Any]:
        """What all runs of a pool must share, in words and in the order in which it is checked."""
        kept = {"definition of expansion": self.results["he_definition"]}
        for notebook, record in self.provenance["notebooks"].items():
            given = {name: value for name, value in record["parameters"].items() if name not in FREE}
            kept |= {f"{name} of {notebook}": value for name, value in given.items()}
        versions = self.provenance["versions"]
        kept |= {"code version": versions["hepred"], "commit": versions["commit"]}
        return kept | {name: self.results[name] for name in ("image_source", "judged")}


def open_run(folder: Path) -> Opened:
    """Read a finished run.

    Raises
    ------
    StudyError
        Its results or their provenance are missing or damaged.
    """
    opened = Opened(folder, read_results(folder / "results.json"), read_json(folder / "provenance.json"))
    try:
        _ = opened.design(), opened.seed, opened.data
    except (KeyError, TypeError, AttributeError) as error:
        raise StudyError(damaged(folder / "provenance.json", f"no usable {error}")) from error
    return opened


def require_poolable(runs: Sequence[Opened]) -> None:
    """Refuse runs of different designs, a run given twice, and patients who are in two sites.

    Raises
    ------
    StudyError
        In one line: the two runs and what differs.
    """
    if len(runs) < 2:
        raise StudyError(f"hepred pool needs at least two runs, got {len(runs)}.")
    first, expected = runs[0], runs[0].design()
    for run in runs[1:]:
        for name, value in ({name: None for name in expected} | run.design()).items():
            if value != expected.get(name):
                words = f"{expected.get(name)!r} in {first.folder}, {value!r} in {run.folder}"
                raise StudyError(f"these runs cannot be pooled: {name} is {words}.")
    seen: dict[tuple, Opened] = {}
    for run in runs:
        twin, seen[run.data, run.seed] = seen.get((run.data, run.seed)), run
        if twin is not None:
            raise StudyError(f"{twin.folder} and {run.folder} have the same patients and seed {run.seed}: give one.")
    patients = {run.data: (run.folder, _patients(run.folder)) for run in runs}
    for (one, in_one), (other, in_other) in combinations(patients.values(), 2):
        if shared := len(in_one & in_other):
            raise StudyError(
                f"{one} and {other} share {shared} patients but not their manifest: they are no two sites."
            )


def pool(runs: Sequence[Opened]) -> pd.DataFrame:
    """Pooled table: of each measure and model one row per site and one for all sites.

    Returns
    -------
    DataFrame
        `measure`, `model`, `site`, `n_seeds`, `n_without` (runs without this estimate or its interval), `n`, `events`,
        `estimate` with `low` and `high`, `seed_sd`, `seed_low`, `seed_high`, and in the rows of all sites `n_sites`,
        `tau` (of AUCs on the scale of logits) and the prediction interval.
    """
    names = _site_names(runs)
    single = pd.DataFrame([{"site": names[run.data], **row} for run in runs for row in _estimates(run)])
    rows: list[dict[str, Any]] = []
    for (measure, model), table in single.groupby(["measure", "model"], sort=False):
        back = expit if measure == "auc" else np.asarray
        sites = [_site(part, back) for _, part in table.groupby("site", sort=False)]
        known = [site for site in sites if site["n_seeds"]]
        every = [*sites, *([_all_sites(known, back)] if known else [])]
        rows += [{"measure": measure, "model": model, **found} for found in every]
    return pd.DataFrame(rows).drop(columns=["effect", "variance"])


def _estimates(run: Opened) -> list[dict[str, Any]]:
    """Of one run, each measure of each model and each paired difference, with the effect to pool and its variance."""
    models = {name: run.results["models"].get(name) for name in MODELS}
    given = [(key, name, model) for key in MEASURES for name, model in models.items() if model]
    kept = [(key, name, model.get(key), model.get(f"{key}_ci"), model) for key, name, model in given]
    for pair in run.results["comparisons"]:
        if pair["data"] == run.results["judged"]:
            kept.append((DIFFERENCE, f"{pair['a']} - {pair['b']}", pair["difference"], pair["ci"], pair))
    rows = []
    for measure, name, value, ci, source in kept:
        limits = np.array([value, *(ci or ())], dtype=float)
        limits = logit(limits) if measure == "auc" else limits
        usable = limits.size == 3 and np.isfinite(limits).all() and limits[2] > limits[1]
        effect, low, high = limits if usable else (np.nan,) * 3
        sizes = {"n": source["n"], "events": source["n_events"]}
        error = (high - low) / (2 * Z95)
        rows.append({"measure": measure, "model": name, **sizes, "effect": effect, "variance": error**2})
    return rows


def _site(table: pd.DataFrame, back: Callable) -> dict[str, Any]:
    """Seeds of one site: their mean, its sampling error as that of a single run, and their spread."""
    used = table.dropna(subset=["effect"])
    values = back(used["effect"].to_numpy())
    effect, variance = used["effect"].mean(), used["variance"].mean()
    half = Z95 * np.sqrt(variance)
    counts = {"n_seeds": len(used), "n_without": len(table) - len(used)}
    sizes = {name: table[name].mean() for name in ("n", "events")}
    limits = {name: float(back(effect + part)) for name, part in (("estimate", 0), ("low", -half), ("high", half))}
    spread = {"seed_sd": float(np.std(values, ddof=1)) if len(values) > 1 else np.nan}
    spread |= {"seed_low": min(values, default=np.nan), "seed_high": max(values, default=np.nan)}
    found = {"site": table["site"].iloc[0], **counts, **sizes, **limits, **spread}
    return found | {"effect": effect, "variance": variance}


def _all_sites(sites: Sequence[Mapping[str, Any]], back: Callable) -> dict[str, Any]:
    """The summary of the sites; the between-seed SD is that within sites, weighted by its degrees of freedom."""
    found = random_effects([site["effect"] for site in sites], [site["variance"] for site in sites])
    tau = found.pop("tau")
    limits = {name: float(back(value)) for name, value in found.items()}
    counts = {name: sum(site[name] for site in sites) for name in ("n_seeds", "n_without", "n", "events")}
    spread = [(site["n_seeds"] - 1, site["seed_sd"] ** 2) for site in sites if site["n_seeds"] > 1]
    freedom = sum(df for df, _ in spread)
    seed_sd = np.sqrt(sum(df * square for df, square in spread) / freedom) if spread else np.nan
    return {"site": ALL, "n_sites": len(sites), **counts, **limits, "tau": tau, "seed_sd": float(seed_sd)}


def _site_names(runs: Sequence[Opened]) -> dict[tuple[str, str], str]:
    """A name for each manifest: the sites in its cohort, with the first run's name where two would be called alike."""
    first = {run.data: run.folder for run in reversed(runs)}
    words = {}
    for data, folder in first.items():
        cohort = read_table(folder / "cohort.csv")
        sites = cohort["site"].dropna().astype(str).unique() if "site" in cohort else ()
        words[data] = ", ".join(sorted(sites)) or folder.name
    named = list(words.values())
    return {data: name if named.count(name) == 1 else f"{name} ({first[data].name})" for data, name in words.items()}


def _patients(folder: Path) -> set[tuple]:
    cohort = read_table(folder / "cohort.csv")
    columns = [name for name in SAME_PATIENT if name in cohort]
    return set(cohort[columns].astype(str).itertuples(index=False, name=None))


def pooled_page(runs: Sequence[Opened], table: pd.DataFrame, *, pictures: bool = False) -> str:
    """What :func:`pool` gives as Markdown, with the pictures that :func:`write_pool` draws or without."""
    parts = [_heading(runs, table)]
    for measure, rows in table.groupby("measure", sort=False):
        parts += [f"## {_title(measure)}", _printed(rows)]
        parts += [f"![{caption('pooled', _drawn(runs, measure, rows))}]({measure}.png)"] if pictures else []
    return "\n\n".join(parts) + "\n"


def write_pool(runs: Sequence[Opened], out: Path) -> list[Path]:
    """Write ``pool.md``, ``pool.csv`` and a forest of each measure; their paths."""
    table = pool(runs)
    write_table(out / "pool.csv", table)
    paths = [out / "pool.md", out / "pool.csv"]
    for measure, rows in table.groupby("measure", sort=False):
        for ending, content in render(draw("pooled", _drawn(runs, measure, rows))).items():
            write_bytes(out / f"{measure}.{ending}", content)
            paths.append(out / f"{measure}.{ending}")
    write_bytes(out / "pool.md", pooled_page(runs, table, pictures=True).encode())
    return paths


def _title(measure: Hashable) -> str:
    return MEASURES.get(str(measure), "Difference in AUC, paired")


def _are_simulated(runs: Sequence[Opened]) -> bool:
    return all(
        run.results["oracle"] or are_simulated(read_table(run.folder / "cohort.csv")["patient_id"]) for run in runs
    )


def _drawn(runs: Sequence[Opened], measure: Hashable, rows: pd.DataFrame) -> pd.DataFrame:
    """What the forest of one measure draws."""
    reference = {"auc": 0.5, "calibration_slope": 1.0}.get(str(measure), 0)
    return rows.assign(simulated=_are_simulated(runs), quantity=_title(measure), reference=reference)


def _heading(runs: Sequence[Opened], table: pd.DataFrame) -> str:
    sites = table.loc[table["site"].ne(ALL), "site"].nunique()
    lines = [f"# Pooled runs: {len(runs)} runs, {sites} site{'s' * (sites > 1)}", *(f"- {note}" for note in NOTES)]
    if _are_simulated(runs):
        lines.append("- All patients are simulated: these figures say that the method works, nothing of care.")
    if sites == 1:
        lines.append("- One site: there is nothing to summarize between sites, and no between-site variance.")
    if "local changes" in runs[0].provenance["versions"]["commit"]:
        lines.append("- The code had local changes beyond its commit: that all runs had the same ones was not checked.")
    listed = ", ".join(f"{for_markdown(run.folder.name)} (seed {run.seed})" for run in runs)
    return "\n".join([lines[0], "", *lines[1:], f"- Runs: {listed}."])


def _printed(rows: pd.DataFrame) -> str:
    """One measure as a Markdown table."""

    def interval(row: Any, low: str, high: str) -> str:
        ends = getattr(row, low, np.nan), getattr(row, high, np.nan)
        return "-" if np.isnan(ends).any() else f"{ends[0]:.2f} to {ends[1]:.2f}"

    lines = [PRINTED, ["---"] * len(PRINTED)]
    for row in rows.itertuples():
        figures = [f"{value:.3f}" if np.isfinite(value) else "-" for value in (row.estimate, row.seed_sd, row.tau)]
        sizes = f"{row.n:.0f} ({row.events:.0f})", f"{row.n_seeds:.0f} ({row.n_without:.0f})"
        names = for_markdown(row.model), for_markdown(row.site), *sizes
        ahead = interval(row, "prediction_low", "prediction_high")
        lines.append([*names, figures[0], interval(row, "low", "high"), *figures[1:], ahead])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def compare(one: Opened, other: Opened) -> pd.DataFrame:
    """Every parameter, version and checksum in which two runs differ, and every number of their results.

    Returns
    -------
    DataFrame
        `part` (parameters, version, data, results), `name`, `a`, `b`; of numbers `a_ci`, `b_ci` and `difference` too.
        Intervals of two runs with the same patients are not independent: they do not test the difference.
    """
    sides = [_parts(run) for run in (one, other)]
    rows: list[dict[str, Any]] = []
    for part in sides[0]:
        a, b = (side[part] for side in sides)
        differing = [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]
        rows += [{"part": part, "name": name, "a": a.get(name), "b": b.get(name)} for name in differing]
    a, b = (_flat(run.results) for run in (one, other))
    for name in dict.fromkeys([*a, *b]):
        pair: tuple[Any, Any] = a.get(name), b.get(name)
        numbers = [value for value in pair if type(value) in (int, float)]
        if not numbers or name.endswith(("_ci[0]", "_ci[1]", ".ci[0]", ".ci[1]")):
            continue
        row = {"part": "results", "name": name, "a": pair[0], "b": pair[1]}
        row |= {f"{side}_ci": _interval_of(flat, name) for side, flat in (("a", a), ("b", b))}
        rows.append(row | {"difference": pair[1] - pair[0] if len(numbers) == 2 else None})
    columns = ["part", "name", "a", "a_ci", "b", "b_ci", "difference"]
    return pd.DataFrame(rows).reindex(columns=columns).astype(object)


def _parts(run: Opened) -> dict[str, dict[str, Any]]:
    """What a run was made from."""
    steps = {name: step["parameters"] for name, step in run.provenance["notebooks"].items()}
    data = {name: run.provenance[name] for name in ("manifest_sha256", "scans_sha256")}
    return {"parameters": _flat(steps), "version": run.provenance["versions"], "data": data}


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Values of nested mappings and lists by their paths; a comparison of models by its names, not its place."""
    if isinstance(content, Mapping):
        pairs = [(f"{prefix}.{name}" if prefix else str(name), value) for name, value in content.items()]
    elif isinstance(content, list):
        keys = [
            f"{v['a']}-{v['b']}" if isinstance(v, Mapping) and {"a", "b"} <= set(v) else i
            for i, v in enumerate(content)
        ]
        pairs = [(f"{prefix}[{key}]", value) for key, value in zip(keys, content, strict=True)]
    else:
        return {prefix: content}
    return {path: value for name, part in pairs for path, value in _flat(part, name).items()}


def _interval_of(flat: Mapping[str, Any], name: str) -> str:
    stem = name.removesuffix(".difference") + (".ci" if name.endswith(".difference") else "_ci")
    low, high = flat.get(f"{stem}[0]"), flat.get(f"{stem}[1]")
    return "" if low is None or high is None else f"{low:.3g} to {high:.3g}"
