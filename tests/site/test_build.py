"""A finished study becomes a folder of pages; whatever else it is given is refused in one line."""

import nbformat
import pytest
from PIL import Image

from hepred_lib.errors import StudyError
from hepred_lib.study.site import build_site


def test_the_site_stands_in_the_run_with_every_page(site, by_hand):
    assert site == by_hand / "site"
    assert {path.name for path in site.glob("*.html")} >= {
        *("index.html", "risk.html", "cases.html", "figures.html", "search.html"),
        *("05_clinical_to_he.html", "07_roc_calibration_figures.html"),
    }


def test_figures_are_numbered_through_the_book(site):
    assert "Figure 1" in (site / "05_clinical_to_he.html").read_text(encoding="utf-8")
    assert "Figure 2" in (site / "07_roc_calibration_figures.html").read_text(encoding="utf-8")


def test_formulas_need_neither_script_nor_font(site):
    page = (site / "07_roc_calibration_figures.html").read_text(encoding="utf-8")
    assert "<msub>" in page
    assert "mathjax" not in page.lower()


def test_no_page_shows_a_formula_as_latex(site):
    pages = [path for path in site.rglob("*.html") if "api" not in path.parts]
    assert not [path.name for path in pages if "$\\" in path.read_text(encoding="utf-8")]
    page = (site / "05_clinical_to_he.html").read_text(encoding="utf-8")
    assert '<div class="formula"><math' in page
    assert "0.31" in page


def test_imports_and_parameters_are_one_fold_and_the_rest_is_not(site):
    page = (site / "05_clinical_to_he.html").read_text(encoding="utf-8")
    opening = page.split('<details class="opening">')[1].split('id="selection"', maxsplit=1)[0]
    assert opening.index("What may be changed") < opening.rindex("</details>")
    assert opening.count("<details") + 1 == opening.count("</details>"), "the fold ends before the next heading"


def test_a_chapter_can_be_taken_away_with_the_data_of_its_figures(site):
    page = (site / "05_clinical_to_he.html").read_text(encoding="utf-8")
    for path in ("_static/notebooks/05_clinical_to_he.ipynb", "_static/data/bland-altman.csv"):
        assert f'href="{path}"' in page
        assert (site / path).is_file()
    nbformat.validate(nbformat.read(site / "_static" / "notebooks" / "05_clinical_to_he.ipynb", as_version=4))
    assert 'href="_static/data/bland-altman.csv"' in (site / "figures.html").read_text(encoding="utf-8")


def test_the_front_page_shows_a_small_picture_of_each_chapter(site):
    page = (site / "index.html").read_text(encoding="utf-8")
    for name in ("05_clinical_to_he", "07_roc_calibration_figures"):
        assert f'src="_static/thumbnails/{name}.png"' in page
        with Image.open(site / "_static" / "thumbnails" / f"{name}.png") as picture:
            assert picture.width <= 360


def test_no_page_names_a_folder_of_the_machine_that_built_it(site, by_hand):
    text = "".join(path.read_text(encoding="utf-8") for path in site.glob("*.html"))
    assert str(by_hand) not in text
    assert "/home/me" not in text


def test_a_report_leads_to_chapters_and_figures(site):
    front = (site / "index.html").read_text(encoding="utf-8")
    pages = ["report/tripod.html", "glossary.html", "references.html", "phantom.html", "api/hepred_lib/hepred_lib.html"]
    assert not [page for page in pages if page not in front]
    report = (site / "report" / "tripod.html").read_text(encoding="utf-8")
    assert 'href="../05_clinical_to_he.html"' in report
    assert 'href="../07_roc_calibration_figures.html#fig-roc"' in report
    assert 'href="../05_clinical_to_he.html#fig-bland-altman"' in report
    assert 'results.json"' not in report
    assert "record 05" in report


def test_the_library_is_described_by_its_docstrings(site):
    page = (site / "api" / "hepred_lib" / "hepred_lib.stats.html").read_text(encoding="utf-8")
    assert "hepred_lib.stats.discrimination.auc" in page


def test_a_study_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"finished study, but .*results\.json is not there"):
        build_site(tmp_path)


def test_a_folder_with_something_else_in_it_is_never_replaced(by_hand, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StudyError, match="--out must be a folder that is empty, a site, or not there yet"):
        build_site(by_hand, tmp_path)
    assert (tmp_path / "thesis.txt").exists()
