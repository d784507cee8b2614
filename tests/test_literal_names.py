"""Names of sites and columns are text, whatever signs they have: in figures, LaTeX, Markdown and formulas."""

import re
import warnings

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from hepred_lib.figures.catalogue import draw
from hepred_lib.figures.style import png
from hepred_lib.literal import for_formula, for_latex, for_markdown
from hepred_lib.study.drawing import Markdown

NAMES = [
    "$", "$$", r"$\frac{1}{0}$", "a_b^c", "50 % {download}`x`", "<script>alert(1)</script>", "back\\slash", "| pipe |",
    "*b* _i_ [l](http://x)", "München 東京 🏥", "x" * 300, "tab\tline\nend", "&lt;", "#1 ~ ${x}",
]  # fmt: skip


def odds(names):
    columns = {"odds_ratio": 2.0, "low": 1.0, "high": 3.0, "model": "clinical", "p": 0.02}
    return pd.DataFrame({"name": names, "label": names}).assign(**columns)


def test_a_figure_draws_every_name_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw("odds_ratios_clinical", odds(NAMES))
        assert png(figure, dpi=50)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"$", "$$", "a_b^c", "München □□ □"} <= set(labels)
    assert max(map(len, labels)) <= 64


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_a_name_as_text(name):
    page = MarkdownIt("commonmark").render(f"Site {for_markdown(name)}.")
    assert not re.search(r"<(?!/?p>)", page)


@pytest.mark.parametrize("name", NAMES)
def test_latex_has_no_sign_that_it_cannot_set(name):
    text = for_latex(name)
    assert all(ord(sign) < 0x180 for sign in text)
    assert not re.search(r"(?<!\\)[%#&]", text)


def test_a_formula_reads_no_sign_of_a_name():
    assert for_formula(r"$\frac{a}_b^2 <x>") == r"fraca\_b2\ x"


def test_a_sentence_of_a_notebook_carries_no_html():
    assert Markdown("**p < 0.05** for <img src=x>").data == "**p < 0.05** for &lt;img src=x>"
