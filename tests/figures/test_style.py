import io
import subprocess
import sys

import matplotlib.image
import pytest

from hepred_lib.figures.catalogue import caption, draw
from hepred_lib.figures.style import LETTER, MODELS, line_styles, png, render

AGAIN = """
import runpy, sys
from hepred_lib.figures.catalogue import draw
from hepred_lib.figures.style import render
builders = runpy.run_path(sys.argv[1])
sys.stdout.buffer.write(render(draw("flow", builders["flow"]()))["pdf"])
assert "torch" not in sys.modules, "figures must be drawn without torch"
"""


def test_models_come_in_the_papers_order_and_share_neither_color_nor_line_nor_marker():
    styles = line_styles(["integrated", "bat", "image", "clinical", "bat", "brain", "nag"])
    assert list(styles) == ["image", "clinical", "integrated", "bat", "brain", "nag"], "strangers last"
    for part in ("color", "line", "marker"):
        assert len({str(getattr(style, part)) for style in styles.values()}) == len(styles)
    assert MODELS["image"].color == "#0072B2"


def letters(figure):
    return figure.findobj(lambda artist: artist.get_gid() == LETTER)


def test_panels_are_lettered_alike_in_the_journals_form_and_a_single_one_is_not(drawn, examples):
    found = {name: "".join(text.get_text() for text in letters(figure)) for name, figure in drawn.items()}
    several = {"calibration": "abc", "truth": "abcd", "instability_clinical": "abc", "decision_curve": "ab"}
    assert {name: found[name] for name in several} == several
    assert not any(found[name] for name in ("roc", "oracle", "nomogram", "dl_score", "flow"))
    looks = {(text.get_size(), text.get_weight()) for figure in drawn.values() for text in letters(figure)}
    assert looks == {(8.0, "bold")}
    figure = draw("decision_curve", examples["decision_curve"], journal="radiology")
    assert [text.get_text() for text in letters(figure)] == ["A", "B"]
    assert "(B)" in caption("decision_curve", examples["decision_curve"], journal="radiology")
    assert "(b)" in caption("decision_curve", examples["decision_curve"])


@pytest.mark.parametrize("dpi", [300, 600])
def test_a_png_has_the_dots_an_inch_that_are_asked_for(dpi, drawn):
    width = matplotlib.image.imread(io.BytesIO(png(drawn["oracle"], dpi=dpi))).shape[1]
    assert width == pytest.approx(84 / 25.4 * dpi, abs=1)


def test_another_process_and_a_second_rendering_give_the_same_bytes_without_torch(request, drawn):
    command = [sys.executable, "-W", "error", "-c", AGAIN, request.path.parent / "conftest.py"]
    run = subprocess.run(command, env={"PYTHONHASHSEED": "1"}, cwd=request.config.rootpath, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    assert run.stdout == render(drawn["flow"])["pdf"] == render(drawn["flow"])["pdf"]
