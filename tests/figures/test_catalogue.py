import io

import matplotlib.image
import matplotlib.text
import numpy as np
import pandas as pd
import pypdf
import pytest

from hepred_lib.figures.catalogue import FIGURES, caption, draw
from hepred_lib.figures.style import render

TABLES = [name for name, spec in FIGURES.items() if "hu" not in spec.required]
BY_MODEL = [name for name in TABLES if "model" in FIGURES[name].required]
BY_OUTCOME = [name for name in TABLES if "he" in FIGURES[name].required]


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


@pytest.fixture(scope="module", params=FIGURES)
def printed(request, drawn):
    """A figure by its name, and its PDF and PNG."""
    return request.param, drawn[request.param], render(drawn[request.param], png_dpi=72)


def test_every_figure_has_the_journals_width_and_readable_letters_within_its_page(printed, examples):
    name, figure, files = printed
    asked = FIGURES[name].width_mm
    width_mm, height_mm = figure.get_size_inches() * 25.4
    assert width_mm == pytest.approx(asked(examples[name]) if callable(asked) else asked)
    assert 30 < height_mm < 240
    assert min(text.get_size() for text in figure.findobj(matplotlib.text.Text) if text.get_text()) >= 7
    page = matplotlib.image.imread(io.BytesIO(files["png"]))
    for edge in (page[0], page[-1], page[:, 0], page[:, -1]):
        assert edge.min() == 1, "the outermost dots must be white"


def test_drawn_again_from_csv_it_has_the_same_bytes_and_an_empty_table_says_why(printed, examples):
    name, _, files = printed
    data, why = examples[name], FIGURES[name].otherwise
    if name in TABLES:
        assert why in texts(draw(name, data.iloc[:0]))
        assert caption(name, data.iloc[:0]).endswith(f" {why[0].upper()}{why[1:]}.")
        data = pd.read_csv(io.StringIO(data.to_csv(index=False)))
    assert render(draw(name, data), png_dpi=72) == files


def fonts(page):
    """The descriptors of all fonts of a page, those of a composite font's parts included."""
    for font in page.get("/Resources", {}).get("/Font", {}).values():
        for part in font.get_object().get("/DescendantFonts", [font]):
            yield part.get_object()


def test_a_journal_takes_its_pdf(printed):
    _, figure, files = printed
    assert b"CreationDate" not in files["pdf"]
    assert b"/Producer (hepred)" in files["pdf"]
    (page,) = pypdf.PdfReader(io.BytesIO(files["pdf"])).pages
    assert list(fonts(page))
    for font in fonts(page):
        assert font["/Subtype"] in ("/TrueType", "/CIDFontType2"), "Type 3 glyphs are pictures, not letters"
        assert "/FontFile2" in font["/FontDescriptor"].get_object(), "embedded"
    assert float(page.mediabox.width) / 72 == pytest.approx(figure.get_size_inches()[0], abs=1e-3)
    extracted = "".join(page.extract_text().split())
    shown = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)]
    for text in filter(None, (text.get_text() for text in shown if text.get_visible())):
        assert all("".join(line.split()) in extracted for line in text.splitlines()), text


@pytest.mark.parametrize("name", ["montage", "odds_ratios_clinical", "roc"])
def test_drawing_leaves_the_global_settings_and_the_data_alone(name, examples):
    before = dict(matplotlib.rcParams)
    data = examples[name]
    copy = {key: np.array(data[key]) for key in data}
    draw(name, data)
    assert dict(matplotlib.rcParams) == before
    assert all(pd.Series(copy[key].ravel()).equals(pd.Series(np.array(data[key]).ravel())) for key in copy)


@pytest.mark.parametrize("name", BY_MODEL)
def test_a_study_without_images_shows_the_clinical_model_alone(name, examples):
    table = examples[name]
    shown = " ".join(texts(draw(name, table[table["model"] == "clinical"])))
    assert "Clinical" in shown
    assert "Image" not in shown
    assert "Integrated" not in shown


@pytest.mark.parametrize("name", BY_OUTCOME)
@pytest.mark.parametrize("outcome", [0, 1])
def test_one_class_of_patients_alone_is_drawn(name, outcome, examples):
    table = examples[name]
    assert draw(name, table[table["he"] == outcome]).axes


@pytest.mark.parametrize("name", ["montage", "outlines", "overview", "activation"])
def test_no_slices_say_no_data(name, examples):
    masks = {"mask", "brain", "reference", "predicted", "activation", "shown", "share", "hu", "titles"}
    none = {key: value[:0] if key in masks else value for key, value in examples[name].items()}
    assert "no data" in texts(draw(name, none))


@pytest.mark.parametrize("name", FIGURES)
def test_a_missing_column_or_key_is_refused_by_name(name, examples):
    first, *_, last = FIGURES[name].required
    data = examples[name]
    less = {key: data[key] for key in data if key not in (first, last)}
    data = pd.DataFrame(less) if name in TABLES else less
    for function in (draw, caption):
        with pytest.raises(ValueError, match=f"figure '{name}' must have {first}, {last}; got"):
            function(name, data)
    with pytest.raises(ValueError, match=r"catalogue \(power, .*pooled\), got 'rocs'"):
        draw("rocs", data)


def simulated(name, data):
    return data.assign(simulated=True) if name in TABLES else data | {"simulated": np.array(True)}


@pytest.mark.parametrize("name", ["roc", "montage"])
def test_simulated_data_are_called_simulated_on_a_page_and_never_in_artwork(name, examples):
    marked = simulated(name, examples[name])
    assert "simulated" in texts(draw(name, marked, stamp=True))
    assert "simulated" not in texts(draw(name, marked))
    assert "simulated" not in texts(draw(name, examples[name], stamp=True))


@pytest.mark.parametrize("name", FIGURES)
def test_a_caption_of_one_line_says_which_data_are_simulated_or_cross_fitted(name, examples):
    data, plain = examples[name], FIGURES[name].caption
    marked = simulated(name, data)
    assert caption(name, marked).startswith(plain)
    assert caption(name, marked).endswith(" Simulated data.")
    unseen = data.assign(cross_fitted=True) if name in TABLES else data | {"cross_fitted": np.array(True)}
    assert "none was held out" in caption(name, unseen)
    assert "none was held out" not in caption(name, marked)
    assert caption(name, data).startswith(plain)
    assert plain.endswith(".")
    assert not set("\n<>*`$") & set(plain)
