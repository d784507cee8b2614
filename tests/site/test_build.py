"""A finished study becomes a folder of pages; whatever else it is given is refused in one line."""

import nbformat
import pytest
from PIL import Image

from hepred_lib.errors import StudyError
from hepred_lib.study.site import build_site

CLINICAL, CALIBRATION = "05_clinical_to_he.html", "07_roc_calibration_figures.html"


def test_the_site_stands_in_the_run_with_every_page(site, by_hand):
    assert site == by_hand / "site"
    assert {path.name for path in site.glob("*.html")} >= {
        *("index.html", "risk.html", "cases.html", "figures.html", "search.html"),
        *(CLINICAL, CALIBRATION),
    }


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (CLINICAL, ["Figure 1", '<div class="formula"><math', "0.31"]),
        (CALIBRATION, ["Figure 2", "<msub>"]),
        ("figures.html", ['href="_static/data/bland-altman.csv"']),
        ("index.html", ["report/tripod.html", "glossary.html", "references.html", "phantom.html"]),
        ("index.html", ["api/hepred_lib/hepred_lib.html", "_static/thumbnails/05_clinical_to_he.png"]),
        ("api/hepred_lib/hepred_lib.stats.html", ["hepred_lib.stats.discrimination.auc"]),
    ],
)
def test_a_page_holds_its_numbered_figures_its_formulas_and_what_it_leads_to(site, page, words):
    text = (site / page).read_text(encoding="utf-8")
    assert not [word for word in words if word not in text]


def test_no_page_shows_a_formula_as_latex_needs_a_script_for_it_or_names_a_folder_of_the_machine(site, by_hand):
    pages = [path.read_text(encoding="utf-8") for path in site.rglob("*.html") if "api" not in path.parts]
    assert not [sign for sign in ("$\\", "mathjax", str(by_hand), "/home/me") if any(sign in text for text in pages)]


def test_imports_and_parameters_are_one_fold_and_the_rest_is_not(site):
    page = (site / CLINICAL).read_text(encoding="utf-8")
    opening = page.split('<details class="opening">')[1].split('id="selection"', maxsplit=1)[0]
    assert opening.index("What may be changed") < opening.rindex("</details>")
    assert opening.count("<details") + 1 == opening.count("</details>"), "the fold ends before the next heading"


def test_a_chapter_can_be_taken_away_with_the_data_of_its_figures(site):
    page = (site / CLINICAL).read_text(encoding="utf-8")
    for path in ("_static/notebooks/05_clinical_to_he.ipynb", "_static/data/bland-altman.csv"):
        assert f'href="{path}"' in page
        assert (site / path).is_file()
    with Image.open(site / "_static" / "thumbnails" / "05_clinical_to_he.png") as picture:
        assert picture.width <= 360
    nbformat.validate(nbformat.read(site / "_static" / "notebooks" / "05_clinical_to_he.ipynb", as_version=4))


def test_a_report_leads_to_chapters_and_figures(site):
    report = (site / "report" / "tripod.html").read_text(encoding="utf-8")
    assert 'href="../05_clinical_to_he.html"' in report
    assert 'href="../07_roc_calibration_figures.html#fig-roc"' in report
    assert 'href="../05_clinical_to_he.html#fig-bland-altman"' in report
    assert 'results.json"' not in report
    assert "record 05" in report


def test_a_study_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"finished study, but .*results\.json is not there"):
        build_site(tmp_path)


def test_a_folder_with_something_else_in_it_is_never_replaced(by_hand, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StudyError, match="--out must be a folder that is empty, a site, or not there yet"):
        build_site(by_hand, tmp_path)
    assert (tmp_path / "thesis.txt").exists()
