"""The risk page's fields and numbers come from the study's own files."""

import json
import re
import shutil

import pytest

from hepred_lib.study.files import read_json
from hepred_lib.study.site import read_risk_models, write_source
from tests.study.small_run import change_json


@pytest.fixture
def read(by_hand):
    models, fields = read_risk_models(by_hand)
    return {model["name"]: model for model in models}, {field["name"]: field for field in fields}


@pytest.fixture
def page(by_hand, tmp_path):
    """The page of a study whose files a test may change before."""
    run = tmp_path / "run"
    shutil.copytree(by_hand, run, ignore=shutil.ignore_patterns("site"))

    def write(change=lambda run: None) -> str:
        change(run)
        write_source(run, tmp_path / "source")
        return (tmp_path / "source" / "risk.md").read_text(encoding="utf-8")

    return write


def carried(page: str) -> dict:
    return json.loads(re.search(r'id="risk-models">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_carries_what_the_study_stores_to_the_last_digit_and_asks_for_each_predictor_once(by_hand, read, page):
    models, fields = read
    text = page()
    assert carried(text)["models"] == list(models.values())
    for name, model in models.items():
        stored = read_json(by_hand / f"{name}_model.json")
        logistic = stored["logistic"]
        assert [term["coefficient"] for term in model["terms"]] == list(logistic["coefficients"].values())
        assert [model["covariance"], model["intercept"]] == [logistic["covariance"], logistic["intercept"]]
        assert model["nomogram"] == stored["nomogram"]
    wanted = {term["predictor"] for model in models.values() for term in model["terms"]}
    assert set(fields) == wanted
    assert sorted(re.findall(r'<(?:input type="text"|select) id="risk-(\w+)"', text)) == sorted(wanted)


def test_a_category_is_a_choice_and_a_number_keeps_the_manifests_limits(read):
    _, fields = read
    assert fields["location"]["options"]["basal_ganglia"] == "basal ganglia"
    assert fields["male"]["options"] == {"0": "female", "1": "male"}
    assert (fields["gcs"]["low"], fields["gcs"]["high"], fields["gcs"]["whole"]) == (3, 15, True)


def test_sliders_run_over_what_development_patients_had(read, patients):
    age = read[1]["age"]
    assert age["observed"] == [patients["age"].min(), patients["age"].max()]
    assert float(age["least"]) <= age["observed"][0] < float(age["start"]) < age["observed"][1] <= float(age["most"])


def test_the_spread_of_the_score_is_that_of_the_studys_networks(page):
    def describe(run):
        (run / "image_model.json").write_text(json.dumps({"scales": [{}] * 3, "between_network_sd": 0.4}))

    written = page(describe)
    (score,) = [field for field in carried(written)["fields"] if field["name"] == "dl_score"]
    assert (score["spread"], score["networks"]) == (0.4, 3)
    assert "0.40 SD apart" in written


def test_without_a_nomogram_there_are_no_points(page):
    def drop(run):
        for name in ("clinical", "integrated"):
            change_json(run / f"{name}_model.json", lambda content: content.pop("nomogram"))

    text = page(drop)
    assert "This study has no nomogram." in text
    assert "data-points" not in text


def test_a_study_without_images_has_the_clinical_model_only(page):
    text = page(lambda run: (run / "integrated_model.json").unlink())
    assert [model["name"] for model in carried(text)["models"]] == ["clinical"]
    assert "Integrated model" not in text
    assert "dl_score" not in text


def test_a_model_without_predictors_still_gives_its_one_probability(page):
    def empty(run):
        (run / "integrated_model.json").unlink()
        none = {"coefficients": {}, "covariance": [[0.04]]}
        change_json(run / "clinical_model.json", lambda content: content["logistic"].update(none))

    text = page(empty)
    assert carried(text)["fields"] == []
    assert "nothing to enter" in text


def test_names_of_a_studys_own_columns_are_text_in_the_page(page):
    hostile = "<script>alert(1)</script>"

    def rename(run):
        (run / "integrated_model.json").unlink()
        change_json(
            run / "clinical_model.json",
            lambda content: content["logistic"].update(
                coefficients={f"location[{hostile}]": 0.5}, covariance=[[0.04, 0], [0, 0.04]]
            ),
        )
        change_json(run / "imputation.json", lambda content: content["levels"].update(location=["lobar", hostile]))

    assert "<script>alert" not in page(rename)
