"""Readers of tables and of small text files, and whole files for them."""

import csv
import io
import random
import zipfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import openpyxl

from hepred_lib.cohort.cells import read_cells
from hepred_lib.cohort.manifest import manifest_problems, read_bedside, read_manifest
from hepred_lib.errors import ManifestError
from hepred_lib.intake.spreadsheet import apply_mapping, load_mapping
from hepred_lib.intake.words import load_words
from hepred_lib.study.definition import load_study
from tests.fuzz.mutations import as_json, as_yaml, damaged_bytes, damaged_text, damaged_tree

TYPED = 0.2  # share of tables that are read as well as checked
TABLES = (
    "patient_id,baseline_ct,baseline_volume_ml,followup_volume_ml,he,age,sex,onset_to_ct_h\n"
    "HE-1,ct.nii.gz,18.0,30.0,1,71,F,2.5\nHE-2,,17.5,18.0,0,64,M,\nHE-3,,3.25,,,80,F,1.0\n",
    'patient_id;site;glucose_mmol_l;gcs;location;ward\nHE-1;"A; B";5,5;12;lobar;"the ""first"""\n'
    "HE-2;B;6,1;;thalamus;\nHE-3;;7,25;3;;2\n",
    "patient_id\tAlter\tage\tsplit\ndev1\t70\t70\tdevelopment\ndev2\t71\t71\tdevelopment\nt1\t72\t72\ttest\n",
)
BEDSIDE = {"patient_id": "HE-1", "age": 71, "sex": "F", "gcs": 12, "onset_to_ct_h": 2.5, "ivh": 1, "inr": None}
MAPPINGS = (
    {
        "age_years": "age",
        "glucose": {"column": "glucose_mmol_l", "factor": "1/18", "missing": [999]},
        "sex": {"1": "M", "2": "F"},
        "missing": [999, -9, "NA"],
        "keep": ["ward"],
        "ignore": ["age_at_death"],
    },
    {"columns": {"m_w": {"column": "sex", "values": {"m": "M", "w": "F"}}, "id": "patient_id"}, "missing": "NA"},
)
HOSPITAL = "id,age_years,glucose,sex,m_w,ward\nHE-1,71,110,1,m,A\nHE-2,999,-9,2,w,\nHE-3,NA,95.5,1,,B\n"
WORDS = {"de": {"native": ["blank", "o. KM*"], "contrast": ["mit KM", "c+"]}, "xx": {"head": ["头颅"], "nobody": ["x"]}}
STUDY = {
    "study": "mine",
    "manifest": "cohort/manifest.csv",
    "seed": 3,
    "image_source": "column",
    "folds": 2,
    "simulate": {"patients": 40, "seed": 1, "site": "B", "matrix": 128},
    "external": {"manifest": "other/manifest.csv", "simulate": {"patients": 10, "seed": 2}},
    "threads": {"05_clinical_to_he": 2},
    "parameters": {
        "04_image_to_he": {"n_resamples": 10},
        "05_clinical_to_he": {"candidates": "age gcs", "n_imputations": 2, "alpha": 0.05, "radiological": False},
    },
}


class Manifest:
    """Tables of three patients, now and then as a workbook."""

    def __init__(self, folder: Path) -> None:
        self.csv, self.xlsx = folder / "damaged.csv", folder / "damaged.xlsx"
        (folder / "ct.nii.gz").write_bytes(b"")
        self.books = tuple(_workbook(TABLES[k], ",;\t"[k], folder / "whole.xlsx") for k in range(len(TABLES)))
        self.path = self.csv

    def damage(self, chance: random.Random) -> list[Path]:
        """A text, or the cells or the bytes of a workbook."""
        number = chance.randrange(len(TABLES))
        self.path = self.csv if chance.random() < 0.9 else self.xlsx
        if self.path == self.csv:
            content = damaged_text(TABLES[number], chance, ",;\t"[number])
        elif chance.random() < 0.5:
            content = damaged_bytes(self.books[number], chance, self.books)
        else:
            content = _with_damaged_part(self.books[number], chance)
        self.path.write_bytes(content)
        return [self.path]

    def read(self, chance: random.Random) -> None:
        """Every problem, one line each; now and then the table, refused where a problem says so."""
        problems = manifest_problems(self.path)
        for line in map(str, problems):
            assert self.path.name in line, line
            assert len(line) <= 500, line
            assert line.isprintable(), line
        refusals = [problem for problem in problems if problem.severity == "refuse"]
        if chance.random() < TYPED:
            with nullcontext() if not refusals else suppress(ManifestError):
                read_manifest(self.path)
        if refusals:
            raise ManifestError(str(refusals[0]))


class Tree:
    """A small file of keys and values: whole trees for it, how they are written, and what is done with it."""

    def __init__(self, path: Path, trees: Sequence[dict], dump: Callable, use: Callable[[Path], object]) -> None:
        self.path, self.trees, self.dump, self.use = path, trees, dump, use

    def damage(self, chance: random.Random) -> list[Path]:
        """Other values, keys, bytes."""
        self.path.write_bytes(damaged_tree(chance.choice(self.trees), chance, self.dump))
        return [self.path]

    def read(self, chance: random.Random) -> None:
        """As the library does."""
        self.use(self.path)


def bedside(folder: Path) -> Tree:
    """The bedside values of one patient, by the rules of the manifest."""
    return Tree(folder / "damaged.json", [BEDSIDE], as_json, read_bedside)


def study_file(folder: Path) -> Tree:
    """A study file that names every key, each of which is checked."""
    return Tree(folder / "damaged.yaml", [STUDY], as_yaml, load_study)


def words(folder: Path) -> Tree:
    """A hospital's own words of descriptions; a text is read with them."""

    def use(path: Path) -> None:
        load_words.cache_clear()
        load_words(path).read("Schädel blank o. KM")

    return Tree(folder / "damaged.yaml", [WORDS], as_yaml, use)


def mapping(folder: Path) -> Tree:
    """A mapping, and a hospital's table that it is applied to."""
    (folder / "hospital.csv").write_text(HOSPITAL, encoding="utf-8")
    cells = read_cells(folder / "hospital.csv")

    def use(path: Path) -> None:
        for line in map(str, apply_mapping(cells, load_mapping(path)).problems):
            assert len(line) <= 500, line
            assert line.isprintable(), line

    return Tree(folder / "damaged.yaml", MAPPINGS, as_yaml, use)


def _workbook(table: str, separator: str, path: Path) -> bytes:
    """A table as a workbook; numbers as numbers."""
    book = openpyxl.Workbook()
    for row in csv.reader(table.splitlines(), delimiter=separator):
        book.active.append([float(cell) if cell.replace(".", "", 1).isdigit() else cell or None for cell in row])
    book.save(path)
    return path.read_bytes()


def _with_damaged_part(book: bytes, chance: random.Random) -> bytes:
    """A workbook in which the text of one part is damaged."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(changed, "w") as new:
        names = old.namelist()
        chosen = chance.choice([name for name in names if name.startswith("xl/")] + ["xl/worksheets/sheet1.xml"] * 8)
        for name in names:
            content = old.read(name)
            if name == chosen:
                content = damaged_text(content.decode().replace("><", ">\n<"), chance, chance.choice(' "=<'))
            new.writestr(name, content)
    return changed.getvalue()
