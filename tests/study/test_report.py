"""The report: pages that hold together, and answers that stand only while the files behind them hold the value."""

import contextlib
import hashlib
import re
import shutil
import subprocess
import sys
from functools import reduce
from operator import getitem
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hepred_lib.errors import InputError
from hepred_lib.study import report
from hepred_lib.study.files import read_json, read_table, write_table
from hepred_lib.study.report import (
    ANSWERED,
    CHECKLISTS,
    NO_INFORMATION,
    NOT_ANSWERED,
    NOT_APPLICABLE,
    PARTLY,
    STATUSES,
    AbsentError,
    Files,
    as_table,
    characteristics,
    checklist,
    link,
    page,
    write_report,
)
from hepred_lib.study.running import REPORTED
from ich_phantom.growth import CLINICAL
from ich_phantom.patients import MISSING, SIGNS
from tests.study.small_run import VERDICTS, change_json, make_column, make_real, make_tables_only

LINK = re.compile(r"\]\(([^)]+)\)")
PUBLISHED = yaml.safe_load((report.TEMPLATES / "published.yaml").read_text(encoding="utf-8"))
HOSTILE = "*a*|<b>_x_[l](u){{ 7 * 7 }}"
ESCAPED = r"\*a\*\|&lt;b&gt;\_x\_\[l\](u)\{\{ 7 \* 7 \}\}"


