"""One patient is one person, one UID is one patient's; what is in doubt is refused by its name and nobody vanishes."""

from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from hepred_lib.intake.choice import choose, identity_conflicts
from hepred_lib.intake.importing import import_dicom
from tests.intake.conftest import write_series
from tests.intake.test_choice import FIRST

JANE = replace(
    FIRST,
    patient="MRN-1",
    names=frozenset({"Doe^Jane"}),
    birth_dates=frozenset({"19500101"}),
    sexes=frozenset({"F"}),
    instances=frozenset({"1.1.1", "1.1.2"}),
)

SPELLINGS = [
    *(("Müller^Jörg", "MUELLER^JOERG"), ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田太郎")),
    *(("Doe^Jane", other) for other in ("DOE^JANE", "doe^jane", "Doe Jane", "Jane^Doe", "DOE,JANE", "Dôe^Jané")),
    *(("Doe^Jane", other) for other in ("Doe^Jane^^Dr", "Doe^Jane^Ann", "Doe-Smith^Jane", "Doe^Jane=杜^珍")),
]
PLACEHOLDERS = [
    *("ANONYMOUS", "anon", "Anonymized", "UNKNOWN", "PATIENT", "0", "000000", "TEST", "xxxx", "-", "NONE", "123456"),
    *("ANONYM", "Inconnu", "匿名", "Anonymous^Patient", "n/a", "99999"),
]
PSEUDONYMS = ["ANON0001", "ANON_17", "PAT-3", "TEST12", "1", "42", "1000", "QMNx85rKkkg", "1234"]


def another(name: str = "Doe^Jane", born: str = "19500101", sex: str = "F", **changes: object):
    """A scan of the day after, of another study."""
    said = {"names": name, "birth_dates": born, "sexes": sex}
    found = {key: frozenset(filter(None, [value])) for key, value in said.items()}
    changes = {"study": "2", "uid": "2.1", "instances": frozenset({"2.1.1"}), "patient": "MRN-1"} | found | changes
    return replace(FIRST, taken_at=FIRST.taken_at + timedelta(days=1), **changes)


def reasons(*found) -> list[str]:
    """The reason against each series, in order."""
    choices = choose(found)
    assert [choice.series for choice in choices] == list(found)
    return [choice.reason if choice.use == "none" else "" for choice in choices]


@pytest.mark.parametrize(("name", "other"), SPELLINGS)
def test_a_name_may_be_written_in_many_ways(name, other):
    assert identity_conflicts([replace(JANE, names=frozenset({name})), another(other, born="", sex="")]) == {}


@pytest.mark.parametrize("name", ["Smith^Jane", "Doe^Janet", "Dow^Jane"])
def test_a_maiden_name_or_a_letter_is_one_person_only_where_birth_date_and_sex_agree(name):
    assert identity_conflicts([JANE, another(name)]) == {}
    conflicts = identity_conflicts([JANE, another(name, born="")])
    assert set(conflicts) == {"1.1", "2.1"}
    assert conflicts["1.1"].startswith("one PatientID has two names: correct the export, or mark")


TWO = "one PatientID has two %s: correct the export, or mark this patient's series in by_hand"
PLACEHOLDER = (
    "PatientID is a placeholder, which several people may share: correct the export, or mark this patient's series in "
    "by_hand"
)
OTHERS = [
    (another("Roe^Robert"), TWO % "names"),
    (another(born="19600101"), TWO % "birth dates"),
    (another(born="1951"), TWO % "birth dates"),
    (another(sex="M"), TWO % "sexes"),
    (another(name="", born="", sex="", age=31.0), TWO % "ages"),
    (another(uid="1.1"), "one SeriesInstanceUID in two studies of a patient: correct the export"),
    # What is not said contradicts nothing.
    *((another(name="ANONYMOUS"), ""), (another(name="", born="", sex=""), ""), (another(age=68.0), "")),
    *((another(born="1950"), ""), (another(born="19000101"), ""), (another(sex="O"), ""), (another(sex="female"), "")),
]


@pytest.mark.parametrize(("other", "reason"), OTHERS)
def test_one_patient_id_of_two_people_is_refused_by_what_differs(other, reason):
    found = [choice.reason for choice in choose([JANE, other]) if choice.use == "none"]
    assert found == [reason] * 2 * bool(reason)
    if "names" in reason:
        both = replace(JANE, names=JANE.names | other.names, birth_dates=frozenset())
        assert reasons(both) == [reason], "in one series too"


@pytest.mark.parametrize(
    ("same", "name"),
    [
        ({"uid": "1.1"}, "SeriesInstanceUID"),
        ({"uid": "1.1#2"}, "SeriesInstanceUID"),
        ({"study": "1"}, "StudyInstanceUID"),
        ({"instances": frozenset({"1.1.2", "9"})}, "SOPInstanceUID"),
    ],
)
def test_one_uid_under_two_patients_is_refused_for_both(same, name):
    other = another(patient="MRN-2", **same)
    third = another(patient="MRN-3", study="3", uid="3.1", instances=frozenset())
    assert reasons(JANE, other, third) == [f"one {name} under two patients: correct the export"] * 2 + [""]


@pytest.mark.parametrize(
    ("patient", "changes", "refused"),
    [("mrn 001", {}, True), ("MRN-2", {}, False), ("mrn-1", {"name": "Roe^Anna"}, False)],
)
def test_a_patient_id_that_a_spreadsheet_or_a_person_has_changed_makes_no_second_patient(patient, changes, refused):
    found = [why.partition(" case")[0] for why in reasons(JANE, another(patient=patient, **changes))]
    assert found == ["PatientID differs from another only in" if refused else ""] * 2


def test_the_other_series_of_a_doubtful_patient_are_not_used_either():
    other = another(patient="MRN-2", uid="1.1", study="9", instances=frozenset())
    why = "another series of this patient is in doubt: one SeriesInstanceUID under two patients: correct the export"
    assert reasons(JANE, other, another())[2] == why


def test_by_hand_says_which_series_are_the_patients_but_cannot_tell_two_of_one_uid_apart():
    found = [JANE, another("Roe^Robert")]
    assert [choice.use for choice in choose(found, {"1.1": "baseline"})] == ["baseline", "none"]
    found = [JANE, another(patient="MRN-2", uid="1.1")]
    assert [choice.use for choice in choose(found, {"1.1": "baseline"})] == ["none", "none"]
    assert [choice.reason for choice in choose(found, {"1.1": "none"})] == ["by hand", "by hand"]


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_as_patient_id_with_several_studies_is_refused(placeholder):
    found = [replace(JANE, patient=placeholder), another(patient=placeholder, name="", born="", sex="")]
    assert reasons(*found) == [PLACEHOLDER] * 2


@pytest.mark.parametrize("pseudonym", PSEUDONYMS)
def test_a_pseudonym_is_no_placeholder(pseudonym):
    nameless = [replace(series, names=frozenset()) for series in (JANE, another())]
    assert identity_conflicts([replace(series, patient=pseudonym) for series in nameless]) == {}


def nameless(series, folder: str):
    return replace(series, patient=folder, has_patient_id=False, names=frozenset({"REMOVED"}), birth_dates=frozenset())


ROE, ANON = another("Roe^Robert", born="19700101"), replace(JANE, patient="ANON")
TWO_FOLDERS = (
    "PatientID is empty, and one StudyInstanceUID is in two folders: put each patient into one folder of SOURCE"
)
DOUBTS = [
    ([ANON], ""),
    ([ANON, another(patient="ANON")], ""),
    ([ANON, replace(ROE, patient="ANON")], "one PatientID (a placeholder) has two birth dates"),
    ([nameless(JANE, "a"), nameless(another(sex="M"), "a")], "PatientID is empty, and one folder has two sexes"),
    ([nameless(JANE, "a"), nameless(another(), "a")], "PatientID is empty, and all studies are in one folder"),
    ([nameless(JANE, "a")], ""),
    ([nameless(JANE, "a"), nameless(another(study="1"), "b")], TWO_FOLDERS),
    ([JANE, another(has_patient_id=False)], "PatientID is empty, and the folder has the name of another PatientID"),
]


@pytest.mark.parametrize(("found", "doubt"), DOUBTS)
def test_names_placeholders_and_folders_are_one_person_or_in_doubt(found, doubt):
    assert {why[: len(doubt)] if doubt else why for why in reasons(*found)} == {doubt}


def test_without_a_patient_id_and_a_name_a_folder_of_its_own_is_taken_and_marked():
    found = [nameless(JANE, "a"), nameless(another(), "a"), nameless(another(study="3", uid="3.1", instances=[]), "b")]
    choices = choose(found)
    assert [choice.use for choice in choices] == ["baseline", "followup", "baseline"]
    assert [choice.unsure for choice in choices] == [True, True, False]


def test_an_import_keeps_each_patient_and_each_row_says_why_without_a_name_and_can_be_repeated(tmp_path):
    source, out = tmp_path / "export", tmp_path / "out"
    write_series(source / "a", patient="MRN-1")
    write_series(source / "b", patient="MRN-2", PatientName="Roe^Robert")
    write_series(source / "c", patient="MRN-3", study="3", uid="3.1")
    for _ in range(2):
        imported = import_dicom(source, out)
        assert (imported.patients, imported.with_baseline) == (3, 1)
        assert len(imported.notes) == 2
        assert all("one SeriesInstanceUID under two patients: correct the export" in note for note in imported.notes)
        assert not any(word in note for note in imported.notes for word in ("Doe", "Jane", "Roe", "Robert", "MRN"))
        rows = pd.read_csv(out / "identifying" / "series.csv", dtype=str, keep_default_na=False)
        assert sorted(rows["use"]) == ["baseline", "none", "none"]
        assert rows["patient_id"].nunique() == 3
