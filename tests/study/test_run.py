"""A notebook opens its run: parameters checked, unknown injected ones refused, the root found from anywhere."""

import pytest

from hepred_lib.errors import StudyError
from hepred_lib.study.definition import (
    PROJECT,
    notebook_defaults,
)
from hepred_lib.study.files import read_json
from hepred_lib.study.run import open_notebook, open_run, project_root


@pytest.fixture
def namespace(tmp_path):
    return notebook_defaults("05_clinical_to_he") | {"runs_dir": str(tmp_path)}


def test_a_notebook_opens_the_folder_of_its_study(namespace, tmp_path):
    run = open_notebook("05_clinical_to_he", namespace)
    assert run.folder == tmp_path / "demo"
    assert run.parameters["alpha"] == 0.05
    assert run.path("figures", "roc.pdf").parent.is_dir()


def test_results_are_recorded_with_all_parameters(namespace):
    run = open_notebook("05_clinical_to_he", namespace)
    record = read_json(run.record(auc=0.8))
    assert record["parameters"] == dict(run.parameters)
    assert record["results"] == {"auc": 0.8}


def test_an_injected_parameter_that_the_notebook_does_not_know_is_refused(namespace):
    injected = namespace | {"_ih": ["", "# Parameters\nsed = 3\n"], "sed": 3}
    with pytest.raises(StudyError, match=r"no parameter 'sed' .did you mean 'seed'"):
        open_notebook("05_clinical_to_he", injected)


def test_an_injected_parameter_that_it_knows_passes(namespace):
    assert open_notebook("05_clinical_to_he", namespace | {"_ih": ["# Parameters\nseed = 7\n"]})


def test_a_parameter_of_the_wrong_type_is_refused(namespace):
    with pytest.raises(StudyError, match="'seed' must be int, got '7'"):
        open_notebook("05_clinical_to_he", namespace | {"seed": "7"})


def test_the_root_is_found_from_the_notebooks_folder_and_set_by_the_runner(monkeypatch, tmp_path):
    monkeypatch.delenv("HEPRED_ROOT", raising=False)
    monkeypatch.chdir(PROJECT / "notebooks")
    assert project_root() == PROJECT
    monkeypatch.setenv("HEPRED_ROOT", str(tmp_path))
    assert open_run("mine").folder == tmp_path / "runs" / "mine"