@pytest.fixture
def answered(run, tmp_path, monkeypatch):
    """A function that answers these items, as if they were the whole checklist."""

    def answer(*items):
        shutil.copytree(report.TEMPLATES, tmp_path / "templates")
        known = {"section": "Title", "heading": "Title", "concerns": "D", "asks": "all"}
        content = {"items": [{"id": str(number)} | known | parts for number, parts in enumerate(items, 1)]}
        (tmp_path / "templates" / "tripod_ai.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        monkeypatch.setattr(report, "TEMPLATES", tmp_path / "templates")
        return checklist(Files(run), "tripod_ai")

    return answer


def rows(folder, name="tripod_ai"):
    return checklist(Files(folder), name).set_index("item")


def test_the_files_are_named_and_written_and_a_second_report_touches_nothing(run):
    written = write_report(run)
    names, before = [path.relative_to(run).as_posix() for path in written], [path.stat() for path in written]
    assert names == [
        *("report/model_card.md", "report/data_card.md"),
        *("report/probast_ai.md", "tables/probast_ai.csv"),
        *("report/claim_2024.md", "tables/claim_2024.csv"),
        *("report/tripod_ai.md", "tables/tripod_ai.csv"),
        *(f"tables/{name}.tex" for name in ("table1", "missing", "performance", "subgroups", "tripod_ai")),
        *("report/tables.docx", "report/summary.html", "report/summary.pdf"),
    ]
    assert names[-1] == REPORTED
    assert all(file.st_size for file in before)
    assert [path.stat().st_mtime_ns for path in write_report(run)] == [file.st_mtime_ns for file in before]


def test_two_copies_of_a_study_give_the_same_bytes_wherever_they_are_written(run, made_report, tmp_path):
    out = tmp_path / "out"
    for path in write_report(run, out):
        assert path.read_bytes() == (made_report / path.relative_to(out)).read_bytes()
    assert not (run / "report").exists()


@pytest.mark.parametrize("change", [Path, make_real, make_tables_only, make_column])
def test_every_kind_of_study_has_whole_pages_whose_links_lead_somewhere_and_a_status_for_every_item(run, change):
    write_report(change(run))
    for name in CHECKLISTS:
        table = pd.read_csv(run / "tables" / f"{name}.csv", keep_default_na=False)
        allowed = VERDICTS | {NO_INFORMATION, NOT_APPLICABLE} if name == "probast_ai" else set(STATUSES)
        assert set(table["status"]) <= allowed
        assert (table["answer"] != "").all()
        assert table.loc[table["status"].isin(VERDICTS | {ANSWERED, PARTLY}), "where"].ne("").all()
    for path in (run / "report").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert [line[:2] for line in text.splitlines() if re.match("# ", line)] == ["# "]
        assert text.startswith("# ")
        targets = LINK.findall(text)
        assert targets or path.stem == "data_card"
        assert not [target for target in targets if not (path.parent / target).exists()]
        for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
            assert block.splitlines()[1].startswith("| ---")
        assert not re.search(r"\b(nan|None|Undefined)\b|\{[{%]", text)
        assert ("imulated" in text) == (change is not make_real)


def test_a_study_without_scans_reports_its_clinical_model(reported):
    table, card = rows(make_tables_only(reported)), page(Files(reported), "model_card")
    whole = ["7", "9b", "12b", "12c", "15", "21", "22", "26"]
    assert table.loc[whole, "status"].tolist() == ["answered"] * len(whole)
    assert "evaluation of 1 model (clinical)" in table.loc["1", "answer"]
    assert "nothing to compare" in table.loc["25", "answer"]
    assert "image" not in card.split("## Models")[1].split("## Intended")[0]


def test_without_test_patients_no_page_speaks_of_them(run):
    untested = {"test": 0, "he_test": 0}
    change_json(run / "results.json", lambda found: found.update(judged="development", n=found["n"] | untested))
    write_table(run / "cohort.csv", read_table(run / "cohort.csv").assign(split="development", fold=0))
    write_report(run)
    answers = pd.read_csv(run / "tables" / "tripod_ai.csv").set_index("item")["answer"]
    assert "No patient was held out" in answers["20c"]
    assert "Development patients, cross-fitted: image AUC" in answers["23a"]
    assert "(development patients, cross-fitted)" in answers["21"]
    for name in ("model_card", "data_card"):
        text = (run / "report" / f"{name}.md").read_text(encoding="utf-8")
        assert "none held out" in text
        assert "Test patients" not in text


def test_a_run_that_is_not_whole_is_refused_by_name(run):
    lost = {
        "provenance.json": r"cannot use .*small: provenance\.json is not there\. Run the study again",
        "results.json": r"must be the folder of a finished study, .*results\.json is not there",
    }
    for name, message in lost.items():
        (run / name).unlink()
        with pytest.raises(InputError, match=message):
            write_report(run)


def test_no_torch_is_loaded(run):
    code = "import sys; from hepred_lib.study.report import write_report; write_report(sys.argv[1])\n"
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules", str(run)], check=True)


def test_what_is_missing_or_null_is_named_and_zero_is_a_value(run):
    change_json(run / "results.json", lambda content: content["n"].update(blood_free=None))
    write_table(run / "cohort.csv", read_table(run / "cohort.csv").assign(site=None))
    files = Files(run)
    refusals = {
        r"nothing\.json is not there": lambda: files.json("nothing.json")["n"],
        r"results\.json has no value for n\.nobody": lambda: files.results["n"]["nobody"],
        r"results\.json has no value for n\.blood_free": lambda: files.results["n"]["blood_free"],
        r"excluded\.csv has no row": lambda: files.table("excluded.csv"),
        r"cohort\.csv has no site, speed": lambda: files.table("cohort.csv", "age", "site", "speed"),
    }
    for message, ask in refusals.items():
        with pytest.raises(AbsentError, match=message):
            ask()
    assert files.results["n"]["excluded"] == 0


SOUND = {"text": "study {{ results.study }}", "where": ["paper.json"]}
WITHOUT_FILE = {"text": "never said", "where": ["nowhere.csv"]}
WITHOUT_NAMED_FILE = {"text": "in {{ file('nowhere.csv') }}"}
WITHOUT_VALUE = {"text": "{{ results.luck }}"}
WITHOUT_NAME = {"text": "{{ resluts.n }}"}
SILENT = {"text": "{% if false %}nothing{% endif %}", "where": ["nowhere.csv"]}


STATUS_OF = [
    ({"answers": [SOUND]}, ANSWERED, "study small"),
    ({"answers": [SOUND, SILENT]}, ANSWERED, "study small"),
    ({"answers": [SOUND], "left_open": "The rest."}, PARTLY, "study small The rest."),
    ({"answers": [SOUND, WITHOUT_FILE]}, PARTLY, "study small Not answered: nowhere.csv is not there."),
    ({"answers": [WITHOUT_NAMED_FILE]}, NOT_ANSWERED, "Not answered: nowhere.csv is not there."),
    ({"answers": [WITHOUT_VALUE]}, NOT_ANSWERED, "Not answered: results.json has no value for luck."),
    ({"answers": [WITHOUT_NAME]}, NOT_ANSWERED, "Not answered: 'resluts' is undefined."),
    ({"left_open": "Ask the author."}, NOT_ANSWERED, "Ask the author."),
    ({"answers": [SOUND], "left_open": "{{ lfet }}"}, PARTLY, "study small Not answered: 'lfet' is undefined."),
    ({"not_applicable": "{{ spraed }}"}, NOT_ANSWERED, "Not answered: 'spraed' is undefined."),
    ({"answers": [SOUND], "not_applicable": "No such thing."}, NOT_APPLICABLE, "No such thing."),
]


def test_a_status_follows_from_the_answers(answered):
    table = answered(*(parts for parts, _, _ in STATUS_OF))
    assert table[["status", "answer"]].to_numpy().tolist() == [[status, text] for _, status, text in STATUS_OF]


def test_an_answer_rests_on_the_files_it_shows_and_the_files_it_read_but_not_on_a_failed_ones(answered):
    assert answered({"answers": [WITHOUT_VALUE, SOUND, SOUND]}).loc[0, "where"] == "paper.json results.json"


def test_an_item_that_is_no_template_is_refused_by_its_number(answered):
    with pytest.raises(InputError, match=r"tripod_ai\.yaml, item 1: "):
        answered({"answers": [{"text": "{% if %}"}]})


HOSTILE_USES = ("{{ results.study }}", "{{ [results.study] | join(', ') }}", "{{ '' ~ results.study }}")


def test_text_of_the_study_stays_text_however_it_is_put_together(answered, run):
    change_json(run / "results.json", lambda content: content.update(study=HOSTILE))
    table = answered(*({"answers": [{"text": text}]} for text in (*HOSTILE_USES, "{{ results.study + '' }}")))
    assert table["answer"].tolist() == [ESCAPED] * 4


def test_the_checklist_has_27_items_and_52_sub_items(reported):
    table = read_table(reported / "tables" / "tripod_ai.csv")
    assert table.columns.tolist() == ["item", "section", "heading", "concerns", "asks", "status", "answer", "where"]
    assert table["item"].nunique() == len(table) == 52
    assert {int(number.rstrip("abcdefg")) for number in table["item"]} == set(range(1, 28))


def test_an_answer_holds_the_studys_own_numbers(reported):
    answers = rows(reported)["answer"]
    results = read_json(reported / "results.json")
    n = results["n"]
    assert f"{n['development']} for development" in answers["12a"]
    assert f"{n['he_test']} in {n['test']}" in answers["21"]
    assert f"{results['models']['integrated']['auc']:.2f} (" in answers["23a"]
    assert "growth of more than 6 mL or more than 33 %" in answers["8a"]
    assert "Performance is reported by sex; 0 of 1 have subgroups large enough" in answers["14"], "for a test"
    assert "in development patients; " in answers["11"], "the data card counts all patients"


def test_what_each_model_selected_is_told_of_that_model(reported):
    change_json(
        reported / "integrated_model.json", lambda content: content["logistic"].update(path=["inr"], shrinkage=0.6)
    )
    card, files = page(Files(reported), "model_card"), Files(reported)
    told = "gcs (clinical model, uniform shrinkage 0.80); inr (integrated model, uniform shrinkage 0.60)."
    assert f"of 3 candidates: {told}" in card
    wanted = {
        "tripod_ai": {
            "27a": "of the clinical model: gcs. Bedside variables of the integrated model: inr.",
            "12c": "is 0.60.",
        },
        "probast_ai": {"D2.4": "use gcs, inr, the first", "D4.5": "by 0.80 (clinical model), 0.60 (integrated model)."},
        "claim_2024": {"26": "kept gcs (clinical model); inr (integrated model)."},
    }
    for name, answers in wanted.items():
        found = checklist(files, name).set_index("item")["answer"]
        for item, words in answers.items():
            assert words in found[item]


ANSWERED_BY = [
    ("7", "slices/quality.csv"), ("7", "figures/montage.png"), ("8a", "notebooks/01_cohort.ipynb"),
    ("11", "tables/missing.csv"), ("11", "imputation.json"), ("12b", "image_model.json"),
    ("12c", "tables/optimism_clinical.csv"), ("12e", "figures/decision_curve.png"), ("15", "integrated_model.json"),
    ("18f", "provenance.json"), ("20a", "figures/flow.png"), ("20b", "report/data_card.md"),
    ("22", "folds/1/network.safetensors"), ("23a", "tables/subgroups.csv"), ("23b", "external.json"),
    ("26", "notebooks/06_integrated_to_he.ipynb"), ("27b", "report/model_card.md"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("page", "status", "at_least"), [("tripod_ai", {ANSWERED}, ANSWERED_BY), ("probast_ai", VERDICTS, [])]
)
def test_nothing_answered_outlives_any_file_it_names(reported, page, status, at_least):
    table = rows(reported, page)
    kept = table[table["status"].isin(status)]
    assert len(kept) > 25
    assert not [(item, name) for item, name in at_least if name not in kept.loc[item, "where"].split()]
    required = {"results.json", "records/01_cohort.json"}  # without them there is no finished study to report on
    for name in sorted({name for names in kept["where"] for name in names.split()} - required):
        content = (reported / name).read_bytes()
        (reported / name).unlink()
        after = rows(reported, page)
        (reported / name).write_bytes(content)
        for item in kept.index[[name in names.split() for names in kept["where"]]]:
            # Another fold's files say the same; without another hospital there are the study's own two data sets.
            replaced = "_fold0." in name or (name == "external.json" and (item == "16" or page == "probast_ai"))
            if replaced:
                assert name not in after.loc[item, "where"].split()
            else:
                assert after.loc[item, "status"] not in status, (item, name)


@pytest.mark.parametrize(
    ("item", "keys"),
    [
        ("5a", ("n",)),
        ("8a", ("he_definition",)),
        ("12e", ("auc_ci_method",)),
        ("12c", ("optimism", "clinical")),
        ("25", ("models", "image", "auc")),
        *[(None, ("n", key)) for key in ("patients", "development", "test", "he_development", "he_test")],
        *[(None, ("n", key)) for key in ("excluded", "blood_free", "without_outcome")],
    ],
)
def test_a_null_takes_its_answers_away_and_breaks_nothing(reported, item, keys):
    change_json(reported / "results.json", lambda found: reduce(getitem, keys[:-1], found).update({keys[-1]: None}))
    table, reason = rows(reported), f"results.json has no value for {'.'.join(keys)}"
    assert len(table) == 52
    assert reason in (" ".join(table["answer"]) if item is None else table.loc[item, "answer"])
    assert not table.loc[table["answer"].str.contains(reason, regex=False), "status"].eq(ANSWERED).any()


def test_a_card_that_lost_its_section_answers_nothing(reported):
    card = reported / "report" / "model_card.md"
    card.write_text(card.read_text().replace("## In practice", "## Elsewhere"))
    assert "has no section 'In practice'" in rows(reported).loc["27a", "answer"]
    assert rows(reported).loc["27a", "status"] == NOT_ANSWERED


@pytest.mark.parametrize("table", ["cohort.csv", "tables/missing.csv", "tables/subgroups.csv", "slices/quality.csv"])
def test_a_table_without_a_column_takes_answers_away_or_is_refused_by_name(run, table, monkeypatch):
    monkeypatch.setattr(report, "pdf", lambda one: b"")  # which holds nothing that the page in HTML does not
    whole = read_table(run / table)
    for column in whole:
        write_table(run / table, whole.drop(columns=column))
        with contextlib.suppress(InputError):  # anything else is a fault
            write_report(run)


def test_what_only_authors_know_is_never_answered_and_simulated_patients_have_no_assessor_to_be_named(reported):
    items = ["5b", "17", "18a", "18b", "18c", "18d", "19"]
    assert rows(reported).loc[["8b", *items], "status"].tolist() == [NOT_APPLICABLE, *[NOT_ANSWERED] * 7]
    table = rows(make_real(reported)).loc[["8b", *items]]
    assert set(table["status"]) == {NOT_ANSWERED}
    assert "to be added by the author" in table.loc["8b", "answer"]


def test_without_another_hospital_its_sub_items_do_not_apply(reported):
    alike = rows(reported).loc["20a", "answer"], rows(reported, "claim_2024").loc["35", "answer"]
    assert alike[0] == alike[1], "an item of one checklist that is like one of another"
    assert rows(reported, "claim_2024").loc["33", "status"] == ANSWERED
    (reported / "external.json").unlink()
    assert rows(reported).loc[["12d", "23b", "16"], "status"].tolist() == [NOT_APPLICABLE, NOT_APPLICABLE, ANSWERED]
    assert "must be stated by the author" in rows(reported, "claim_2024").loc["33", "answer"]


def test_a_test_patient_in_a_fold_takes_the_clean_partition_away(reported):
    write_table(reported / "cohort.csv", read_table(reported / "cohort.csv").assign(fold=0))
    assert rows(reported).loc["12a", "status"] == NOT_ANSWERED


FEW = pd.DataFrame({"patient_id": list("abcde"), "split": ["development"] * 3 + ["test"] * 2})
FEW = FEW.assign(he=[1.0, 0.0, 0.0, 1.0, np.nan], age=[50.0, 60.0, 80.0, 70.0, 20.0], sex=["M", "F", None, "M", "M"])
FEW = FEW.assign(location=["lobar", "lobar", "thalamus", "lobar", None], remark=["fell", None, None, None, None])
FEW = FEW.assign(outcome_weight=1.0, outside_window=0)


def test_characteristics_of_the_patients_with_an_outcome_are_counted_by_hand():
    assert characteristics(FEW).equals(characteristics(FEW.dropna(subset=["he"])))
    table = characteristics(FEW).set_index("Variable")
    assert table.loc["Patients", ["All", "Development", "Test"]].tolist() == ["n = 4", "n = 3", "n = 1"]
    assert table.loc["he, n (%)", "Development"] == "1/3 (33.3)"
    assert table.loc["age (y), median (quartiles)", ["Development", "Test"]].tolist() == ["60 (55–70)", "70 (70–70)"]
    assert table.loc["– M", "Development"] == "1/2 (50.0)"
    assert table.loc["sex, n (%)", "Missing"] == "1 (25.0 %)"
    assert table.loc["– lobar", "Development"] == "2/3 (66.7)"
    assert not table.index.str.contains("remark|outcome_weight|outside_window").any()


def test_the_model_card_holds_figures_with_intervals_subgroups_with_enough_events_and_checksums(run):
    card, model = page(Files(run), "model_card"), read_json(run / "results.json")["models"]["integrated"]
    low, high = model["auc_ci"]
    assert f"| {model['auc']:.2f} ({low:.2f}-{high:.2f}) | 0.88 |" in card
    assert f"| integrated | {model['calibration_slope']:.2f} (" in card
    assert "| sex | F | 15 | 3 | - |" in card
    assert "| sex | M | 25 | 11 | 0.74 (0.60-0.85) |" in card
    expected = hashlib.sha256((run / "folds" / "0" / "network.safetensors").read_bytes()).hexdigest()
    assert f"| `folds/0/network.safetensors` | 7 | {expected} |" in card


def test_what_cannot_be_estimated_is_said_to_be_so_and_notes_are_among_the_limits(run):
    def lose(content):
        content["notes"] = ["models.image.auc_ci: no variance"]
        content["models"]["image"] |= dict.fromkeys(("ici", "e90", "calibration_slope", "calibration_slope_ci"))

    card = page(Files(change_json(run / "results.json", lose)), "model_card")
    assert "| image | not estimable |" in card
    assert "\n- models.image.auc_ci: no variance" in card.split("## Limits")[1]


def test_names_from_tables_stay_text_on_every_page(run):
    cohort = read_table(run / "cohort.csv")
    write_table(run / "cohort.csv", cohort.assign(site=HOSTILE, **{HOSTILE: cohort["inr"]}))
    change_json(run / "results.json", lambda content: content.update(notes=[HOSTILE]))
    change_json(run / "external.json", lambda content: content.update(manifest=HOSTILE))
    change_json(
        run / "clinical_model.json",
        lambda content: content["logistic"].update(coefficients={HOSTILE: 0.5}, path=[HOSTILE]),
    )
    write_report(run)
    for path in (run / "report").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert ESCAPED in text, path.name
        assert HOSTILE not in text


def test_published_distributions_and_effects_each_name_their_source():
    for row in PUBLISHED["distributions"] + PUBLISHED["effects"]:
        assert (row["source"] != "-") == ("found" not in row["published"])
    assert [effect["name"] for effect in PUBLISHED["effects"]] == list(CLINICAL)


def test_a_simulated_cohorts_card_states_how_it_is_simulated_and_how_it_differs_from_real_data(run):
    card, cohort = page(Files(run), "data_card"), read_table(run / "cohort.csv").dropna(subset=["he"])
    assert (
        f"| lobar | {100 * cohort['location'].eq('lobar').mean():.1f} % | 30 % | Neurocrit Care 2021;35:418 |" in card
    )
    assert f"| age, years | {cohort['age'].mean():.1f} ± {cohort['age'].std():.1f} | 60.1 ± 13.4; 71.9 ± 14.1 |" in card
    assert "| diabetes |" not in card  # the cohort has no such column
    assert f"| anticoagulant | {np.exp(CLINICAL['anticoagulant']):.2f} |" in card
    assert all(f"| {name.replace('_', ' ')} |" in card for name in SIGNS)
    assert f"| inr | {100 * MISSING['inr']:g} % |" in card
    assert "\n## Known differences from real data\n\n- " in card


def test_a_real_manifests_card_says_what_it_holds_what_it_lacks_and_what_must_be_added(run):
    card = page(Files(make_real(run)), "data_card")
    assert "\n- [ ] " in card
    assert "120 patients with an outcome: 80 for development" in card
    assert "Sites: A." in card
    write_table(run / "cohort.csv", read_table(run / "cohort.csv").drop(columns=["site", "baseline_volume_ml"]))
    card = page(Files(run), "data_card")
    assert "Sites: not recorded" in card
    assert "not in the manifest" in card


def test_a_bar_in_a_cell_does_not_open_a_column():
    assert as_table(pd.DataFrame({"rule": ["F | M"], "n": [2]})).splitlines()[-1] == r"| F \| M | 2 |"


def test_files_are_linked_but_for_weights_and_patients():
    links = {
        "notebooks/01_cohort.ipynb": "[notebook 01](../notebooks/01_cohort.ipynb)",
        "notebooks/03_training_fold1.ipynb": "[notebook 03 (fold 1)](../notebooks/03_training_fold1.ipynb)",
        "report/data_card.md": "[data card](data_card.md)",
        "figures/roc.png": "[figure roc](../figures/roc.png)",
        "records/05_clinical_to_he.json": "record 05",
        "results.json": "[results.json](../results.json)",
        "cohort.csv": "`cohort.csv`",
        "folds/0/network.safetensors": "`folds/0/network.safetensors`",
    }
    assert {name: link(name) for name in links} == links
