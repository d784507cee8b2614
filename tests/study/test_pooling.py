"""Pooling: which variance is which, what is refused, and what a comparison lists."""

import copy

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from hepred_lib.errors import StudyError
from hepred_lib.stats.subgroups import random_effects
from hepred_lib.study.files import write_table
from hepred_lib.study.pooling import ALL, DIFFERENCE, Opened, compare, pool, pooled_page, require_poolable, write_pool

RECORDS = {
    "05_clinical_to_he": {"parameters": {"candidates": "age gcs", "seed": 1}},
    "07_roc_calibration_figures": {"parameters": {"seed": 1}},
}


def made_run(folder, site="A", seed=1, auc=0.7, error=0.3, first=0):
    """A run of one model with its AUC and the standard error of its logit, and 40 patients."""
    folder.mkdir()
    cohort = pd.DataFrame({"patient_id": [f"P{first + i}" for i in range(40)], "age": 60.0, "site": site})
    write_table(folder / "cohort.csv", cohort)
    ends = [float(expit(logit(auc) + sign * 1.959964 * error)) for sign in (-1, 1)]
    slope = {"calibration_slope": 1.0, "calibration_slope_ci": [0.5, 1.5]}
    level = {"calibration_in_the_large": 0.0, "calibration_in_the_large_ci": [-0.4, 0.4]}
    model = {"n": 40, "n_events": 10, "auc": auc, "auc_ci": ends, **slope, **level}
    pair = {"a": "integrated", "b": "clinical", "data": "test", "difference": 0.05, "ci": [-0.05, 0.15]}
    results = {
        **{"he_definition": "6ml_or_33pct", "image_source": "column", "judged": "test", "oracle": None},
        **{"models": {"clinical": model}, "comparisons": [{**pair, "n": 40, "n_events": 10}]},
    }
    provenance = {
        **{"manifest_sha256": f"{site}{first}", "scans_sha256": "", "notebooks": copy.deepcopy(RECORDS)},
        "versions": {"hepred": "0.2.0", "commit": "abc"},
    }
    for record in provenance["notebooks"].values():
        record["parameters"]["seed"] = seed
    return Opened(folder, results, provenance)


@pytest.fixture
def runs(tmp_path):
    """Two seeds at each of two sites."""
    made = [("A", 1, 0.70, 0), ("A", 2, 0.74, 0), ("B", 1, 0.60, 100), ("B", 2, 0.60, 100)]
    return [made_run(tmp_path / f"{site}{seed}", site, seed, auc, first=first) for site, seed, auc, first in made]


def row_of(table, site, measure="auc"):
    return table[table["site"].eq(site) & table["measure"].eq(measure)].iloc[0]


def test_identical_studies_have_no_between_variance_and_never_a_narrower_interval():
    found = random_effects([1.0, 1.0, 1.0], [0.03, 0.03, 0.03])
    assert found["tau"] == 0
    # t with 2 degrees of freedom times the usual standard error: the Hartung-Knapp scale would be zero.
    assert found["high"] - 1 == pytest.approx(4.302653 * 0.1, rel=1e-6)


def test_it_agrees_with_statsmodels_where_sites_differ():
    from statsmodels.stats.meta_analysis import combine_effects

    effect, variance = np.array([0.2, 1.4, 0.7, 2.0]), np.array([0.05, 0.2, 0.1, 0.3])
    theirs = combine_effects(effect, variance, method_re="pm", use_t=True, atol=1e-10)
    ours = random_effects(effect, variance)
    assert ours["tau"] ** 2 == pytest.approx(theirs.tau2, rel=1e-4)
    assert (ours["low"], ours["high"]) == pytest.approx(theirs.conf_int()[3], rel=1e-4)


@pytest.mark.parametrize(("effect", "variance"), [([], []), ([1.0], [0.0]), ([np.nan], [1.0]), ([1.0, 2.0], [1.0])])
def test_estimates_without_a_variance_are_refused(effect, variance):
    with pytest.raises(ValueError, match="effect"):
        random_effects(effect, variance)


def test_more_seeds_do_not_narrow_the_interval_of_a_site(tmp_path):
    many = [made_run(tmp_path / str(seed), seed=seed) for seed in range(1, 9)]
    one, eight = row_of(pool(many[:2]), "A"), row_of(pool(many), "A")
    assert (eight["low"], eight["high"]) == pytest.approx((one["low"], one["high"]))
    assert (eight["n_seeds"], eight["seed_sd"]) == (8, pytest.approx(0))


