"""The page for a supervisor: one A4 page, warnings that follow the facts, names of a study as data."""

import base64
import re
from html import unescape
from io import BytesIO

import numpy as np
import pytest
import yaml
from pypdf import PdfReader

from hepred_lib.errors import InputError
from hepred_lib.figures.style import MM_PER_INCH
from hepred_lib.study.files import read_json, write_bytes, write_table
from hepred_lib.study.one_page import MARGIN_MM, POINTS_PER_INCH, OnePage, Part, pdf, read_picture, text_width, wrapped
from hepred_lib.study.report import MOST_WARNINGS, TEMPLATES, Files, summary, write_report
from tests.study.small_run import PICTURE, change_json, made_cohort, make_column, make_real, make_tables_only

HOSTILE = "<script>alert(1)</script> $x_1^2$ {{ 7 * 7 }} &amp; \u202eevil \u6771"
LONG = HOSTILE + "w" * 300


class Page:
    """Tags of a page, its words, its rows by model, and its warnings."""

    def __init__(self, text: str) -> None:
        self.tags, self.words = re.findall(r"<(\w+)", text), unescape(re.sub("<[^>]*>", " ", text))
        self.warnings = [unescape(item) for item in re.findall("<li>(.*?)</li>", text)]
        self.pictures = re.findall('src="([^"]+)"', text)
        cells = re.findall("<td>(.*?)</td>", text)
        self.rows = {cells[k]: cells[k + 1 : k + 5] for k in range(0, len(cells), 5)}


def shown(run) -> Page:
    """The page as a browser reads it; the paper has one side and says the same."""
    write_report(run)
    text = (run / "report" / "summary.html").read_text(encoding="utf-8")
    page = Page(text)
    (side,) = PdfReader(run / "report" / "summary.pdf").pages
    assert [round(float(length) / POINTS_PER_INCH * MM_PER_INCH) for length in side.mediabox[2:]] == [210, 297]
    paper = " ".join(side.extract_text().replace("•", " ").split())
    for sentence in [*page.warnings, *re.findall(r"<p[^>]*>([^<&]+)</p>", text)]:
        assert " ".join(sentence.split()) in paper
    return page


def test_every_model_has_its_intervals_on_one_page_beside_the_pictures_and_the_other_hospital(run):
    page = shown(run)
    models = read_json(run / "results.json")["models"]
    for name in ("image", "clinical", "integrated"):
        low, high = models[name]["auc_ci"]
        row = page.rows[name.capitalize()]
        assert row[0] == f"{models[name]['auc']:.2f} ({low:.2f}–{high:.2f})"
        assert [cell.count("(") for cell in row] == [1, 1, 1, 1]
    assert "120 with an outcome, 30 expanded (25.0 %)" in page.words
    assert "Not for clinical use" in page.words
    assert [base64.b64decode(source.partition(",")[2]) for source in page.pictures] == [PICTURE] * 2
    found = read_json(run / "external.json")["models"]["clinical"]
    share = found["n_events"] / found["n"]
    told = f"Clinical: {share:.0%} of 40 expanded, {share / found['observed_expected']:.0%} were predicted"
    assert told.replace("%", " %") in page.words


@pytest.mark.parametrize("change", [make_tables_only, make_column, make_real])
def test_each_kind_of_study_has_its_page(run, change):
    page = shown(change(run))
    assert ("Simulated patients" in page.words) == (change is not make_real)
    assert ("Integrated" in page.words) == (change is not make_tables_only)
    assert ("was computed elsewhere: this study cannot know" in " ".join(page.warnings)) == (change is make_column)
    assert "Not known" not in page.words


def test_without_another_hospital_the_page_says_so(run):
    (run / "external.json").unlink()
    assert "have not been evaluated in patients of another hospital" in shown(run).words


def of_many(run):
    """The study with patients enough for everything, good models, and every outcome known."""
    cohort = made_cohort()
    write_table(run / "cohort.csv", cohort.loc[cohort.index.repeat(50)])

    def change(content):
        content["n"] = {key: 50 * value for key, value in content["n"].items()}
        for model in ("image", "clinical", "integrated"):
            content["models"][model] |= {"calibration_slope_ci": [0.9, 1.1], "calibration_in_the_large_ci": [-0.1, 0.1]}
            content["models"][model]["auc_ci"] = [0.7, 0.8]

    for name in ("clinical", "integrated"):
        change_json(run / f"{name}_model.json", lambda content: content["logistic"].update(shrinkage=0.95))
    return change_json(run / "results.json", change)


