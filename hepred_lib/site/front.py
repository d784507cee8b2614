"""Pages of the site that are written from a study's results: the front page, its tables and the list of figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Template
from typing import Any

import pandas as pd

from hepred_lib.results import MODELS, performance_table
from hepred_lib.site.chapters import Chapter

HEADINGS = {
    "model": "Model",
    "auc": "AUC",
    "accuracy": "Accuracy %",
    "sensitivity": "Sensitivity %",
    "specificity": "Specificity %",
    "ppv": "PPV %",
    "npv": "NPV %",
    "calibration_slope": "Calibration slope",
    "oracle": "Oracle's AUC",
}


def is_simulated(results: Mapping[str, Any]) -> bool:
    """Whether the truth behind a study's patients is known, as it is of simulated ones only."""
    return results["oracle"] is not None


def front_page(
    template: str, results: Mapping[str, Any], chapters: list[Chapter], parts: Mapping[str, Iterable[str]]
) -> str:
    """The front page in MyST.

    Parameters
    ----------
    template : str
        ``docs/index.md`` with the places ``$status``, ``$results``, ``$chapters`` and ``$contents``.
    results : mapping
        ``results.json``.
    chapters : list of Chapter
    parts : mapping of str to iterable of str
        Document names under each heading of the table of contents.
    """
    return Template(template).substitute(
        status=_status(results),
        results=_results(results),
        chapters="\n".join(_announced(chapters)),
        contents="\n\n".join(_contents(heading, list(documents)) for heading, documents in parts.items() if documents),
    )


def figures_page(chapters: Iterable[Chapter]) -> str:
    """All numbered figures, by chapter."""
    parts = ["# Figures", "Every figure of the book with the chapter that argues from it."]
    for chapter in chapters:
        if chapter.pictures:
            lines = [f"- {{numref}}`{picture.label}`. {picture.caption}" for picture in chapter.pictures]
            parts.append("\n".join([f"## [{chapter.title}]({chapter.name}.ipynb)", "", *lines]))
    return "\n\n".join(parts) + "\n"


def markdown_table(table: pd.DataFrame) -> str:
    """A table of text in Markdown, the first column to the left."""
    rows = [list(table.columns), [":---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _status(results: Mapping[str, Any]) -> str:
    real = "Nothing here is a medical device or may guide the care of a patient."
    if not is_simulated(results):
        return f"**For research only.** {real}"
    return (
        "**Simulated patients, for research only.** The figures of this study show that code and method work, and say "
        f"nothing about clinical performance. {real}"
    )


def _announced(chapters: Iterable[Chapter]) -> list[str]:
    """A line a chapter with its question; of several folds the first stands for all."""
    first = {chapter.name[:2]: chapter for chapter in reversed(list(chapters))}
    return [f"- [{one.title}]({one.name}.ipynb): {one.question}" for _, one in sorted(first.items())]


def _results(results: Mapping[str, Any]) -> str:
    models = {name: results["models"][name] for name in MODELS if results["models"].get(name)}
    table = performance_table(models)
    table["model"] = table["model"].str.capitalize()
    if is_simulated(results):
        oracles = (results["oracle"].get(f"{name}_auc") for name in models)
        table["oracle"] = ["–" if value is None else f"{value:.2f}" for value in oracles]
    table = table[[name for name in HEADINGS if name in table]].rename(columns=HEADINGS).set_index("Model").T
    table = table.rename_axis("Measure").reset_index()  # a column a model: narrow enough for a phone
    n, null = results["n"], results["models"]["null"]["accuracy"]
    who = "simulated test patients" if is_simulated(results) else "test patients"
    lines = [
        f"```{{table}} The models in {n['test']} {who}, {n['he_test']} with expansion (95 % intervals; rates at "
        "thresholds chosen on development patients).",
        ":name: tbl-models",
        "",
        markdown_table(table),
        "```",
        "",
        f"Calling nobody positive is right in {100 * null:.1f} %." if null is not None else "",
        "The *oracle* is the simulation's own probability: what could be known at best."
        if is_simulated(results)
        else "",
    ]
    absent = [name for name in MODELS if name not in models]
    if absent:
        lines.append(f"Not part of this study: the {' and the '.join(absent)} model.")
    return "\n".join(lines)


def _contents(heading: str, documents: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {heading}", "", *documents, "```"])
