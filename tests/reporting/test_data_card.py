"""The data card: counted from the cohort, told apart by whether patients are simulated."""

import numpy as np
import pandas as pd
import pytest

from hepred_lib.reporting.data_card import characteristics, data_card
from hepred_lib.reporting.evidence import Evidence
from hepred_lib.reporting.marginals import EFFECTS, PUBLISHED
from hepred_lib.reporting.simulated_card import beside_published
from hepred_lib.study.files import read_json, write_json
from ich_phantom.growth import CLINICAL
from ich_phantom.patients import MISSING, SIGNS

FEW = pd.DataFrame(
    {
        "patient_id": list("abcde"),
        "split": ["development"] * 3 + ["test"] * 2,
        "he": [1.0, 0.0, 0.0, 1.0, np.nan],
        "age": [50.0, 60.0, 80.0, 70.0, 20.0],
        "sex": ["M", "F", None, "M", "M"],
        "location": ["lobar", "lobar", "thalamus", "lobar", None],
    }
)


def as_real(run):
    record = read_json(run / "records" / "01_cohort.json")
    record["parameters"]["truth"] = ""
    write_json(run / "records" / "01_cohort.json", record)


def test_characteristics_are_counted_by_hand():
    table = characteristics(FEW).set_index("variable")
    development, test = "development (n = 3)", "test (n = 1)"
    assert table.loc["he", development] == "33.3 % (1)"
    assert table.loc["age [y]", development] == "60 (55-70)"
    assert table.loc["age [y]", test] == "70 (70-70)"
    assert table.loc["sex: M", [development, "missing"]].tolist() == ["50.0 % (1)", "25.0 % (1)"]
    assert table.loc["location: lobar", development] == "66.7 % (2)"


def test_patients_without_an_outcome_are_not_described():
    assert characteristics(FEW).equals(characteristics(FEW.dropna(subset=["he"])))


def test_a_cohort_stands_beside_published_ones():
    table = beside_published(FEW).set_index("variable")
    assert table.loc["hematoma expansion", "this cohort"] == "50.0 %"
    assert table.loc["lobar", ["this cohort", "published"]].tolist() == ["75.0 %", "30 %"]
    assert "men" in table.index
    assert "diabetes" not in table.index


def test_every_published_figure_names_its_source():
    assert all(row.source and (row.source != "-") == ("found" not in row.published) for row in PUBLISHED)


def test_every_clinical_effect_of_the_simulation_is_set_beside_a_published_one():
    assert [name for name, *_ in EFFECTS] == list(CLINICAL)


def test_a_simulated_cohorts_card_holds_its_law_and_what_gives_it_away(run):
    card = data_card(Evidence(run))
    assert card.startswith(
        "# Data card: the simulated cohort of study small\n\n**No person stands behind these data.**"
    )
    assert "about twice the published size" in card
    for heading in ("Effects", "The best possible prediction", "Missing values", "What gives it away", "Licence"):
        assert f"\n## {heading}\n" in card
    assert all(f"| {name.replace('_', ' ')} |" in card for name in SIGNS)
    assert f"| inr | {100 * MISSING['inr']:g} % |" in card


def test_a_real_manifests_card_tells_what_it_holds_and_what_must_be_added(run):
    as_real(run)
    card = data_card(Evidence(run))
    assert card.startswith("# Data card: the manifest of study small")
    assert "## To be added by whoever knows the patients\n\n- [ ] " in card
    assert "120 patients with an outcome: 80 for development" in card
    assert "Sites: A." in card
    assert "imulat" not in card


@pytest.mark.parametrize(
    ("column", "words"), [("site", "Sites: not told"), ("baseline_volume_ml", "not in the manifest")]
)
def test_what_a_manifest_lacks_is_said(run, column, words):
    evidence = Evidence(run)
    evidence.table("cohort.csv").drop(columns=[column]).to_csv(run / "cohort.csv", index=False)
    assert words in data_card(evidence)


def test_a_study_without_scans_says_so(run):
    (run / "slices" / "quality.csv").unlink()
    assert "Scans: none are read." in data_card(Evidence(run))