FACTS = {
    "Only 99 of the 2000 test patients expanded": lambda content: content["n"].update(he_test=99),
    "No patient was held out": lambda content: content.update(judged="development"),
    "was computed elsewhere": lambda content: content.update(image_source="column"),
    "500 of 6500 patients with a hemorrhage (7.7 %)": lambda content: content["n"].update(without_outcome=500),
    "predictions are too extreme (image)": lambda content: content["models"]["image"].update(
        calibration_slope_ci=[0.3, 0.7]
    ),
    "not excluded for: clinical.": lambda content: content["models"]["clinical"].update(auc_ci=[0.45, 0.9]),
    "189 patients short of Riley's minimum for 3 candidate parameters": lambda content: content["n"].update(
        development=100
    ),
}


def warnings_of(run) -> list[str]:
    """The warnings of the page alone."""
    return summary(Files(run), yaml.safe_load((TEMPLATES / "summary.yaml").read_text(encoding="utf-8")), []).warnings


def test_a_warning_follows_from_its_fact_and_where_nothing_calls_for_it_there_is_none(run):
    whole = (of_many(run) / "results.json").read_bytes()
    assert shown(run).warnings == ["None of the checks behind this page found a reason for caution."]
    for words, change in FACTS.items():
        change_json(run / "results.json", change)
        (warning,) = warnings_of(run)
        assert words in warning
        (run / "results.json").write_bytes(whole)
    change_json(run / "integrated_model.json", lambda content: content["logistic"].update(shrinkage=0.5))
    (warning,) = warnings_of(run)
    assert "integrated 0.50." in warning


def test_five_warnings_at_most_and_bias_comes_before_imprecision(run):
    def change(content):
        content |= {"image_source": "column", "judged": "development"}
        content["n"]["without_outcome"] = 60

    warnings = warnings_of(change_json(run / "results.json", change))
    assert len(warnings) == MOST_WARNINGS
    assert [re.match(r"No patient|The image|60 of", words) is not None for words in warnings] == [1, 1, 1, 0, 0]


def test_what_the_study_does_not_know_is_said_in_its_place(run):
    change_json(run / "results.json", lambda content: content["n"].update(without_outcome=None))
    assert "Not known: results.json has no value for n.without_outcome." in warnings_of(run)


def test_names_are_data_and_still_one_page(run):
    change_json(run / "results.json", lambda content: content.update(study=HOSTILE, he_definition=HOSTILE))
    change_json(run / "external.json", lambda content: content.update(manifest=LONG))
    write_table(
        run / "excluded.csv", made_cohort().head(3)[["patient_id"]].assign(reason=[f"{k}{LONG}" for k in "abc"])
    )
    change_json(run / "results.json", lambda content: content["n"].update(excluded=3))
    page = shown(run)
    assert "script" not in page.tags
    assert "study <script>alert(1)</script> $x_1^2$ {{ 7 * 7 }} &amp; evil □" in page.words
    assert "\u202e" not in page.words


def test_the_largest_page_is_cut_nowhere():
    words = "A sentence of words that fill a line of the page. "
    part, wide = Part("A heading", 6 * words), "−1234567.00 (−1e+07 to 1e+07)"
    picture = read_picture(PICTURE)
    page = OnePage(
        words, 2 * words, part, part, part, [["model", *4 * ["figure"]], *3 * [["integrated", *4 * [wide]]]],
        [picture, np.tile(picture, (1, 2, 1))], part, part, 5 * [4 * words], part, 3 * words,
    )  # fmt: skip
    (side,), places = PdfReader(BytesIO(pdf(page))).pages, []
    side.extract_text(visitor_text=lambda text, matrix, *_: places.append(matrix[4:]) if text.strip() else None)
    left, bottom = np.min(places, axis=0) / POINTS_PER_INCH * MM_PER_INCH
    assert min(left, bottom) >= MARGIN_MM - 0.1
    assert side.extract_text().split()[-2:] == ["the", "page."]
    assert pdf(page) == pdf(page)


def test_lines_are_no_wider_than_the_page_and_a_number_keeps_its_unit():
    lines = wrapped("a b " * 60 + "33 %", 9, 100)
    assert max(text_width(line, 9) for line in lines) <= 100
    assert " ".join(lines) == "a b " * 60 + "33 %"
    assert wrapped("more than 33 %", 9, text_width("more than 33", 9) + 0.1) == ["more than", "33 %"]


@pytest.mark.parametrize("content", [b"", b"picture", PICTURE[:60], PICTURE[:16] + b"\x7f" * 8 + PICTURE[24:]])
def test_a_damaged_picture_is_refused_by_name(run, content):
    write_bytes(run / "figures" / "roc.png", content)
    with pytest.raises(InputError, match=r"cannot use .*roc\.png: .*Run the study again"):
        write_report(run)
    assert not Files(run).has("report/summary.*")
