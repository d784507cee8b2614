"""The one reader of tables: what every usual program writes is read, and said; nothing is swallowed or moved."""

import datetime
import re
import zipfile

import openpyxl
import pytest

from hepred_lib.cohort.cells import Cells, near_names, read_cells

TABLE = "patient_id,site,onset_to_ct_h,age\n0001,A,2.5,66\n0002,B,3.0,71\n"
VALUES = [["0001", "A", "2.5", "66"], ["0002", "B", "3.0", "71"]]


@pytest.fixture
def read(tmp_path):
    """Read a table of this text or these bytes."""

    def read_text(content, encoding="utf-8") -> Cells:
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return read_cells(path)

    return read_text


@pytest.fixture
def workbook(tmp_path):
    """Read a workbook that a function fills."""

    def read_book(fill) -> Cells:
        book = openpyxl.Workbook()
        fill(book, book.active)
        book.save(tmp_path / "table.xlsx")
        return read_cells(tmp_path / "table.xlsx")

    return read_book


def rows(sheet, *cells):
    for row in cells:
        sheet.append(row)


@pytest.mark.parametrize(
    ("content", "encoding", "note"),
    [
        (TABLE, "utf-8", None),
        (TABLE, "utf-8-sig", None),
        (TABLE.replace("\n", "\r\n"), "utf-8-sig", None),
        (TABLE.replace("\n", "\r"), "utf-8", None),
        ("\n\n" + TABLE + "\n,,,\n,,,\n", "utf-8", None),
        ('"' + TABLE.strip().replace(",", '","').replace("\n", '"\n"') + '"', "utf-8", None),
        (TABLE.replace("66", "66\u00a0").replace("A", " A"), "utf-8", None),
        (TABLE.replace(",", ";"), "utf-8", "semicolon-separated"),
        (TABLE.replace(",", "\t"), "utf-8", "tab-separated"),
        ("sep=;\n" + TABLE.replace(",", ";"), "utf-8", "semicolon-separated"),
        (TABLE, "utf-16", "UTF-16 text"),
        (TABLE, "utf-16-le", "UTF-16 text"),
        (TABLE, "utf-16-be", "UTF-16 text"),
        (TABLE, "utf-32", "UTF-32 text"),
        ("# exported in 2024\n" + TABLE, "utf-8", "comment on line 1 left out"),
        (TABLE.replace("\n", ",,\n"), "utf-8", "2 empty columns without a name left out"),
        (TABLE.replace("2.5", '"2,5"'), "utf-8", "decimal commas (onset_to_ct_h)"),
        (TABLE.replace(",", ";").replace(".", ","), "utf-8", "decimal commas (onset_to_ct_h)"),
        ("," + TABLE.replace("\n00", "\n0,00", 1).replace("\n00", "\n1,00"), "utf-8", "numbers the rows, left out"),
    ],
)
def test_the_forms_that_programs_write_are_read_and_said(read, content, encoding, note):
    cells = read(content, encoding)
    assert cells.problems == []
    assert cells.table.to_numpy().tolist() == VALUES
    assert cells.notes[-1] == "2 patients"
    assert note is None or any(note in said for said in cells.notes)


