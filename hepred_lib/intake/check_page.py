"""The page of ``hepred check``: one HTML file that needs no network, with the counts, the problems and pictures.

It may leave the hospital: of a patient it shows the pseudonym, the values at fault and axial slices of the brain; file
names, text cells and what stood in place of a pseudonym are left out.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import pandas as pd

from hepred_lib.intake.check import Checked
from hepred_lib.intake.check_cohort import PATHS, numbered
from hepred_lib.intake.check_images import MOMENTS
from hepred_lib.intake.check_pictures import pictures
from hepred_lib.manifest import COLUMNS, PATIENT_ID, Problem

SHOWN_SCANS = 60
HIDDEN = "(not shown here)"
MOMENT_NAMES = {"baseline": "first scan", "followup": "second scan"}


def page(checked: Checked) -> str:
    """The whole page as HTML; the scans at fault are read again, one after the other, for their pictures.

    Parameters
    ----------
    checked : Checked
        What :func:`hepred_lib.intake.check.check_manifest` found.
    """
    scans = _scans_at_fault(checked)
    cards = [_card(checked, line, moment, problems) for (line, moment), problems in list(scans.items())[:SHOWN_SCANS]]
    rest = len(scans) - len(cards)
    pictured = "".join(cards) + (f"<p>And {numbered(rest, 'scan')} more at fault.</p>" if rest > 0 else "")
    warnings = len(checked.problems) - checked.refusals
    counts = [
        ("patients", checked.patients, ""),
        ("refusals", checked.refusals, "refuse"),
        ("warnings", warnings, "warn"),
    ]
    tiles = "".join(
        f'<div class="tile {mark if count else ""}"><b>{count}</b><span>{name}</span></div>'
        for name, count, mark in [*counts, ("scans at fault", len(scans), "")]
    )
    state = "refuse" if checked.refusals else "warn" if warnings else "clean"
    words = {
        "refuse": "Refused: the problems below would give wrong numbers, or stop a study.",
        "warn": "Usable: a person should look at the warnings below.",
        "clean": "No problem found.",
    }
    notes = "".join(f"<li>{escape(note)}</li>" for note in checked.notes)
    return TEMPLATE.format(
        style=STYLE,
        state=state,
        verdict=words[state],
        tiles=tiles,
        notes=f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "",
        problems=_problem_table(checked) if checked.problems else "",
        scans=f"<h2>Scans at fault</h2>{pictured}" if cards else "",
    )


def _scans_at_fault(checked: Checked) -> dict[tuple[int, str], list[Problem]]:
    """The problems of each scan that a problem of its image, mask or volume concerns, by line and moment."""
    scans: dict[tuple[int, str], list[Problem]] = {}
    for problem in checked.problems:
        moment = "baseline" if problem.column == "ivh" else problem.column.partition("_")[0]
        if moment not in MOMENTS or problem.line not in checked.table.index:
            continue
        if not pd.isna(checked.table.at[problem.line, f"{moment}_ct"]):
            scans.setdefault((problem.line, moment), []).append(problem)
    return dict(sorted(scans.items(), key=lambda item: (item[1][0].severity != "refuse", item[0])))


def _card(checked: Checked, line: int, moment: str, problems: list[Problem]) -> str:
    """One scan: whose it is, what is wrong with it, and its pictures."""
    row = checked.table.loc[line]
    mask = row[f"{moment}_ivh_mask" if all("ivh" in problem.column for problem in problems) else f"{moment}_mask"]
    shown = pictures(row[f"{moment}_ct"], None if pd.isna(mask) else mask)
    drawn = "".join(f"<figure>{svg}<figcaption>{escape(said)}</figcaption></figure>" for svg, said in shown)
    said = "".join(
        f"<li>{_chip(problem)} {escape(_sentence(problem, row))} <em>{escape(_remedy(problem, row))}</em></li>"
        for problem in problems
    )
    name = _pseudonym(row["patient_id"])
    return (
        f"<article><h3>{escape(name or 'patient without a pseudonym')}<small>{MOMENT_NAMES[moment]}, line {line}"
        f"</small></h3><ul>{said}</ul>"
        f'<div class="row">{drawn or "<p>No pictures: the scan cannot be read.</p>"}</div></article>'
    )


def _problem_table(checked: Checked) -> str:
    rows = []
    for problem in checked.problems:
        row = checked.table.loc[problem.line] if problem.line in checked.table.index else None
        cells = (str(problem.line or ""), _pseudonym(problem.patient_id), problem.column, _sentence(problem, row))
        told = "".join(f"<td>{escape(cell)}</td>" for cell in (*cells, _remedy(problem, row)))
        rows.append(f"<tr><td>{_chip(problem)}</td>{told}</tr>")
    heads = "".join(f"<th>{name}</th>" for name in ("", "Line", "Patient", "Column", "Problem", "What to do"))
    return f"<h2>Problems</h2><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _chip(problem: Problem) -> str:
    word = "refused" if problem.severity == "refuse" else "warning"
    return f'<span class="chip {escape(problem.severity)}">{word}</span>'


def _sentence(problem: Problem, row: pd.Series | None) -> str:
    value = _public(problem.value, row) if _may_be_shown(problem, row) else HIDDEN
    value = value.removesuffix(f" in {problem.column}")
    return f"{problem.column} must {_public(problem.rule, row)}, got {value}."


def _remedy(problem: Problem, row: pd.Series | None) -> str:
    return f"{_public(problem.remedy, row).rstrip('.')}." if problem.remedy else ""


def _may_be_shown(problem: Problem, row: pd.Series | None) -> bool:
    """Whether a value is a number, a code or the check's own words, and no text that might name a person."""
    if re.fullmatch(r"[-+0-9.,e% ]*", problem.value) and problem.column != "patient_id":
        return True
    if problem.line <= 1 and not problem.patient_id:
        return problem.line == 1  # a column or the header; a whole file may quote its first patient
    rule = COLUMNS.get(problem.column)
    if rule is None:
        return problem.rule.startswith("be another patient")
    if rule.kind == "path":
        return row is not None and not pd.isna(row[problem.column])
    return rule.kind != "text" and bool(_pseudonym(problem.patient_id))


