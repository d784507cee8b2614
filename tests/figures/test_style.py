import io
import subprocess
import sys

import matplotlib.image
import pypdf
import pytest

from hepred_lib.figures.catalogue import FIGURES, caption, draw
from hepred_lib.figures.style import DOUBLE_MM, LETTER, MODELS, SINGLE_MM, line_styles, render

AGAIN = """
import runpy, sys
from hepred_lib.figures.catalogue import draw
from hepred_lib.figures.style import render
builders = runpy.run_path(sys.argv[1])
sys.stdout.buffer.write(render(draw("flow", builders["flow"]()))["pdf"])
assert "torch" not in sys.modules, "figures must be drawn without torch"
"""


def test_models_come_in_the_papers_order_and_strangers_last():
    found = line_styles(["integrated", "bat", "image", "clinical", "bat"])
    assert list(found) == ["image", "clinical", "integrated", "bat"]


def test_no_two_models_share_color_line_or_marker():
    styles = list(line_styles(["image", "clinical", "integrated", "brain", "bat", "nag"]).values())
    for part in ("color", "line", "marker"):
        assert len({str(getattr(style, part)) for style in styles}) == len(styles)
    assert MODELS["image"].color == "#0072B2"


def letters(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: artist.get_gid() == LETTER)]


def test_panels_are_lettered_and_a_single_one_is_not(drawn):
    lettered = {name: "".join(letters(figure)) for name, figure in drawn.items() if letters(figure)}
    assert {name: lettered[name] for name in ("calibration", "truth", "instability_clinical", "decision_curve")} == {
        "calibration": "abc", "truth": "abcd", "instability_clinical": "abc", "decision_curve": "ab",
    }  # fmt: skip
    assert not {"roc", "oracle", "nomogram", "dl_score", "flow"} & set(lettered)


def test_letters_and_the_caption_have_the_form_of_the_journal(examples):
    table = examples["decision_curve"]
    assert letters(draw("decision_curve", table, journal="radiology")) == ["A", "B"]
    assert "(B)" in caption("decision_curve", table, journal="radiology")
    assert "(b)" in caption("decision_curve", table)


def test_all_letters_are_of_one_size_and_weight(drawn):
    found = [text for figure in drawn.values() for text in figure.findobj(lambda artist: artist.get_gid() == LETTER)]
    assert {(text.get_size(), text.get_weight()) for text in found} == {(8.0, "bold")}


def test_a_png_has_three_hundred_dots_an_inch_and_six_hundred_for_print(examples):
    figure = draw("oracle", examples["oracle"])
    for dpi in (300, 600):
        width = matplotlib.image.imread(io.BytesIO(render(figure, png_dpi=dpi)["png"])).shape[1]
        assert width == pytest.approx(84 / 25.4 * dpi, abs=1)


def test_a_pdf_embeds_truetype_text_and_no_date(examples):
    pdf = render(draw("roc", examples["roc"]))["pdf"]
    assert b"/FontFile2" in pdf
    assert b"CreationDate" not in pdf
    assert b"/Producer (hepred)" in pdf


@pytest.mark.parametrize("name", FIGURES)
def test_a_second_drawing_and_a_second_rendering_give_the_same_bytes(name, examples, drawn):
    once = render(drawn[name], png_dpi=100)
    assert once == render(draw(name, examples[name]), png_dpi=100) == render(drawn[name], png_dpi=100)


def test_another_process_gives_the_same_bytes_without_torch(request, drawn):
    command = [sys.executable, "-W", "error", "-c", AGAIN, request.path.parent / "conftest.py"]
    run = subprocess.run(command, env={"PYTHONHASHSEED": "1"}, cwd=request.config.rootpath, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    assert run.stdout == render(drawn["flow"])["pdf"]


def fonts(page):
    """The descriptors of all fonts of a page, those of a composite font's parts included."""
    for font in page.get("/Resources", {}).get("/Font", {}).values():
        for part in font.get_object().get("/DescendantFonts", [font]):
            yield part.get_object()


@pytest.fixture(params=FIGURES)
def printed(request, drawn):
    """A figure by its name, and the page of its PDF."""
    (page,) = pypdf.PdfReader(io.BytesIO(render(drawn[request.param], png_dpi=72)["pdf"])).pages
    return request.param, drawn[request.param], page


def test_every_font_of_a_pdf_is_embedded_as_truetype(printed):
    found = list(fonts(printed[2]))
    assert found
    for font in found:
        assert font["/Subtype"] in ("/TrueType", "/CIDFontType2"), "Type 3 glyphs are pictures, not letters"
        assert "/FontFile2" in font["/FontDescriptor"].get_object()


def test_a_pdf_has_the_journals_width_and_its_words_can_be_copied(printed):
    _, figure, page = printed
    width_mm = float(page.mediabox.width) / 72 * 25.4
    assert min(abs(width_mm - SINGLE_MM), abs(width_mm - DOUBLE_MM)) < 0.01
    extracted = "".join(page.extract_text().split())
    texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)]
    for text in filter(None, (shown.get_text() for shown in texts if shown.get_visible())):
        assert all("".join(line.split()) in extracted for line in text.splitlines()), text