def test_windows_text_is_said_with_a_word_that_can_be_checked(read):
    cells = read(TABLE.replace("A", "Zürich"), "cp1252")
    assert cells.table.iloc[0, 1] == "Zürich"
    assert "Windows-1252 text (such as 'Zürich' on line 2)" in cells.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "have a header and one row per patient, got an empty file"),
        (b"patient_id,age\n", "have one row per patient, got a header alone"),
        (b"patient_id,age,age\na,1,2\n", "a different name for every column, got age for columns 2 and 3"),
        (b"patient_id,,age\na,b,70\n", "have a name for every column, got none for column 2"),
        (b"Export 2024,\nof,Monday\npatient_id,age\na,70\n", r"header first, .* Delete the lines above line 3"),
        (b"patient_id,site\na,\xc3\xbc\nb,\xfc\n", "have one encoding, got UTF-8 on line 2, but byte 0xfc on"),
        (b"patient_id,site\na,\x81\n", "be UTF-8 text, got byte 0x81 on line 2"),
        (TABLE.encode("utf-16")[:-1], "be UTF-16 text throughout"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", r"got an old or a protected Excel workbook \(.xls\)"),
        (b"%PDF-1.7", "got a PDF"),
        (b"\x1f\x8b\x08", "got a gzip file"),
        (b" <!DOCTYPE html><table>", "got a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "got a Git LFS pointer"),
        (b'{"age": 71}', "got a JSON file"),
        (b"PK\x03\x04nothing", "got a damaged workbook"),
        (b"\x00\x01\x00\x00Standard Jet DB" + bytes(99), "got a binary file of another program"),
        (b"patient_id age sex\na 66 F\n", "a separator between its columns, got columns separated by blanks"),
        (b"Patient,,Times\npatient_id,age,gcs\na,70,15\n", "have its header first.* Delete the lines above line 2"),
        (b'patient_id,age\na,"70"0\nb,71\n', "be followed by a separator at every closing quotation mark.* line 2"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(read, content, message):
    cells = read(content)
    (problem,) = cells.problems
    assert cells.table is None
    assert problem.severity == "refuse"
    assert re.search(message, str(problem))
    assert "\n" not in str(problem)


def test_a_path_that_is_none_is_refused():
    assert "null byte" in str(read_cells("no\0file").problems[0])


def many(count):
    return "patient_id,site,age\n" + "".join(f"HE-{k},A,{40 + k % 50}\n" for k in range(count))


def test_a_quotation_mark_that_is_never_closed_names_the_patients_it_swallows(read):
    cells = read(many(264).replace("HE-10,A", 'HE-10,"A'))
    (problem,) = cells.problems
    assert (problem.line, problem.column, problem.patient_id) == (12, "site", "HE-10")
    assert "swallows 254 of 264 patients (lines 12 to 265)" in problem.value


def test_two_open_quotation_marks_that_close_each_other_swallow_nobody_unseen(read):
    cells = read(many(30).replace("HE-3,A", 'HE-3,"A').replace("HE-20,A", 'HE-20,A"'))
    (problem,) = cells.problems
    assert (problem.line, problem.patient_id, problem.severity) == (5, "HE-3", "refuse")
    assert "closes on line 22, which swallows 17 patients" in problem.value
    assert cells.notes[-1] == "13 patients"


def test_a_line_break_in_a_cell_is_said_and_read_as_a_blank(read):
    cells = read('\npatient_id,ward\na,"north\r\nwest"\nb,east\n')
    (problem,) = cells.problems
    assert (problem.severity, problem.line, problem.column) == ("warn", 3, "ward")
    assert cells.table["ward"].tolist() == ["north west", "east"]
    assert cells.table.index.tolist() == [3, 5], "lines of the file"


@pytest.mark.parametrize(
    ("row", "got", "remedy"),
    [
        ("b,B,1.5,", "5", "Remove the separators at the end of the row"),
        ("b,B", "2", "an empty cell needs its separator too"),
        ("b,B,2,5,70", "5", "if 2,5 or 5,70 is one number"),
        ("b,Bern, Insel,2.5,70", "5", "in quotation marks"),
    ],
)
def test_a_row_of_another_length_is_refused_with_its_line_and_nothing_moves(read, row, got, remedy):
    cells = read(f"patient_id,site,onset_to_ct_h,age\na,A,2.5,66\n{row}{',' if row.endswith(',') else ''}\nc,C,1,80\n")
    (problem,) = cells.problems
    assert (problem.line, problem.column, problem.patient_id, problem.value) == (3, "the row", "b", got)
    assert remedy in problem.remedy
    assert cells.table["patient_id"].tolist() == ["a", "c"]
    assert cells.notes[-1] == "2 patients in 3 rows"


def test_a_separator_at_the_end_of_every_row_is_one_problem(read):
    cells = read("patient_id,age\n" + "".join(f"{k},70,\n" for k in range(200)))
    (problem,) = cells.problems
    assert (problem.line, problem.value) == (2, "3 in each of the 200 rows")


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\u200b", "ZERO WIDTH SPACE (U+200B)"),
        ("\ufeff", "ZERO WIDTH NO-BREAK SPACE (U+FEFF)"),
        ("\u00ad", "SOFT HYPHEN (U+00AD)"),
        ("\u202e", "RIGHT-TO-LEFT OVERRIDE (U+202E)"),
        ("\x00", "NULL (U+0000)"),
        ("\x0b", "CONTROL CHARACTER (U+000B)"),
    ],
)
def test_an_invisible_character_is_named_in_a_header_and_in_a_cell(read, character, name):
    (header,) = read(f"patient_id,a{character}ge\na,70\n").problems
    (cell,) = read(f"patient_id,age\na,7{character}0\n").problems
    assert (header.line, header.column, header.value) == (1, "age", f"{name} in column 2")
    assert (cell.line, cell.column, cell.patient_id) == (2, "age", "a")
    assert cell.value == f"{name} in '70'"


def test_an_invisible_character_in_a_free_text_is_a_warning_once(read):
    (problem,) = read("patient_id,site\na,Bern\u200b\nb,Bern\u200b\n").problems
    assert (problem.severity, problem.line) == ("warn", 2)
    assert "(2 rows have one)" in problem.value


@pytest.mark.parametrize(
    ("cells", "unclear"),
    [
        (["1,250", "2,125"], ["1,250", "2,125"]),
        (["1,250", "2.5"], ["1,250"]),
        (["2,5", "1,250"], []),
        (["2,5", "1.250"], ["1.250"]),
        (["0,125", "0,250"], []),
        (["12.5", "1.250"], []),
    ],
)
def test_a_comma_that_may_separate_thousands_is_refused(read, cells, unclear):
    found = read("patient_id;inr\n" + "".join(f"p{k};{cell}\n" for k, cell in enumerate(cells)))
    assert [problem.value for problem in found.problems] == unclear
    assert all("decimals or thousands" in problem.rule for problem in found.problems)


@pytest.mark.parametrize(
    "name", ["PatientID", "Patient ID", "patient-id", "PATIENT_ID", "p\u0430tient_id", "\uff30atient_id"]
)
def test_a_name_that_is_almost_a_known_one_is_found(name):
    assert near_names([name, "age"], ["patient_id", "age"]) == {name: "patient_id"}


def test_a_workbook_is_read_as_a_person_sees_it_and_hidden_rows_are_said(workbook):
    def fill(book, sheet):
        rows(sheet, ["patient_id", "age", "inr", "seen", "left", "site"], [1, 66, 0.1 + 0.2, True, None, " Zürich "])
        sheet["A2"].number_format = "0000"
        sheet.row_dimensions[2].hidden = True

    cells = workbook(fill)
    assert cells.problems == []
    assert cells.table.iloc[0].tolist() == ["0001", "66", "0.3", "TRUE", "", "Zürich"]
    assert cells.notes == ["Excel workbook", "hidden rows are read too: 1", "1 patient"]


def test_dates_and_durations_of_a_workbook_are_text_that_no_rule_takes_for_a_number(workbook):
    def fill(book, sheet):
        day, span = datetime.datetime(2024, 3, 1), datetime.timedelta(hours=36, minutes=30)
        rows(sheet, ["patient_id", "a", "b", "c", "d"], ["x", day, day.replace(hour=14), datetime.time(2, 30), span])

    expected = ["2024-03-01", "2024-03-01 14:00", "02:30:00", "36:30:00"]
    assert workbook(fill).table.iloc[0, 1:].tolist() == expected


def test_the_worksheet_with_patients_is_read_and_another_one_is_said(workbook):
    def fill(book, sheet):
        rows(sheet, ["code", "meaning"], ["1", "man"])
        for title in ("Data", "More"):
            rows(book.create_sheet(title), [], ["patient_id", "age"], [title, 70])

    cells = workbook(fill)
    assert cells.table.values.tolist() == [["Data", "70"]]
    assert "worksheet 'Data' of 3" in cells.notes
    assert [(problem.severity, problem.value) for problem in cells.problems] == [("warn", "another one, 'More'")]


def test_a_visible_worksheet_is_read_before_a_hidden_one(workbook):
    def fill(book, sheet):
        rows(sheet, ["patient_id", "age"], ["old", 70])
        sheet.sheet_state = "hidden"
        rows(book.create_sheet("Data"), ["patient_id", "age"], ["a", 66])

    cells = workbook(fill)
    assert cells.table.values.tolist() == [["a", "66"]]
    assert [problem.value for problem in cells.problems] == ["another hidden one, 'Sheet'"]


def merge(sheet):
    sheet.merge_cells("B2:B3")


@pytest.mark.parametrize(
    ("cells", "change", "line", "column", "value"),
    [
        ([["a", "A"], ["b", None]], merge, 2, "the table", "1 (B2:B3)"),
        ([["a", "=60+6"]], id, 2, "age", "a formula without its result"),
        ([["a", 66], ["b", 70, None, "note"]], id, 3, "the row", "4"),
    ],
    ids=["merged", "formula", "beside the table"],
)
def test_a_cell_that_may_be_of_another_patient_or_has_no_value_is_refused(workbook, cells, change, line, column, value):
    def fill(book, sheet):
        rows(sheet, ["patient_id", "age"], *cells)
        change(sheet)

    (problem,) = workbook(fill).problems
    assert (problem.line, problem.column, problem.value, problem.severity) == (line, column, value, "refuse")


@pytest.mark.parametrize(
    ("member", "kind"),
    [("mimetype", "OpenDocument"), ("xl/workbook.bin", "binary"), ("a.txt", "no"), ("xl/workbook.xml", "damaged")],
)
def test_other_zip_files_are_named(tmp_path, member, kind):
    with zipfile.ZipFile(tmp_path / "table.xlsx", "w") as archive:
        archive.writestr(member, "application/vnd.oasis.opendocument.spreadsheet")
    (problem,) = read_cells(tmp_path / "table.xlsx").problems
    assert kind in problem.value
