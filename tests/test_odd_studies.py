"""Studies of odd tables, run through as a user runs them: a result or one line, and no name that is read as markup."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hepred_lib.study.files import read_json
from hepred_lib.study.site import build_site
from ich_phantom.cohort import simulate_cohort
from tests.faults.harness import hepred, succeed
from tests.test_tables_only_study import said

pytestmark = pytest.mark.book
NAMES = (
    "$$",
    r"\frac{1}{0}$",
    "<script>alert(1)</script>",
    "50 % {download}`x` #1 & _a_^2 ~",
    "München 東京 🏥 | *b* `c` [l](http://x)",
    "x" * 300,
    "",
)
BROKEN = re.compile(r"\bnan\b|\bNone\b|\binf\b|\(\)|\*\*\*\*|[;,:] ?\.|\.\.|\b0 of 0\b|: ;|; ;")
CANDIDATES = "age onset_to_ct_h gcs copy total constant one seldom"


def simulated(root: Path, patients: int) -> pd.DataFrame:
    simulate_cohort(root / "cohort", n_patients=patients, seed=1, with_scans=False)
    table = pd.read_csv(root / "cohort" / "manifest.csv")
    return table[table["he"].notna()].reset_index(drop=True)


def write_study(root: Path, table: pd.DataFrame, *, candidates: str = "", image_source: str = "column") -> Path:
    table.to_csv(root / "manifest.csv", index=False)
    few = {"n_imputations": 2, "n_resamples": 6}
    parameters = {
        "00_the_paper": {"n_simulations": 20},
        "04_image_to_he": {"n_resamples": 6},
        "05_clinical_to_he": few | ({"candidates": candidates} if candidates else {}),
        "06_integrated_to_he": few,
        "07_roc_calibration_figures": {"n_resamples": 10},
    }
    if image_source == "none":
        parameters = {name: parameters[name] for name in parameters if name[:2] not in ("04", "06")}
    study = {"study": "odd", "manifest": "manifest.csv", "seed": 3, "image_source": image_source, "folds": 2}
    path = root / "odd.yaml"
    path.write_text(yaml.safe_dump(study | {"parameters": parameters}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A study with names that other programs read as markup, in every column of text, and with odd candidates."""
    root = tmp_path_factory.mktemp("odd")
    table = simulated(root, 700)
    n, he = len(table), table["he"].to_numpy()
    rng = np.random.default_rng(0)
    names = np.array(NAMES)[np.arange(n) % len(NAMES)]
    table = table.assign(
        site=names,
        hospital=names[::-1],
        remark=names,
        dl_score=(10 * he + rng.random(n)).round(4),
        copy=table["gcs"],
        total=table["gcs"] + table["onset_to_ct_h"],
        constant=3,
        one=(np.arange(n) == np.flatnonzero(he)[0]).astype(int),
        seldom=np.where(np.arange(n) % 60 == 0, rng.normal(size=n).round(3), np.nan),
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONWARNINGS", "default")
        succeed("run", write_study(root, table, candidates=CANDIDATES), "--cores", 2)
    return root / "runs" / "odd"


def test_the_collinear_and_constant_candidates_are_named_in_the_results(run):
    notes = " ".join(read_json(run / "results.json")["notes"])
    assert "Constant in development, so never selected: constant" in notes
    assert "Collinear with candidates before them, so never selected: copy, total" in notes
    assert "separate the outcome" in notes


def test_tables_have_no_nan_as_text(run):
    for path in [*run.glob("tables/*.tex"), *run.glob("report/*.md")]:
        assert not re.search(r"\bnan\b", path.read_text(encoding="utf-8")), path.name
    inflation = pd.read_csv(run / "tables" / "variance_inflation.csv")
    assert np.isinf(inflation["gvif"]).any()


def test_sentences_are_whole(run):
    assert not [sentence for sentence in said(run) if BROKEN.search(sentence)]
    # Of matplotlib, for a sign that its font has not.
    assert not [path for path in run.glob("notebooks/*.ipynb") if "Glyph " in path.read_text(encoding="utf-8")]


def test_latex_reads_no_name_as_a_command(run):
    text = (run / "tables" / "subgroups.tex").read_text(encoding="utf-8")
    assert r"\$\$" in text
    assert r"\textbackslash{}frac\{1\}\{0\}\$" in text
    assert r"\fbox{\tiny 6771}" in text
    assert all(ord(sign) < 0x180 for path in run.glob("tables/*.tex") for sign in path.read_text(encoding="utf-8"))


def test_every_figure_is_drawn(run):
    assert (run / "figures" / "subgroups.png").stat().st_size > 10_000
    drawn = {path.stem for path in run.glob("figures/*.png")}
    assert {"roc", "calibration", "decision_curve", "odds_ratios_integrated", "inclusion_frequency"} <= drawn


def test_no_name_is_live_html_and_the_run_is_only_read(run, tmp_path):
    before = sorted(run.rglob("*"))
    site = build_site(run, tmp_path / "pages" / "site", reference=False).parent
    assert sorted(run.rglob("*")) == before
    assert not (site / "api").exists()
    for path in site.rglob("*.html"):
        scripts = re.findall(r"(?is)<script\b[^>]*>(.*?)</script", path.read_text(encoding="utf-8"))
        assert not [script for script in scripts if "alert" in script], path.name


def test_the_card_says_simulated_without_a_named_truth_and_repeats_no_remark(run):
    card = (run / "report" / "data_card.md").read_text(encoding="utf-8")
    assert "The data are simulated" in card
    assert "Best achievable" not in card
    assert "remark" not in card


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> pd.DataFrame:
    """120 patients."""
    return simulated(tmp_path_factory.mktemp("few"), 120)


def test_what_cannot_be_studied_is_refused_in_one_line(few, tmp_path):
    split = np.where(few["he"].eq(0) & (few.index % 3 == 0), "test", "development")
    study = write_study(tmp_path, few.assign(split=split), image_source="none")
    done = hepred("run", study, "--cores", 1, "--", "--quiet", "all", "--until", "01_cohort")
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("hepred: ")]
    assert done.returncode == 2
    assert "the test set must hold at least 1 patients with expansion" in said
    assert "Traceback" not in done.stderr


def test_the_smallest_study_runs(few, tmp_path):
    table = pd.concat([few[few["he"].eq(1)].head(6), few[few["he"].eq(0)].head(6)]).assign(site="A$")
    succeed("run", write_study(tmp_path, table, image_source="none"), "--cores", 2)
    assert read_json(tmp_path / "runs" / "odd" / "results.json")["n"]["patients"] == 12
