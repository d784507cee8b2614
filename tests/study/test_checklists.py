"""CLAIM 2024 and PROBAST+AI: all items, and verdicts that rest on facts of the study."""

import numpy as np
import pytest

from hepred_lib.study.files import read_table, write_table
from hepred_lib.study.report import NO_INFORMATION, Files, checklist
from tests.study.small_run import change_json, make_column, make_real, make_tables_only


@pytest.fixture
def run(reported):
    """The study with its report."""
    return reported


def rows(folder, name="probast_ai"):
    return checklist(Files(folder), name).set_index("item")


def test_probast_has_its_questions_and_claim_its_items(run):
    table = rows(run)
    domains = {"D1": 3, "D2": 4, "D3": 4, "D4": 5, "E1": 3, "E2": 4, "E3": 4, "E4": 7}
    wanted = [f"{domain}.{number + 1}" for domain, n in domains.items() for number in range(n)]
    assert sorted(table.index) == sorted([*wanted, *(f"{part}{domain}.A" for part in "DE" for domain in (1, 2, 3))])
    assert rows(run, "claim_2024").index.tolist() == [str(number) for number in range(1, 45)]


def test_simulated_patients_are_a_concern_and_what_only_authors_know_is_no_information(run):
    assert set(rows(run).loc[["D1.1", "D1.3", "E1.1", "D1.A", "E3.A"], "status"]) == {"no"}
    table = rows(make_real(run))
    unknown = ["D1.1", "D1.2", "D1.3", "D2.1", "D2.3", "D2.4", "D3.2", "E1.1", "E2.3", "D1.A", "E3.A"]
    assert set(table.loc[unknown, "status"]) == {NO_INFORMATION}
    assert table.loc[unknown, "answer"].str.contains("by the author").all()


def test_a_score_made_elsewhere_may_have_seen_the_patients(run):
    assert rows(run).loc["E4.5", "status"] == "yes"
    assert rows(make_column(run)).loc[["D2.2", "E4.5"], "status"].tolist() == [NO_INFORMATION] * 2


@pytest.mark.parametrize(("patients", "verdict"), [(80, "no"), (90_000, "yes")])
def test_the_sample_is_judged_by_its_size(run, patients, verdict):
    make_tables_only(run)
    n = {"patients": 2 * patients, "development": patients, "test": patients}
    events = {"he_development": patients // 4, "he_test": patients // 4}
    change_json(run / "results.json", lambda content: content["n"].update(n | events))
    table = rows(run)
    assert table.loc[["D4.1", "E4.2"], "status"].tolist() == [verdict] * 2
    assert f"{patients // 4} events" in table.loc["D4.1", "answer"]


@pytest.mark.parametrize(
    ("without_outcome", "weighted", "verdict"),
    [(0, False, "yes"), (9, True, NO_INFORMATION), (9, False, "probably no")],
)
def test_patients_without_an_outcome_cost_a_verdict_unless_they_are_weighted_for(
    run, without_outcome, weighted, verdict
):
    counts = {"without_outcome": without_outcome}
    change_json(run / "results.json", lambda content: content["n"].update(counts))
    change_json(run / "records/01_cohort.json", lambda r: r["results"]["weighting"].update(counts, weighted=weighted))
    assert rows(run).loc["D4.3", "status"] == verdict  # weighted, but the tables that show it are not there


@pytest.mark.parametrize(
    ("name", "column", "item", "verdicts"),
    [
        ("cohort.csv", "ct_to_followup_h", "D3.4", {
            (24.0,): "yes", (100.0,): "probably no", (np.nan,): NO_INFORMATION, (24, 24, 90): "probably yes",
        }),
        ("tables/linearity.csv", "p", "D4.2", {
            (0.4,): "probably yes", (0.01,): "probably no", (np.nan,): NO_INFORMATION,
        }),
    ],
)  # fmt: skip
def test_the_interval_and_nonlinear_predictors_are_judged_by_their_numbers(run, name, column, item, verdicts):
    table = read_table(run / name)
    for values, verdict in verdicts.items():
        write_table(run / name, table.assign(**{column: np.resize(values, len(table))}))
        assert rows(run).loc[item, "status"] == verdict


def test_the_volume_of_the_first_scan_is_in_the_outcome(run):
    make_tables_only(run)
    assert rows(run).loc["D3.3", "status"] == "yes"
    change_json(run / "clinical_model.json", lambda content: content["candidates"].append("baseline_volume_ml"))
    assert rows(run).loc["D3.3", "status"] == "probably no"


def test_a_domain_with_a_no_is_a_concern_and_never_rated_low(run):
    page = (run / "report" / "probast_ai.md").read_text(encoding="utf-8")
    assert "| Development: participants and data sources | 1 |  |  | 2 |  |  | concern |" in page
    assert "low risk" not in page
