"""An executed notebook becomes a chapter: figures numbered, code folded, asides dropped, notebooks linked."""

from base64 import b64encode

import nbformat
import pytest

from hepred_lib.study.site import LEFT_OUT, read_chapters
from tests.site.conftest import executed

PNG = {"image/png": b64encode(b"a picture").decode(), "text/plain": "<Image>"}


@pytest.fixture
def chapters(by_hand):
    return {chapter["name"]: chapter for chapter in read_chapters(by_hand)}


@pytest.fixture
def calibration(chapters):
    return chapters["07_roc_calibration_figures"]


def sources(chapter, kind: str) -> list[str]:
    return [cell.source for cell in chapter["notebook"].cells if cell.cell_type == kind]


def test_a_chapter_has_title_question_and_numbered_figures_whose_caption_is_their_alternative_text(calibration):
    assert calibration["title"] == "07 Calibration"
    assert calibration["question"] == "Are the probabilities right?"
    assert calibration["figures"] == {"fig-roc": "ROC curves of three models."}
    shown = calibration["notebook"].cells[2].metadata.mystnb
    assert shown.figure == {"name": "fig-roc", "caption": "ROC curves of three models."}
    assert shown.image == {"alt": "ROC curves of three models.", "width": "476px"}  # half as much again as in print


def test_code_is_folded_a_figure_follows_its_cell_and_files_that_a_cell_names_are_left_out(calibration):
    cells = calibration["notebook"].cells
    assert [cell.cell_type for cell in cells] == ["markdown", "code", "code", "code", "markdown", "code"]
    tags = [cell.metadata.tags for cell in cells if cell.cell_type == "code"]
    assert tags == [["hide-input"], ["remove-input"], ["hide-input"], ["hide-input"]]
    assert cells[1].outputs == cells[-1].outputs == []


def test_another_notebook_that_is_mentioned_is_linked_and_the_own_one_is_not(chapters, calibration):
    assert "[notebook 05](05_clinical_to_he.ipynb)" in sources(calibration, "markdown")[0]
    assert "](05" not in "".join(sources(chapters["05_clinical_to_he"], "markdown"))


def folder_with(tmp_path, *cells, name: str = "00_the_paper"):
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), tmp_path / "notebooks" / f"{name}.ipynb")
    return tmp_path


def test_folds_of_a_notebook_are_told_apart_by_their_titles(tmp_path):
    head = nbformat.v4.new_markdown_cell("# 03 Training\n\n**Can it?**")
    (chapter,) = read_chapters(folder_with(tmp_path, head, name="03_multitask_training_fold2"))
    assert chapter["title"] == "03 Training, fold 2"
    assert sources(chapter, "markdown")[0].startswith("# 03 Training, fold 2\n")


def test_a_picture_without_a_caption_is_named_by_its_heading(tmp_path):
    head = nbformat.v4.new_markdown_cell("# 00 The paper\n\n## Power")
    (chapter,) = read_chapters(folder_with(tmp_path, head, executed("x", PNG)))
    assert chapter["figures"] == {"fig-plot": "Power."}
    assert chapter["notebook"].cells[2].metadata.mystnb.image.alt == "Power."


def test_figures_of_new_patients_and_figures_shown_twice_have_labels_of_their_own(tmp_path):
    shown = [executed("x", PNG, {"figure": "roc", "alt": "ROC curves."}) for _ in range(2)]
    (chapter,) = read_chapters(folder_with(tmp_path, *shown, name="08_new_patients"))
    assert chapter["figures"] == dict.fromkeys(["fig-new-roc", "fig-new-roc-2"], "New patients. ROC curves.")


def test_a_sentence_in_the_place_of_a_figure_stays(tmp_path):
    said = executed("x", {"text/markdown": "No outlines to show.", "text/plain": "<Markdown>"})
    (chapter,) = read_chapters(folder_with(tmp_path, said))
    assert not chapter["figures"]
    assert chapter["notebook"].cells[0].outputs[0].data["text/markdown"] == "No outlines to show."


def patients_page(tmp_path, text: dict):
    (tmp_path / "cohort.csv").write_text("patient_id,he\nHE-012,1\n7,0\n", encoding="utf-8")
    return folder_with(tmp_path, nbformat.v4.new_markdown_cell("# 00 The paper"), executed("x", text))


@pytest.mark.parametrize(
    "text",
    [
        {"text/html": "<table><tr><th>patient_id</th><th>he</th></tr><tr><td>7</td><td>1</td></tr></table>"},
        {"text/plain": "  patient_id  he\n0          7   1"},
        {"text/markdown": "Look at HE-012 first."},
    ],
)
def test_single_patients_are_published_only_where_that_is_asked_for(tmp_path, text):
    run = patients_page(tmp_path, text)
    for asked, shown in ((False, {"text/markdown": LEFT_OUT}), (True, text)):
        (chapter,) = read_chapters(run, patients=asked)
        assert dict(chapter["notebook"].cells[1].outputs[0].data) == shown


def test_what_says_nothing_of_single_patients_is_published(tmp_path):
    text = {"text/markdown": "7 patients of HE-01234 and HE-012-B, 12 %", "text/html": "<th>n</th>"}
    (chapter,) = read_chapters(patients_page(tmp_path, text))
    assert dict(chapter["notebook"].cells[1].outputs[0].data) == text
