import matplotlib.image
import pandas as pd
import pytest

from hepred_lib.book import redraw, show

FLOW = pd.DataFrame(
    [("assessed", "Rows of the manifest", 9, 2), ("included", "With outcome", 9, 2)],
    columns=["step", "text", "n", "events"],
)


def test_a_shown_figure_carries_its_sentence_as_alternative_text(tmp_path):
    content, metadata = show(tmp_path, "flow", FLOW)._repr_mimebundle_()
    assert "image/png" in content
    assert metadata["image/png"]["alt"].startswith("Flow of participants: Rows of the manifest 9, of them 2 with HE")
    assert metadata["image/png"]["width"] == 658, "174 mm at 96 pixels an inch"


def test_a_shown_figure_is_saved_for_print_with_its_sentence_beside_it(tmp_path):
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
    assert redraw(tmp_path) == ["flow"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()} == before
