"""The risk page: fields for the predictors of the clinical and the integrated model, computed in the page itself.

The page carries the coefficients as they stand in ``*_model.json``; ``docs/_static/risk.js`` does what
:meth:`hepred_lib.stats.development.DevelopedModel.predict` does for a patient without missing values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from hepred_lib.manifest import COLUMNS, predictor_label
from hepred_lib.study import read_json

IMPUTATIONS = {"clinical": "imputation.json", "integrated": "integrated_imputation.json"}
# Slider of a number of which nothing was observed: the DL score is standardized.
_STANDARDIZED = (-3.0, 0.0, 3.0)


@dataclass(frozen=True)
class Field:
    """One entry of the page.

    Attributes
    ----------
    name : str
        Manifest column, or ``dl_score``.
    label, unit : str
    options : tuple of (value, words)
        Of a choice; empty for a number.
    low, high : float or None
        Limits of the manifest.
    observed : tuple of float
        Lowest, middle and highest value among development patients; the slider's ends and its start.
    whole : bool
        Whether only whole numbers are possible.
    """

    name: str
    label: str
    unit: str = ""
    options: tuple[tuple[str, str], ...] = ()
    low: float | None = None
    high: float | None = None
    observed: tuple[float, float, float] = _STANDARDIZED
    whole: bool = False


@dataclass(frozen=True)
class RiskModel:
    """What the page needs of one model.

    Attributes
    ----------
    name : str
    intercept : float
        Shrunk, as the terms' coefficients are.
    terms : tuple of dict
        ``predictor``, ``level`` (empty for a number) and ``coefficient`` of each coded column.
    covariance : tuple of tuple of float
        Of the unshrunk intercept and coefficients, in the order of the terms.
    threshold : float
    nomogram : dict or None
        As the study stored it: ``numbers`` (``points_per_unit``, ``zero_at``) and ``levels`` (points of each) by
        predictor; None where it stored none.
    """

    name: str
    intercept: float
    terms: tuple[dict[str, Any], ...]
    covariance: tuple[tuple[float, ...], ...]
    threshold: float
    nomogram: dict[str, Any] | None


def read_risk_models(run: Path) -> tuple[list[RiskModel], list[Field]]:
    """The models that a study has of the clinical and the integrated one, and the fields that they need."""
    models: list[RiskModel] = []
    fields: dict[str, Field] = {}
    for name, imputation in IMPUTATIONS.items():
        path = run / f"{name}_model.json"
        if not path.is_file():
            continue
        content, imputed = read_json(path), read_json(run / imputation)
        terms = tuple(_term(column, value) for column, value in content["logistic"]["coefficients"].items())
        own = {predictor: _field(predictor, imputed) for predictor in dict.fromkeys(t["predictor"] for t in terms)}
        models.append(_model(name, content, terms))
        fields = own | fields
    return models, list(fields.values())


def risk_html(models: list[RiskModel], fields: list[Field]) -> str:
    """The form, the answers and the numbers that both are computed from."""
    ranges = {field.name: [field.observed[0], field.observed[2]] for field in fields if not field.options}
    content = {"models": [vars(model) for model in models], "ranges": ranges}
    entries = (
        "\n".join(_entry(field) for field in fields) or "<p>No predictor was selected: there is nothing to enter.</p>"
    )
    answers = "\n".join(_answer(model) for model in models)
    data = json.dumps(content).replace("<", "\\u003c")  # no value may end the script that carries it
    return f"""<div class="risk" id="risk">
