"""Tables for print: what LaTeX and Word are given, and whether it fits a page."""

import re
import shutil
import subprocess
import zipfile

import pandas as pd
import pytest
from docx import Document

from hepred_lib.study.files import write_json, write_table
from hepred_lib.study.printing import SIZES, WORD_FILE, Page, column_shares, latex, print_tables, word
from hepred_lib.study.tables import PRINTED, save_table

WORST = "Onset\\to_CT & 50 % {of} #1 $2^3$ ~ [x] " + "a" * 64


def page(cells, notes=(), title="A title.", name="t"):
    return Page(name, f"tab:{name}", title, pd.DataFrame(cells), tuple(notes))


def body_cells(text):
    """The cells of a table, by row, heads first; refuses what LaTeX would refuse to set."""
    assert all(ord(character) < 0x180 for character in text), "UTF-8 input knows Latin letters only"
    frame, body = text[: text.index(r"\toprule")], text[text.rindex(r"\toprule") : text.index(r"\end{longtable}")]
    bare = re.sub(r"\\\\|\\[&%_#${}]", "", body)  # line ends and escaped characters
    assert not set("#%_") & set(bare)
    assert bare.count("{") == bare.count("}")
    for part in re.split(r"\$[^$]*\$", bare):
        assert not set("$^<>") & set(part), "a sign of formulas outside a formula"
    rows = [line.removesuffix(r" \\") for line in body.splitlines() if line.endswith(r"\\")]
    cells = [re.split(r"(?<!\\)&", row) for row in rows]
    assert {len(row) for row in cells} == {frame.count(r"p{\dimexpr")}
    return [[cell.strip() for cell in row] for row in cells]


@pytest.mark.parametrize("cell", ["a & b", "50 % #1 $2", r"C:\x", "x_1^2 ~ {y}", "p < 0.001 > 0", "[0.1, 0.2]", "a_b"])
def test_any_ascii_text_can_be_set(cell):
    head, (first, _) = body_cells(latex(page({f"name {cell}": [cell], "other": ["plain"]})))
    assert first
    assert len(head) == 2


def test_what_latex_would_read_is_escaped_and_typographic_signs_become_commands():
    text = latex(
        page({"unit": ["µmol/L", "10⁹/L", "≥ 7 × 8"], "value": ["-0.1 (-0.2 to 0.1)", "0.1 (0.0-0.2)", "−0.1–0.2"]})
    )
    units, values = zip(*body_cells(text)[1:], strict=True)
    assert units == (r"$\mu$mol/L", "10$^9$/L", r"$\ge$ 7 $\times$ 8")
    assert values == ("$-$0.1 ($-$0.2 to 0.1)", "0.1 (0.0--0.2)", "$-$0.1--0.2")
    words = body_cells(latex(page({"model": ["a_b", "-2"], "rate": ["5 %", "4"]})))[1:]
    assert words == [[r"a\_b", r"5~\%"], ["-2", "4"]], "a user's words in the first column keep their signs"


def test_columns_share_one_line_and_a_small_size_is_taken_only_where_it_must():
    few = page({"Model": ["clinical"], "AUC (95 % CI)": ["0.80 (0.70-0.90)"]})
    many = page({"Variable": ["Systolic pressure"]} | {f"Group {k}": ["120/130 (92.3)"] for k in range(20)})
    assert r"\footnotesize" in latex(few)
    assert r"\scriptsize" in latex(many)
    for line in SIZES.values():
        assert sum(column_shares(few.rows, line)[0]) <= 1 + 1e-9
        assert sum(column_shares(many.rows, line)[0]) <= 1 + 1e-9


@pytest.fixture
def run(tmp_path):
    """The printed tables of a study of simulated patients, as its notebooks save them, one of its words the worst."""
    judged = {"n": [101], "events": [20], "auc": [0.8], "auc_low": [0.7], "auc_high": [0.9], "p_auc": [0.4]}
    write_json(tmp_path / "results.json", {"judged": "development"})
    write_table(tmp_path / "predictions.csv", pd.DataFrame({"patient_id": ["SIM-1", "SIM-2"]}))
    cells = {name: ["0.79 (0.66-0.87)", "-0.02 (-0.10 to 0.06)"] for name in ("auc", "sensitivity", "ppv")}
    save_table(tmp_path, "performance", pd.DataFrame({"model": ["clinical", "image"], "n": [101, 99]} | cells))
    groups = [pd.DataFrame({"split": [split], "group": [group]} | judged) for split, group in ROWS]
    save_table(tmp_path, "subgroups", pd.concat(groups, ignore_index=True))
    save_table(tmp_path, "comparisons", pd.DataFrame(columns=["a", "b", "n", "p"]))
    save_table(tmp_path, "spiegelhalter", pd.DataFrame({"model": ["clinical"], "p": [0.5]}))
    sizes = {f"{k} group": ["n = 1400", "1186/1395 (85.0)", "62 (56–71)"] for k in range(7)}
    table = {
        "Variable": ["Patients", "Anticoagulant, n (%)", "Age (years), median (quartiles)"],
        "Known": ["", "9", "9"],
    }
    save_table(tmp_path, "table1", pd.DataFrame(table | sizes | {"p": ["", "< 0.001", "0.464"]}))
    write_table(tmp_path / "external" / "predictions.csv", pd.DataFrame({"patient_id": ["real"]}))
    save_table(tmp_path / "external", "performance", pd.DataFrame({"model": ["image"], "n": [40], "auc": ["0.50"]}))
    save_table(tmp_path / "external", "transport", TRANSPORT)
    return tmp_path


