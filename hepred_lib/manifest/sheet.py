"""The rows of a table before they are a table, and the fault of a whole file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from hepred_lib.manifest.rules import PATIENT_ID, Problem

SAVE_AS = "Save it as a CSV file (UTF-8) or as an Excel workbook (.xlsx)"
LOOK_ALIKES = str.maketrans("аеорсухіјѕАВЕКМНОРСТХІЈЅαορυνΑΒΕΗΙΚΜΝΟΡΤΥΧ", "aeopcyxijsABEKMHOPCTXIJSaopuvABEHIKMNOPTYX")
PATIENT_COLUMN = re.compile(
    r"(dicom|study|hospital|n|no|nr|id|numero|codigo|codice)?(pat|patient|patients|patienten|paciente|paziente)"
    r"(id|nr|no|num|nummer|number|code|identifier|identifiant)?"
    r"|(subject|case|record|study|fall|proband|probanden|participant)(id|nr|no|nummer|number|code)"
    r"|id|pseudonym|mrn|患者编号|患者番号|환자번호"
)


@dataclass(frozen=True)
class Sheet:
    """Rows of stripped text, the header first, and the line of each; ``problems`` name no file yet."""

    lines: list[int]
    rows: list[list[str]]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    delimited: bool = True


class TableError(Exception):
    """Why there is no table to look at: the parts of a problem."""

    def __init__(self, rule: str, value: str, remedy: str = "", line: int = 0, column: str = "", patient: str = ""):
        super().__init__(rule, value)
        self.parts = (line, column or "the table", patient, rule, value, "refuse", remedy)

    def problem(self, file: str) -> Problem:
        """The fault as a problem of a file."""
        return Problem(file, *self.parts)


def one_line(text: str) -> str:
    """A cell's text with a blank for each line break and the blanks around it."""
    return " ".join(part.strip() for part in re.split(r"[\r\n]+", text)) if "\n" in text or "\r" in text else text


def bare_name(name: str) -> str:
    """Letters and digits of a name in lower case; Cyrillic and Greek letters as the Latin ones that they look like."""
    latin = unicodedata.normalize("NFKC", name).translate(LOOK_ALIKES)
    return "".join(filter(str.isalnum, latin)).lower()


def looks_like_patient(name: str) -> bool:
    """Whether a column's name is that of a patient's identifier."""
    return PATIENT_COLUMN.fullmatch(bare_name(name)) is not None


def patient_of(row: Sequence[str], header: Sequence[str]) -> str:
    """The patient of a row, where its identifier certainly is one; else nothing."""
    place = next((k for k, name in enumerate(header) if looks_like_patient(name)), len(row))
    name = row[place].strip() if place < len(row) else ""
    return name if re.fullmatch(PATIENT_ID, name) else ""
