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
        results = results_of("demo", simulated=simulated)
        results |= changed
        results["models"] = {name: model for name, model in results["models"].items() if name != without}
        (run / "results.json").write_text(json.dumps(results))
        write_source(run, tmp_path / "source")
        return tmp_path / "source"

    return write


@pytest.fixture
def page(source):
    return lambda **options: (source(**options) / "index.md").read_text(encoding="utf-8")


def test_the_auc_of_every_model_is_printed_with_its_interval(page, results_of):
    model = results_of("demo", simulated=True)["models"]["integrated"]
    low, high = model["auc_ci"]
    (line,) = [line for line in page().splitlines() if line.startswith("| AUC |")]
    line = line.replace("\u2060", "")  # which keeps an interval in one line
    assert line.endswith(f" {model['auc']:.2f} ({low:.2f}–{high:.2f}) |")


def test_simulated_patients_are_called_simulated(page):
    text = page()
    assert "Simulated patients, for research only" in text
    assert "60 simulated test patients, 15 with expansion" in text
    assert "| Oracle's AUC | 0.80 | 0.80 | 0.80 |" in text


def test_without_test_patients_the_table_is_of_the_development_patients(page):
    text = page(judged="development", n={"development": 90, "he_development": 20, "test": 0, "he_test": 0})
    assert "90 simulated development patients, cross-fitted, 20 with expansion" in text


def test_real_patients_are_not_called_simulated(page):
    text = page(simulated=False)
    assert "imulated" not in text
    assert "For research only" in text


def test_real_patients_have_no_case_on_the_site_unless_shared(source):
    folder = source(simulated=False)
    assert "unless `hepred site --share` is given" in (folder / "cases.md").read_text(encoding="utf-8")
    assert not (folder / "_static" / "cases").exists()


@pytest.mark.parametrize("simulated", [True, False])
def test_only_of_simulated_patients_the_data_of_figures_are_published(source, simulated):
    folder = source(simulated=simulated)
    assert (folder / "_static" / "data" / "bland-altman.csv").is_file() == simulated
    assert ("_static/data" in (folder / "figures.md").read_text(encoding="utf-8")) == simulated


def test_simulated_patients_have_their_cases_on_the_site(source):
    assert len(list((source() / "_static" / "cases").glob("*.js"))) == 2


def test_a_model_that_the_study_has_not_is_named_as_absent(page):
    text = page(without="integrated")
    assert "Not part of this study: the integrated model." in text
    assert "| Measure | Image | Clinical |" in text


def test_every_chapter_is_listed_with_its_question(page):
    assert "- [05 Clinical](05_clinical_to_he.ipynb): Which variables?" in page()


def test_the_list_of_figures_refers_to_each_by_number(source):
    text = (source() / "figures.md").read_text(encoding="utf-8")
    assert text.count("{numref}") == 2
    assert "{numref}`fig-roc`" in text
