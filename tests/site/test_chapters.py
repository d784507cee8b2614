"""An executed notebook becomes a chapter: figures numbered, code folded, asides dropped, notebooks linked."""

from base64 import b64encode

import nbformat
import pytest
from matplotlib.figure import Figure

from hepred_lib.figures.catalogue import FIGURES
from hepred_lib.figures.style import render
from hepred_lib.site.captions import CAPTIONS, for_screen
from hepred_lib.site.chapters import LEFT_OUT, read_chapters


@pytest.fixture
def chapters(by_hand):
    return {chapter.name: chapter for chapter in read_chapters(by_hand)}


@pytest.fixture
def calibration(chapters):
    return chapters["07_roc_calibration_figures"]


def sources(chapter, kind: str) -> list[str]:
    return [cell.source for cell in chapter.notebook.cells if cell.cell_type == kind]


def test_title_and_question_are_those_of_the_notebook(calibration):
    assert calibration.title == "07 Calibration"
    assert calibration.question == "Are the probabilities right?"


def test_a_figure_named_in_a_cell_is_the_one_that_the_study_saved(calibration, by_hand):
    (picture,) = calibration.pictures
    assert picture.png == (by_hand / "figures" / "roc.png").read_bytes()
    assert picture.caption == CAPTIONS["roc"]


def test_the_words_for_a_figure_are_those_written_beside_it(calibration):
    assert calibration.pictures[0].alternative == "The ROC curves of three models."


def test_without_written_words_a_figure_is_described_by_its_caption(chapters):
    (picture,) = chapters["05_clinical_to_he"].pictures
    assert picture.alternative == f"Figure: {CAPTIONS['bland_altman']}"


def test_a_figure_follows_its_cell_and_is_shown_once(calibration):
    kinds = [cell.cell_type for cell in calibration.notebook.cells]
    assert kinds == ["markdown", "code", "markdown", "code", "markdown", "code"]
    assert calibration.notebook.cells[1].outputs == []
    assert "```{figure} figures/roc.png" in calibration.notebook.cells[2].source


def test_progress_bars_and_file_names_are_no_part_of_the_book(calibration):
    table, record = [cell for cell in calibration.notebook.cells if cell.cell_type == "code"][1:]
    assert [output.output_type for output in table.outputs] == ["execute_result"]
    assert record.outputs == []


def test_code_is_folded_away(calibration):
    tags = [cell.metadata.tags for cell in calibration.notebook.cells if cell.cell_type == "code"]
    assert tags == [["hide-input"]] * 3


def test_another_notebook_that_is_mentioned_is_linked_and_the_own_one_is_not(by_hand, chapters, calibration):
    assert "[notebook 05](05_clinical_to_he.ipynb)" in sources(calibration, "markdown")[0]
    assert "](05" not in "".join(sources(chapters["05_clinical_to_he"], "markdown"))


def folder_with(tmp_path, *cells, name: str = "00_the_paper"):
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), tmp_path / "notebooks" / f"{name}.ipynb")
    return tmp_path


def cell_showing(data: dict, source: str):
    output = nbformat.v4.new_output("execute_result", data, execution_count=1)
    return nbformat.v4.new_code_cell(source, outputs=[output])


def test_folds_of_a_notebook_are_told_apart_by_their_titles(tmp_path):
    head = nbformat.v4.new_markdown_cell("# 03 Training\n\n**Can it?**")
    (chapter,) = read_chapters(folder_with(tmp_path, head, name="03_multitask_training_fold2"))
    assert chapter.title == "03 Training, fold 2"
    assert chapter.notebook.cells[0].source.startswith("# 03 Training, fold 2\n")


def test_a_picture_that_only_the_notebook_holds_is_taken_from_it(tmp_path, by_hand):
    png = (by_hand / "figures" / "roc.png").read_bytes()
    shown = cell_showing({"image/png": b64encode(png).decode(), "text/plain": "<Figure size 1x1>"}, "plt.show()")
    head = nbformat.v4.new_markdown_cell("# 00 The paper\n\n## Power")
    (chapter,) = read_chapters(folder_with(tmp_path, head, shown))
    assert [(one.png, one.alternative) for one in chapter.pictures] == [(png, "A plot: Power.")]


def test_a_picture_for_print_is_made_smaller_for_the_screen_and_keeps_its_width():
    small, large = (render(Figure(figsize=(3, 1)), png_dpi=dpi)["png"] for dpi in (200, 600))
    kept, reduced = (for_screen(png, name="x", caption="X.", alternative="x") for png in (small, large))
    assert kept.png == small
    assert kept.width_px == reduced.width_px == 432  # 3 in at 96 pixels and half as much again
    assert int.from_bytes(reduced.png[16:20], "big") == 2 * 432


def test_figures_of_new_patients_have_labels_of_their_own(tmp_path, by_hand):
    shown = cell_showing({"text/plain": "<Figure size 1x1>"}, 'show(folder, "roc", x) if x else None')
    run = folder_with(tmp_path, shown, name="08_new_patients")
    (run / "external" / "figures").mkdir(parents=True)
    (run / "external" / "figures" / "roc.png").write_bytes((by_hand / "figures" / "roc.png").read_bytes())
    (picture,) = read_chapters(run)[0].pictures
    assert picture.label == "fig-new-roc"
    assert picture.caption.startswith("New patients.")


def test_a_figure_that_is_shown_twice_has_two_labels(tmp_path, by_hand):
    cells = [cell_showing({"text/plain": "<Figure size 1x1>"}, 'show(run.folder, "roc", x)') for _ in range(2)]
    run = folder_with(tmp_path, *cells)
    (run / "figures").mkdir()
    (run / "figures" / "roc.png").write_bytes((by_hand / "figures" / "roc.png").read_bytes())
    assert [picture.label for picture in read_chapters(run)[0].pictures] == ["fig-roc", "fig-roc-2"]


def test_a_sentence_in_the_place_of_a_figure_stays(tmp_path):
    said = cell_showing(
        {"text/markdown": "No outlines to show.", "text/plain": "<Markdown>"}, 'show(run.folder, "x", y)'
    )
    (chapter,) = read_chapters(folder_with(tmp_path, said))
    assert not chapter.pictures
    assert chapter.notebook.cells[0].outputs[0].data["text/markdown"] == "No outlines to show."


def test_every_figure_of_the_catalogue_has_a_caption():
    assert set(FIGURES) <= set(CAPTIONS)


def patients_page(tmp_path, text: dict):
    (tmp_path / "cohort.csv").write_text("patient_id,he\nHE-012,1\n7,0\n", encoding="utf-8")
    return folder_with(tmp_path, nbformat.v4.new_markdown_cell("# 00 The paper"), cell_showing(text, "table"))


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
        assert dict(chapter.notebook.cells[1].outputs[0].data) == shown


def test_what_says_nothing_of_single_patients_is_published(tmp_path):
    text = {"text/markdown": "7 patients of HE-01234 and HE-012-B, 12 %", "text/html": "<th>n</th>"}
    (chapter,) = read_chapters(patients_page(tmp_path, text))
    assert dict(chapter.notebook.cells[1].outputs[0].data) == text