<form class="risk-fields" aria-label="The patient" onsubmit="return false" autocomplete="off">
{entries}
<p><button type="reset" class="risk-reset">Start again</button></p>
</form>
<div class="risk-answers">
{answers}
<p class="risk-spoken" id="risk-spoken" role="status" aria-live="polite"></p>
</div>
</div>
<noscript><p>This page computes in the browser: it needs JavaScript.</p></noscript>
<script type="application/json" id="risk-models">{data}</script>
<script src="_static/risk.js" defer></script>"""


def points_html(models: list[RiskModel], fields: list[Field]) -> str:
    """The table of points that the page fills, where the study has a nomogram."""
    models = [model for model in models if model.nomogram]
    if not models:
        return "<p>This study keeps no nomogram.</p>"
    head = "".join(f'<th scope="col">{model.name.capitalize()}</th>' for model in models)
    rows = [
        f'<tr><th scope="row">{escape(field.label)}</th>'
        + "".join(f'<td data-model="{model.name}" data-points="{escape(field.name)}">–</td>' for model in models)
        + "</tr>"
        for field in fields
    ]
    total = "".join(f'<td data-model="{model.name}" data-points="total">–</td>' for model in models)
    return (
        "<p>The strongest predictor spans 0 to 100 points from one end of its axis to the other; the others are on the "
        f'same scale.</p><table class="risk-points table"><thead><tr><th scope="col">Predictor</th>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}<tr><th scope="row">Together</th>{total}</tr></tbody></table>'
    )


def _model(name: str, content: Mapping[str, Any], terms: tuple[dict[str, Any], ...]) -> RiskModel:
    logistic = content["logistic"]
    covariance = tuple(map(tuple, logistic["covariance"]))
    return RiskModel(name, logistic["intercept"], terms, covariance, content["threshold"], content.get("nomogram"))


def _term(column: str, coefficient: float) -> dict[str, Any]:
    """A coded column (``location[thalamus]``, ``male``, ``gcs``) as predictor, level and coefficient."""
    predictor, _, level = column.partition("[")
    return {"column": column, "predictor": predictor, "level": level.rstrip("]"), "coefficient": coefficient}


def _field(predictor: str, imputation: Mapping[str, Any]) -> Field:
    label, column = predictor_label(predictor), COLUMNS.get(predictor)
    levels = imputation["levels"].get(predictor)
    if predictor == "male":
        return Field(predictor, "Sex", options=(("0", "female"), ("1", "male")))
    if levels:
        return Field(predictor, label, options=tuple((level, level.replace("_", " ")) for level in levels))
    knots = imputation["knots"].get(predictor)
    if knots is None and predictor != "dl_score":
        return Field(predictor, label, options=(("0", "no"), ("1", "yes")))
    values = knots["values"] if knots else _STANDARDIZED
    limits = {"low": column.low, "high": column.high, "whole": column.kind == "integer"} if column else {}
    unit = "SD" if predictor == "dl_score" else (column.unit if column else "")
    return Field(predictor, label, unit, observed=(values[0], values[len(values) // 2], values[-1]), **limits)


def _entry(field: Field) -> str:
    column, unit = escape(field.name), f" ({escape(field.unit)})" if field.unit else ""
    name = f"risk-{column}"
    label = f'<label for="{name}">{escape(field.label)}{unit}</label>'
    if field.options:
        options = "".join(f'<option value="{escape(value)}">{escape(words)}</option>' for value, words in field.options)
        return f'<div class="risk-field">{label}<select id="{name}" name="{column}">{options}</select></div>'
    limits = "".join(
        f' {key}="{value:g}"' for key, value in (("min", field.low), ("max", field.high)) if value is not None
    )
    low, start, high, step = _slider(field)
    seen = f"development patients: {low} to {high}"
    return (
        f'<div class="risk-field">{label}'
        f'<input type="number" id="{name}" name="{column}" value="{start}" step="{1 if field.whole else "any"}"'
        f'{limits} required inputmode="decimal" aria-describedby="{name}-note">'
        f'<input type="range" id="{name}-slider" data-field="{column}" min="{low}" max="{high}" step="{step}"'
        f' value="{start}" aria-label="{escape(field.label)}, slider">'
        f'<small id="{name}-note" class="risk-note" data-range="{seen}">{seen}</small></div>'
    )


def _slider(field: Field) -> tuple[str, str, str, str]:
    """Ends, start and step of a slider as printed: a power of ten that makes at least some fifty steps."""
    low, start, high = field.observed
    decimals = 0 if field.whole else max(0, -math.floor(math.log10(max(high - low, 1e-6) / 50)))
    step = 10.0**-decimals
    ends = math.floor(round(low / step, 6)) * step, math.ceil(round(high / step, 6)) * step
    low, high, start = (f"{round(value, decimals) + 0.0:.{decimals}f}" for value in (*ends, start))  # 0.0, not -0.0
    return low, start, high, f"{step:g}"


def _answer(model: RiskModel) -> str:
    return (
        f'<section class="risk-answer" aria-labelledby="risk-{model.name}-name" data-model="{model.name}">'
        f'<h2 id="risk-{model.name}-name">{model.name.capitalize()} model</h2>'
        '<p><output class="risk-p">–</output><span class="risk-interval"></span></p>'
        '<div class="risk-bar" aria-hidden="true"><i class="risk-band"></i><i class="risk-threshold" '
        f'style="left:{100 * model.threshold:.2f}%"></i><i class="risk-dot"></i></div>'
        f'<p class="risk-note">Mark: the threshold of the study, {100 * model.threshold:.0f}&nbsp;%.</p></section>'
    )
