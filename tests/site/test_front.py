"""The front page says what the results say, and calls simulated what is."""

import json
import shutil

import pytest

from hepred_lib.study.site import write_source


@pytest.fixture
def source(results_of, by_hand, tmp_path):
    def write(*, simulated: bool = True, without: str = "", **changed):
        run = tmp_path / "run"
        shutil.copytree(by_hand, run, ignore=shutil.ignore_patterns("site"))
        results = results_of(simulated=simulated) | changed
        results["models"] = {name: model for name, model in results["models"].items() if name != without}
        (run / "results.json").write_text(json.dumps(results))
        write_source(run, tmp_path / "source")
        return tmp_path / "source"

    return write


def test_the_front_page_of_simulated_patients_says_so_and_lists_figures_of_merit_chapters_and_files(source, results_of):
    folder, model = source(), results_of(simulated=True)["models"]["integrated"]
    front, figures = ((folder / name).read_text(encoding="utf-8") for name in ("index.md", "figures.md"))
    low, high = model["auc_ci"]
    (line,) = [line for line in front.splitlines() if line.startswith("| AUC |")]
    line = line.replace("\u2060", "")  # which keeps an interval in one line
    assert line.endswith(f" {model['auc']:.2f} ({low:.2f}–{high:.2f}) |")
    assert "Simulated patients, for research only" in front
    assert "40 simulated test patients, 10 with expansion" in front
    assert "| Oracle's AUC | 0.80 | 0.82 | 0.88 |" in front
    assert "- [05 Clinical](05_clinical_to_he.ipynb): Which variables?" in front
    assert figures.count("{numref}") == 2
    assert "{numref}`fig-roc`" in figures
    assert "_static/data" in figures
    assert (folder / "_static" / "data" / "bland-altman.csv").is_file()
    assert len(list((folder / "_static" / "cases").glob("*.js"))) == 2


def test_real_patients_are_not_called_simulated_and_none_is_shown_unless_shared(source):
    folder = source(simulated=False)
    front, cases, figures = ((folder / f"{name}.md").read_text("utf-8") for name in ("index", "cases", "figures"))
    assert "imulated" not in front
    assert "For research only" in front
    assert "unless `hepred site --share` is given" in cases
    assert "_static/data" not in figures
    assert not (folder / "_static" / "cases").exists()
    assert not (folder / "_static" / "data").exists()


def test_without_test_patients_the_table_is_of_the_development_patients_and_an_absent_model_is_named(source):
    n = {"development": 90, "he_development": 20, "test": 0, "he_test": 0}
    text = (source(judged="development", n=n, without="integrated") / "index.md").read_text(encoding="utf-8")
    assert "90 simulated development patients, cross-fitted, 20 with expansion" in text
    assert "Not part of this study: the integrated model." in text
    assert "| Measure | Image | Clinical |" in text
