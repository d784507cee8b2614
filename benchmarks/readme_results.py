"""The results table of the README, from the demo study's own results.json: no number is typed in by hand.

The numbers that the table shows are kept beside the documentation (``docs/demo_results.json``), so that a test can hold
the README to them without a run.

make readme
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepred_lib.study.definition import PROJECT
from hepred_lib.study.files import read_json, write_bytes, write_json
from hepred_lib.study.report import as_table
from hepred_lib.study.summary import MODELS
from hepred_lib.study.tables import performance_table

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
NUMBERS = PROJECT / "docs" / "demo_results.json"
SHOWN = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "auc", "calibration_slope")


def shown_numbers(results: Mapping[str, Any]) -> dict[str, Any]:
    """Of a study's results what the section shows, in the same structure."""
    models = {
        name: {key: found[key] for rate in SHOWN for key in (rate, f"{rate}_ci")}
        for name in MODELS
        if (found := results["models"].get(name))
    }
    return {
        "study": results["study"],
        "n": {key: results["n"][key] for key in ("test", "he_test")},
        "models": models | {"null": results["models"]["null"]},
        "oracle": results["oracle"],
        "detection": {key: results["detection"][key] for key in ("auc", "auc_ci")},
        "segmentation": {key: results["segmentation"][key] for key in ("dice_median", "dice_iqr")},
    }


def section(numbers: Mapping[str, Any]) -> str:
    """The section as Markdown."""
    n, models = numbers["n"], {name: numbers["models"][name] for name in MODELS if name in numbers["models"]}
    table = performance_table(models)
    if numbers["oracle"]:
        table["oracle's AUC"] = [_digits(numbers["oracle"][f"{name}_auc"], 2) for name in models]
    table = table.rename(columns={"auc": "AUC", "calibration_slope": "calibration slope"})
    return "\n".join(
        [
            f"{'**Simulated patients**: the' if numbers['oracle'] else 'The'} {numbers['study']} study's test set, "
            f"{n['test']} patients, {n['he_test']} with HE (`runs/{numbers['study']}/results.json`; 95 % intervals; "
            f"rates in percent, at thresholds chosen on development patients)."
            " Read the intervals.",
            "",
            as_table(table),
            "",
            f"Classifying every patient as negative gives an accuracy of "
            f"{100 * numbers['models']['null']['accuracy']:.1f} %. "
            f"{_reading(numbers)}"
            + (
                "The *oracle* is the best achievable AUC, that of the true simulated probabilities; by chance a model "
                "can exceed it."
                if numbers["oracle"]
                else ""
            ),
        ]
    )


def with_section(readme: str, content: str) -> str:
    """The README with this text between its marks."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{content}\n{END}{rest.split(END)[1]}"


def _reading(numbers: Mapping[str, Any]) -> str:
    found, drawn = numbers["detection"], numbers["segmentation"]
    words = ""
    if found["auc"] is not None:
        words += (
            f"Slices with blood are detected with an AUC of {_digits(found['auc'], 3)}{_limits(found['auc_ci'], 3)}. "
        )
    if drawn["dice_median"] is not None:
        quartiles = "-".join(_digits(value, 2) for value in drawn["dice_iqr"])
        words += f"The median Dice of the segmentation is {_digits(drawn['dice_median'], 2)} (quartiles {quartiles}). "
    return words


def _limits(interval: list[float] | None, digits: int) -> str:
    return f" ({'-'.join(_digits(limit, digits) for limit in interval)})" if interval else ""


def _digits(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def main(run: Path = PROJECT / "runs" / "demo") -> None:
    """Write the numbers of a run and the README's section from them."""
    write_json(NUMBERS, shown_numbers(read_json(run / "results.json")))
    path = PROJECT / "README.md"
    changed = with_section(path.read_text(encoding="utf-8"), section(read_json(NUMBERS)))
    write_bytes(path, changed.encode())


if __name__ == "__main__":
    main()
