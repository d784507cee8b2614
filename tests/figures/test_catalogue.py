import io

import matplotlib.image
import matplotlib.text
import numpy as np
import pandas as pd
import pytest

from hepred_lib.figures.catalogue import FIGURES, caption, draw
from hepred_lib.figures.style import render

TABLES = [name for name, spec in FIGURES.items() if "hu" not in spec.required]
BY_MODEL = [name for name in TABLES if "model" in FIGURES[name].required]
BY_OUTCOME = [name for name in TABLES if "he" in FIGURES[name].required]


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def through_csv(table):
    return pd.read_csv(io.StringIO(table.to_csv(index=False)))


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_from_its_documented_data_at_the_journals_width(name, drawn, examples):
    figure = drawn[name]
    width_mm, height_mm = figure.get_size_inches() * 25.4
    asked = FIGURES[name].width_mm
    assert width_mm == pytest.approx(asked(examples[name]) if callable(asked) else asked)
    assert 30 < height_mm < 240
    assert len(figure.axes) >= 1


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_smaller_than_seven_points(name, drawn):
    sizes = {text.get_size() for text in drawn[name].findobj(matplotlib.text.Text) if text.get_text()}
    assert min(sizes) >= 7


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_at_the_edge_of_the_page(name, drawn):
    page = matplotlib.image.imread(io.BytesIO(render(drawn[name], png_dpi=150)["png"]))
    for edge in (page[:2], page[-2:], page[:, :2], page[:, -2:]):
        assert edge.min() == 1, "the outermost dots must be white"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_read_back_from_csv_draws_the_same_texts(name, examples, drawn):
    assert texts(draw(name, through_csv(examples[name]))) == texts(drawn[name])


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


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table_says_why_and_so_does_its_caption(name, examples):
    empty, why = examples[name].iloc[:0], FIGURES[name].otherwise
    assert why in texts(draw(name, empty))
    assert caption(name, empty).endswith(f" {why[0].upper()}{why[1:]}.")


@pytest.mark.parametrize("name", ["montage", "outlines", "overview", "activation"])
def test_no_slices_say_no_data(name, examples):
    masks = {"mask", "brain", "reference", "predicted", "activation", "shown", "share", "hu", "titles"}
    none = {key: value[:0] if key in masks else value for key, value in examples[name].items()}
    assert "no data" in texts(draw(name, none))


def test_artwork_never_says_what_its_caption_says(drawn):
    assert [name for name, figure in drawn.items() if "simulated" in texts(figure)] == []


@pytest.mark.parametrize("name", FIGURES)
def test_a_missing_column_or_key_is_refused_by_name(name, examples):
    first, *_, last = FIGURES[name].required
    data = examples[name]
    less = {key: data[key] for key in data if key not in (first, last)}
    data = pd.DataFrame(less) if name in TABLES else less
    with pytest.raises(ValueError, match=f"figure '{name}' must have {first}, {last}; got"):
        draw(name, data)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"catalogue \(power, .*pooled\), got 'rocs'"):
        draw("rocs", pd.DataFrame())


@pytest.mark.parametrize("name", FIGURES)
def test_simulated_data_are_called_simulated_on_a_page_and_in_the_caption_of_one_line(name, examples):
    data, plain = examples[name], FIGURES[name].caption
    marked = data.assign(simulated=True) if name in TABLES else data | {"simulated": np.array(True)}
    assert "simulated" in texts(draw(name, marked, stamp=True))
    assert "simulated" not in texts(draw(name, data if name != "oracle" else data.assign(simulated=False), stamp=True))
    assert caption(name, marked).startswith(plain)
    assert caption(name, marked).endswith(" Simulated data.")
    unseen = data.assign(cross_fitted=True) if name in TABLES else data | {"cross_fitted": np.array(True)}
    assert "none was held out" in caption(name, unseen)
    assert "none was held out" not in caption(name, marked)
    assert caption(name, data).startswith(plain)
    assert plain.endswith(".")
    assert not set("\n<>*`$") & set(plain)


def test_a_caption_of_incomplete_data_is_refused_as_in_drawing():
    with pytest.raises(ValueError, match="must have"):
        caption("flow", pd.DataFrame({"step": ["test"]}))
