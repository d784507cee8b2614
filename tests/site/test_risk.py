"""The risk page's fields and numbers come from the study's own files."""

import json
import re
from dataclasses import replace

import pytest

from hepred_lib.site.risk import points_html, read_risk_models, risk_html
from hepred_lib.study.files import read_json


@pytest.fixture
def read(by_hand):
    models, fields = read_risk_models(by_hand)
    return {model.name: model for model in models}, {field.name: field for field in fields}


def carried(page: str) -> dict:
    return json.loads(re.search(r'id="risk-models">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_carries_the_stored_coefficients_to_the_last_digit(by_hand):
    page = carried(risk_html(*read_risk_models(by_hand)))
    stored = read_json(by_hand / "integrated_model.json")["logistic"]
    (model,) = [model for model in page["models"] if model["name"] == "integrated"]
    assert [term["coefficient"] for term in model["terms"]] == list(stored["coefficients"].values())
    assert model["covariance"] == stored["covariance"]
    assert model["intercept"] == stored["intercept"]


def test_each_predictor_is_entered_once_for_all_models(read):
    models, fields = read
    wanted = {term["predictor"] for model in models.values() for term in model.terms}
    assert set(fields) == wanted


def test_a_category_is_a_choice_and_a_number_keeps_the_manifests_limits(read):
    _, fields = read
    assert dict(fields["location"].options)["basal_ganglia"] == "basal ganglia"
    assert dict(fields["male"].options) == {"0": "female", "1": "male"}
    assert (fields["gcs"].low, fields["gcs"].high, fields["gcs"].whole) == (3, 15, True)


def test_sliders_run_over_what_development_patients_had(read, patients):
    low, middle, high = read[1]["age"].observed
    assert (low, high) == (patients["age"].min(), patients["age"].max())
    assert low < middle < high


def test_points_are_those_of_the_nomogram_that_the_study_keeps(by_hand, read):
    assert read[0]["clinical"].nomogram == read_json(by_hand / "clinical_model.json")["nomogram"]


def test_without_a_nomogram_there_are_no_points(read):
    models, fields = read
    assert points_html([replace(models["clinical"], nomogram=None)], list(fields.values())).startswith("<p>")


def test_a_study_without_images_has_the_clinical_model_only(by_hand, tmp_path):
    for name in ("clinical_model.json", "imputation.json"):
        (tmp_path / name).write_bytes((by_hand / name).read_bytes())
    models, fields = read_risk_models(tmp_path)
    page = risk_html(models, fields) + points_html(models, fields)
    assert [model.name for model in models] == ["clinical"]
    assert "Integrated" not in page
    assert "dl_score" not in page


def test_a_model_without_predictors_still_gives_its_one_probability(by_hand, tmp_path):
    content = read_json(by_hand / "clinical_model.json")
    content["logistic"] |= {"coefficients": {}, "covariance": [[0.04]]}
    (tmp_path / "clinical_model.json").write_text(json.dumps(content))
    (tmp_path / "imputation.json").write_bytes((by_hand / "imputation.json").read_bytes())
    models, fields = read_risk_models(tmp_path)
    assert fields == []
    assert "nothing to enter" in risk_html(models, fields)