def _public(text: str, row: pd.Series | None) -> str:
    """The text with the names of the row's files replaced by their columns."""
    if row is None:
        return text
    for column in PATHS:
        if not pd.isna(row[column]):
            path = Path(row[column])
            for name in (str(path), path.name, path.name.removesuffix(".gz").removesuffix(".nii")):
                text = text.replace(name, column) if len(name) > 3 else text
    return text


def _pseudonym(patient: object) -> str:
    """The identifier, where it is one: what breaks its rule may be a name."""
    return str(patient) if isinstance(patient, str) and re.fullmatch(PATIENT_ID, patient) else ""


TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Check of a cohort</title>
<style>{style}</style>
</head>
<body>
<header class="{state}"><h1>Check of a cohort</h1><p>{verdict}</p><div class="tiles">{tiles}</div></header>
<main>
{problems}
{notes}
{scans}
</main>
<footer>Made by hepred check. Slices: patient's right on the left, front at the top; orange: outline of the mask;
black outside the skull. For research, not for care.</footer>
</body>
</html>
"""

STYLE = """
:root { --ink: #1c2733; --soft: #5b6875; --line: #dde3e8; --paper: #ffffff; --ground: #f4f6f8;
  --refuse: #b8421a; --warn: #8a6100; --clean: #00724f; --blood: #e69f00; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
header { color: white; padding: 2rem max(2rem, calc(50vw - 36rem)) 1.6rem; }
header.refuse { background: #7d2d12; } header.warn { background: #6d4d00; } header.clean { background: #00583d; }
h1 { margin: 0; font-size: 1.6rem; font-weight: 650; } header p { margin: .3rem 0 1.2rem; font-size: 1.05rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; }
.tile { background: rgb(255 255 255 / .14); border-radius: .5rem; padding: .6rem 1.1rem; min-width: 8rem; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.15; } .tile span { opacity: .88; }
main, footer { max-width: 76rem; margin: 0 auto; padding: 0 2rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .7rem; }
table { width: 100%; border-collapse: collapse; background: var(--paper); border: 1px solid var(--line);
  border-radius: .5rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .7rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { white-space: nowrap; color: var(--soft); font-weight: 600; font-size: .85rem; }
tbody tr:last-child td { border-bottom: 0; }
td:nth-child(1), td:nth-child(2), td:nth-child(3) { white-space: nowrap; overflow-wrap: normal; }
td:nth-child(4) { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .85rem; min-width: 11.5rem; }
td:nth-child(6) { color: var(--soft); }
.chip { display: inline-block; border-radius: 1rem; padding: 0 .6rem; font-size: .8rem; font-weight: 600;
  color: white; }
.chip.refuse { background: var(--refuse); } .chip.warn { background: var(--warn); }
article { background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.2rem;
  margin: 0 0 1.2rem; }
h3 { margin: 0 0 .4rem; font-size: 1.05rem; } h3 small { color: var(--soft); font-weight: 400; margin-left: .7rem; }
article ul { list-style: none; margin: 0 0 .8rem; padding: 0; } article em { color: var(--soft); }
.row { display: flex; flex-wrap: wrap; gap: .8rem; align-items: flex-end; }
figure { margin: 0; width: 204px; } figcaption { color: var(--soft); font-size: .78rem; line-height: 1.3;
  min-height: 2.1rem; }
.slice { display: block; background: black; border-radius: .3rem; }
.slice path { fill: none; vector-effect: non-scaling-stroke; }
.rim { stroke: black; stroke-width: 3; } .blood { stroke: var(--blood); stroke-width: 1.5; }
.bars { fill: #8fa3b5; } .under { fill: none; stroke: var(--blood); stroke-width: 1.8; }
.axis { fill: none; stroke: var(--soft); } .histogram text { font-size: 10px; fill: var(--soft);
  text-anchor: middle; }
footer { color: var(--soft); font-size: .85rem; padding-top: 1.5rem; padding-bottom: 2.5rem; }
@media print { body { background: white; } article { break-inside: avoid; } }
"""