TRANSPORT = pd.DataFrame({
    "model": "integrated", "place": ["study", "here", "updated"], "n": [60, 40, 40], "events": [12, 16, 16],
    "predicted": [0.2, 0.2, 0.36], "observed": [0.2, 0.4, 0.4], "observed_low": [0.1, 0.25, 0.25],
    "observed_high": [0.3, 0.57, 0.57], "auc": [0.8, 0.7, 0.68], "auc_low": [0.7, 0.5, 0.5],
    "auc_high": [0.9, 0.8, 0.8], "observed_expected": [1.0, 2.0, 1.1], "observed_expected_low": [0.5, 1.2, 0.7],
    "observed_expected_high": [1.9, 2.9, 1.6], "update": ["", "", "intercept and slope"],
})  # fmt: skip


ROWS = [("", "All patients"), ("Site", WORST), ("Site", "B"), ("Sex", "female")]


def test_what_a_paper_prints_is_set_and_nothing_that_has_no_row_any_more(run):
    made = [path.relative_to(run).as_posix() for path in print_tables(run)]
    names = [f"tables/{name}.tex" for name in ("table1", "performance", "subgroups")]
    names += [f"external/tables/{name}.tex" for name in ("performance", "transport")]
    assert made == [*names, WORD_FILE]
    assert sorted(path.relative_to(run).as_posix() for path in run.rglob("*.tex")) == sorted(names)
    save_table(run, "subgroups", pd.DataFrame(columns=["split", "group", "n"]))
    print_tables(run)
    assert not (run / "tables" / "subgroups.tex").exists()


@pytest.mark.parametrize("tested", [True, False])
def test_a_note_on_a_column_stands_only_where_the_column_does(run, tested):
    subgroups = pd.read_csv(run / "tables" / "subgroups.csv", keep_default_na=False)
    save_table(run, "subgroups", subgroups if tested else subgroups.assign(p_auc=float("nan")))
    print_tables(run)
    printed = (run / "tables" / "subgroups.tex").read_text(encoding="utf-8")
    assert ("p, AUC" in printed, "test of interaction" in printed) == (tested, tested)


def test_captions_say_whose_tables_they_are_models_are_columns_and_a_test_stands_once(run):
    print_tables(run)
    performance, subgroups, elsewhere, transport = (
        (run / path).with_suffix(".tex").read_text(encoding="utf-8")
        for path in (
            "tables/performance",
            "tables/subgroups",
            "external/tables/performance",
            "external/tables/transport",
        )
    )
    own = r"\caption{Performance of the models in development patients (cross-fitted; none was held out). Simulated"
    assert own in performance
    assert r"\caption{Performance of the models in new patients.}\label{tab:new-performance}" in elsewhere
    assert body_cells(performance)[:2] == [["", "Clinical", "Image"], ["Patients", "101", "99"]]
    head, everyone, *rows = body_cells(subgroups)
    assert head == ["Subgroup", "n", "With HE", r"AUC (95~\% CI)", "p, AUC"]
    assert everyone == ["All patients", "101", "20", "0.80 (0.70--0.90)", "0.40"]
    assert [row[-1] for row in rows] == ["0.40", "", "0.40"]
    head, study, _, updated = body_cells(transport)
    assert head[:2] + head[-1:] == ["Model", "Patients", "Update"]
    figures = ["Integrated", "study patients", "60", "12", "0.20 (0.10--0.30)", "0.20", "1.00 (0.50--1.90)"]
    assert study == [*figures, "0.80 (0.70--0.90)", ""]
    assert [updated[1], updated[-1]] == ["new patients, updated", "intercept and slope"]


def test_word_holds_the_same_tables_with_captions_and_notes_and_the_same_bytes(run):
    print_tables(run, run / "elsewhere")
    path = run / "elsewhere" / WORD_FILE
    document = Document(path)
    captions = [paragraph.text for paragraph in document.paragraphs if paragraph.style.name == "Caption"]
    assert [caption.split(".")[0] for caption in captions] == [f"Table {k}" for k in (1, 2, 3, 4, 5)]
    assert document.tables[1].rows[1].cells[0].text == "Patients"
    assert WORST.split()[0] in document.tables[2].rows[2].cells[0].text
    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    before = path.read_bytes()
    path.unlink()
    print_tables(run, run / "elsewhere")
    assert path.read_bytes() == before


def test_word_takes_signs_that_no_xml_file_may_hold():
    assert word([page({"a": ["x\x00\x0by"], "b": ["1"]})])


def test_every_printed_table_has_a_title_and_notes_that_can_be_filled_in():
    for how in PRINTED.values():
        known = {"who", "old_model", "new_model", "nri", "nri_events", "nri_non_events", "idi"}
        texts = [how["title"], *how["notes"], *how.get("notes_on", {}).values()]
        assert set(re.findall(r"{(\w+)}", " ".join(texts))) <= known
        assert set(how.get("notes_on", {})) <= set(how.get("columns", {}))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs a TeX engine: no pdflatex found")
def test_every_table_fits_the_text_of_an_a4_article(run):
    files = [path.relative_to(run) for path in print_tables(run) if path.suffix == ".tex"]
    body = "\n".join(rf"\input{{{path}}}\clearpage" for path in files)
    packages = r"\documentclass[a4paper]{article}\usepackage{array,booktabs,longtable}"
    (run / "all.tex").write_text(rf"{packages}\begin{{document}}{body}\end{{document}}")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "all.tex"], cwd=run, capture_output=True, check=False, timeout=120
    )
    log = (run / "all.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-2000:]
    assert not [points for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log) if float(points) > 1]
