import matplotlib.image
import pandas as pd
import pytest

from hepred_lib.figures.catalogue import FIGURES
from hepred_lib.study.drawing import publish, redraw, show
from hepred_lib.study.tables import save_table

FLOW = pd.DataFrame(
    [("assessed", "Rows of the manifest", 9, 2), ("included", "With outcome", 9, 2)],
    columns=["step", "text", "n", "events"],
)


def test_a_shown_figure_carries_its_name_and_its_caption_as_alternative_text(tmp_path):
    content, metadata = show(tmp_path, "flow", FLOW)._repr_mimebundle_()
    assert "image/png" in content
    assert metadata["image/png"]["alt"] == FIGURES["flow"].caption
    assert metadata["image/png"]["figure"] == "flow"
    assert metadata["image/png"]["width"] == 658, "174 mm at 96 pixels an inch"


def test_a_shown_figure_is_saved_for_print_with_its_caption_beside_it(tmp_path):
    alternative = show(tmp_path, "flow", FLOW).alt
    assert (tmp_path / "figures" / "flow.txt").read_text(encoding="utf-8") == f"{alternative}\n"
    assert (tmp_path / "figures" / "flow.pdf").read_bytes().startswith(b"%PDF")
    width = matplotlib.image.imread(tmp_path / "figures" / "flow.png").shape[1]
    assert width == pytest.approx(174 / 25.4 * 600, abs=1)


def test_a_figure_drawn_again_has_the_same_bytes(tmp_path):
    show(tmp_path, "flow", FLOW)
    before = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    for path in (tmp_path / "figures").iterdir():
        path.unlink()
    assert redraw(tmp_path) == [tmp_path / "figures" / "flow.pdf"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()} == before


def test_a_published_table_is_saved_for_machines_and_for_latex_and_returned(tmp_path):
    table = pd.DataFrame({"model": ["a_b"], "auc": [0.123456]})
    assert publish(tmp_path, "performance", table) is table
    assert (tmp_path / "tables" / "performance.csv").read_text() == "model,auc\na_b,0.123456\n"
    assert r"a\_b & 0.123 \\" in (tmp_path / "tables" / "performance.tex").read_text()


def test_a_table_printed_otherwise_than_its_numbers_is_set_again_as_printed(tmp_path):
    table = pd.DataFrame({"model": ["image"], "auc": [0.8], "auc_low": [0.7], "auc_high": [0.9], "p": [1e-5]})
    save_table(tmp_path, "performance", table)
    latex = tmp_path / "tables" / "performance.tex"
    before = latex.read_bytes()
    latex.unlink()
    redraw(tmp_path)
    assert latex.read_bytes() == before
    assert b"auc\\_low" not in before


def test_figures_of_patients_from_elsewhere_are_drawn_again_too(tmp_path):
    show(tmp_path / "external", "flow", FLOW)
    pdf = tmp_path / "external" / "figures" / "flow.pdf"
    pdf.unlink()
    assert redraw(tmp_path) == [pdf]
    assert pdf.exists()


def test_every_table_is_set_again_from_its_csv_with_the_same_bytes(tmp_path):
    publish(tmp_path, "table1", pd.DataFrame({"variable": ["Age"], "all": ["62 (52–71)"], "p": ["0.80"]}))
    latex = tmp_path / "tables" / "table1.tex"
    before = latex.read_bytes()
    latex.unlink()
    assert redraw(tmp_path) == [latex]
    assert latex.read_bytes() == before