def test_each_site_counts_once_however_many_seeds_it_has(runs):
    both, fewer = pool(runs), pool([*runs[:2], runs[3]])
    for name in ("estimate", "low", "high", "tau"):
        assert row_of(both, ALL)[name] == pytest.approx(row_of(fewer, ALL)[name])
    assert row_of(both, ALL)["n_sites"] == 2


def test_the_page_has_every_site_and_a_folder_the_pictures_too(runs, tmp_path):
    page = pooled_page(runs, pool(runs))
    assert "| clinical | A | 40 (10) | 2 (0) | 0.72" in page
    assert "](auc.png)" not in page
    written = write_pool(runs, tmp_path / "out")
    assert sorted(written) == sorted((tmp_path / "out").iterdir())
    assert {"pool.md", "pool.csv", "auc.pdf", "auc.png"} <= {path.name for path in written}
    assert "](auc.png)" in (tmp_path / "out" / "pool.md").read_text(encoding="utf-8")


def test_patients_with_identifiers_of_the_simulation_are_called_simulated(tmp_path, runs):
    assert "simulated" not in pooled_page(runs, pool(runs))
    for run in runs:
        cohort = pd.read_csv(run.folder / "cohort.csv")
        write_table(run.folder / "cohort.csv", cohort.assign(patient_id="SIM-" + cohort["patient_id"]))
    assert "patients are simulated" in pooled_page(runs, pool(runs))
    write_pool(runs, tmp_path / "out")
    assert "Simulated data." in (tmp_path / "out" / "pool.md").read_text(encoding="utf-8")


def test_the_between_seed_sd_is_that_within_sites(runs):
    table = pool(runs)
    assert row_of(table, "A")["seed_sd"] == pytest.approx(0.04 / np.sqrt(2))
    assert row_of(table, ALL)["seed_sd"] == pytest.approx(0.02)  # root of (0.0008 + 0) / 2
    assert row_of(table, ALL, DIFFERENCE)["estimate"] == pytest.approx(0.05)


def test_a_run_without_an_interval_is_counted_and_left_out(runs):
    runs[0].results["models"]["clinical"]["auc_ci"] = None
    found = row_of(pool(runs), "A")
    assert (found["n_seeds"], found["n_without"], found["estimate"]) == (1, 1, pytest.approx(0.74))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run.results.update(he_definition="6ml"), "definition of expansion is '6ml_or_33pct' in"),
        (lambda run: run.provenance["versions"].update(commit="abd"), "commit is 'abc' in"),
        (lambda run: run.provenance["versions"].update(hepred="0.3.0"), "code version is"),
        (
            lambda run: run.provenance["notebooks"]["05_clinical_to_he"]["parameters"].update(candidates="age"),
            "candidates of 05_clinical_to_he is 'age gcs' in",
        ),
        (lambda run: run.provenance["notebooks"].pop("05_clinical_to_he"), "candidates of 05"),
    ],
)
def test_runs_of_other_designs_are_refused(runs, change, message):
    require_poolable(runs)
    change(runs[2])
    with pytest.raises(StudyError, match=message):
        require_poolable(runs)


def test_a_seed_given_twice_and_patients_of_two_manifests_are_refused(tmp_path, runs):
    with pytest.raises(StudyError, match="same patients and seed 1: give one"):
        require_poolable([*runs, runs[0]])
    edited = made_run(tmp_path / "edited", "C", first=20)
    with pytest.raises(StudyError, match="share 20 patients"):
        require_poolable([*runs, edited])
    with pytest.raises(StudyError, match="at least two runs"):
        require_poolable(runs[:1])


def test_a_comparison_lists_what_differs_and_every_number_with_its_interval(runs):
    table = compare(runs[0], runs[1]).set_index("name")
    changed = list(table.index[table["part"].eq("parameters")])
    assert changed == ["05_clinical_to_he.seed", "07_roc_calibration_figures.seed"]
    auc = table.loc["models.clinical.auc"]
    assert auc["difference"] == pytest.approx(0.04)
    assert auc["a_ci"] == "0.564 to 0.808"
    assert table.loc["comparisons[integrated-clinical].difference", "a_ci"] == "-0.05 to 0.15"
    assert not table["part"].isin(["data", "version"]).any()
