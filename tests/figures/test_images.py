"""CT slices, and what training and segmentations look like."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hepred_lib.figures.catalogue import caption, draw
from hepred_lib.figures.images import DISCLAIMER, EDGE_MM, SMALLEST_PART_MM, part_of_interest


def phantom(y, x, size=8):
    """One dense voxel in a slice of water, indexed [slice, y, x] in RAS+."""
    hu = np.zeros((1, size, size))
    hu[0, y, x] = 80.0
    none = np.zeros(hu.shape, dtype=bool)
    titles, window = np.array(["phantom"]), np.array([40.0, 80.0])
    return {"hu": hu, "mask": none, "brain": none, "titles": titles, "pixel_mm": np.array(20.0), "window": window}


def brightest_place(figure):
    """Return (from the left, from the top) of the brightest spot in the printed panel, each from 0 to 1."""
    axes = figure.axes[0]
    for decoration in [*axes.texts, *axes.lines]:
        decoration.remove()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = np.asarray(canvas.buffer_rgba())[..., 0].astype(float)
    x0, y0, x1, y1 = axes.get_window_extent().extents.round().astype(int)
    panel = page[page.shape[0] - y1 + 2 : page.shape[0] - y0 - 2, x0 + 2 : x1 - 2]
    down, along = np.nonzero(panel > 200)
    return along.mean() / panel.shape[1], down.mean() / panel.shape[0]


@pytest.mark.parametrize(
    ("y", "x", "left", "top"),
    [
        (7, 7, True, True),  # the patient's right, in front
        (0, 0, False, False),  # the patient's left, at the back
    ],
)
def test_the_patients_right_is_on_the_left_and_the_front_at_the_top(y, x, left, top):
    from_left, from_top = brightest_place(draw("montage", phantom(y, x)))
    assert (from_left < 0.2) == left
    assert (from_left > 0.8) != left
    assert (from_top < 0.2) == top
    assert (from_top > 0.8) != top
    right, left = draw("montage", phantom(y, x)).axes[0].texts[:2]
    assert (right.get_text(), left.get_text()) == ("R", "L")
    assert right.get_position()[0] < left.get_position()[0]


def test_the_outline_encloses_its_voxel_in_mm():
    arrays = phantom(6, 5)
    arrays["mask"] = arrays["hu"] > 0
    rim, contour = draw("montage", arrays).axes[0].collections
    corners = contour.get_paths()[0].vertices
    np.testing.assert_array_equal(rim.get_paths()[0].vertices, corners)
    # column 5 of 8 is the third from the patient's right: 40 to 60 mm; row 6 from the back: 120 to 140 mm
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[40, 120], [60, 140]], atol=4)
    assert not draw("montage", phantom(1, 1)).axes[0].collections, "an empty mask has none"
    brain = draw("montage", phantom(6, 5) | {"brain": arrays["mask"]}).axes[0].collections
    assert len(brain) == 1, "the brain has no rim"


def corners_of(mask):
    return draw("montage", phantom(6, 5) | {"mask": mask[None]}).axes[0].collections[-1].get_paths()[0].vertices


def test_an_outline_closes_at_the_edge_of_the_image_and_lies_where_the_share_is_one_half():
    corners = corners_of(np.ones((8, 8), dtype=bool))
    np.testing.assert_allclose(corners[0], corners[-1])
    np.testing.assert_allclose([corners.min(), corners.max()], [0, 160], atol=1)
    block = np.zeros((8, 8), dtype=bool)
    block[1:6, 2:7] = True
    corners = corners_of(block)
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[20, 20], [120, 120]], atol=0.1)
    corners = corners_of(np.where(np.arange(8) < 4, 1.0, np.where(np.arange(8) == 4, 0.75, 0.0)) * np.ones((8, 1)))
    # three quarters at the centre of the fifth column from the patient's left, none at that of the sixth
    assert 160 - corners[:, 0].min() == pytest.approx(20 * (4.5 + 1 / 3))


def test_every_rim_lies_under_every_line():
    arrays = phantom(6, 5)
    arrays |= {"reference": arrays["hu"] > 0, "predicted": arrays["hu"] > 0}
    axes = draw("outlines", arrays).axes[0]
    for place, rim, line in ((axes, 1.6, 0.6), (axes.child_axes[0], 1.9, 0.9)):
        assert [float(drawn.get_linewidth()[0]) for drawn in place.collections] == pytest.approx([rim, rim, line, line])


def test_slices_are_cut_to_the_head_and_the_outlines_are_enlarged_beside_it():
    arrays = phantom(6, 5, size=40) | {"pixel_mm": np.array(5.0)}
    head = np.zeros((40, 40), dtype=bool)
    head[4:34, 10:30] = True
    arrays["hu"] = np.where(head, arrays["hu"], -1000.0)
    clot = np.zeros((1, 40, 40), dtype=bool)
    clot[0, 20:22, 14:16] = True
    axes = draw("outlines", arrays | {"reference": clot, "predicted": clot}).axes[0]
    assert np.ptp(axes.get_ylim()) == 150 + EDGE_MM
    (part,) = axes.child_axes
    # columns 14 and 15 from the patient's left of 200 mm: their middle is 75 mm from it
    assert (np.mean(part.get_xlim()), np.mean(part.get_ylim())) == (200 - 75, 105)
    assert np.ptp(part.get_xlim()) == SMALLEST_PART_MM


def test_a_part_at_the_edge_stays_within_the_head():
    mask = np.zeros((40, 40), dtype=bool)
    mask[1, 1] = True
    assert part_of_interest([mask], 5.0, (0.0, 200.0, 0.0, 200.0)) == (174.0, 200.0, 0.0, 26.0)
    assert part_of_interest([mask & False], 5.0, (0.0, 200.0, 0.0, 200.0)) is None


def test_an_activation_map_has_a_colour_bar_with_its_unit_and_one_scale_for_all_bars(drawn):
    assert DISCLAIMER in [text.get_text() for text in drawn["overview"].axes[-1].texts]
    figure = drawn["activation"]
    assert "Activation (% of maximum)" in [axes.get_ylabel() for axes in figure.axes]
    assert len({axes.get_ylim() for axes in figure.axes if axes.get_xlabel() == "Slice, from below"}) == 1


def test_the_window_and_the_scale_bar_are_those_that_the_caption_states():
    arrays = phantom(1, 1)
    axes = draw("montage", arrays).axes[0]
    start, end = axes.lines[-1].get_xdata()
    assert end - start == pytest.approx(50)
    assert axes.images[0].get_clim() == (0.0, 80.0)
    assert "level 40 HU, width 80 HU. Scale bar: 50 mm." in caption("montage", arrays)


def test_slices_of_two_patients_keep_their_own_size_in_mm():
    one, arrays = phantom(1, 1), phantom(1, 1)
    arrays |= {key: np.concatenate([one[key]] * 2) for key in ("hu", "mask", "brain", "titles")}
    figure = draw("montage", arrays | {"pixel_mm": np.array([10.0, 20.0])})
    assert [axes.images[0].get_extent()[1] for axes in figure.axes] == [80, 160]


def test_the_difference_is_predicted_minus_reference_and_its_limits_are_said_where_they_are_known():
    table = pd.DataFrame({"reference_ml": [10.0], "predicted_ml": [14.0], "bias": [4.0], "low": [-1.0], "high": [9.0]})
    figure = draw("bland_altman", table)
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[12.0, 4.0]]
    assert "Over all 1 patients: bias 4.0 mL, limits −1.0 to 9.0 mL." in caption("bland_altman", table)
    table = table.assign(low=np.nan, high=np.nan)
    assert draw("bland_altman", table).axes
    assert "Over all 1 patients: bias 4.0 mL." in caption("bland_altman", table)


def test_limits_that_follow_the_volume_are_drawn_as_lines(examples):
    table = examples["bland_altman"]
    mean = (table["reference_ml"] + table["predicted_ml"]) / 2
    fan = table.assign(line=-0.02 * mean, line_low=-0.2 * mean, line_high=0.1 * mean)
    lines = draw("bland_altman", fan).axes[0].lines
    assert lines[-1].get_ydata() == pytest.approx(np.sort(0.1 * mean))


def test_each_loss_has_a_panel_and_each_fold_a_line_also_of_one_epoch(examples):
    figure = draw("learning_curves", examples["learning_curves"].query("epoch == 1"))
    assert figure.axes[0].get_ylabel() == "Total loss"
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3, 3]
    assert {line.get_marker() for line in figure.axes[0].lines} == {"o"}
    told = examples["learning_curves"].assign(loss_expansion=0.5)
    assert draw("learning_curves", told).axes[-1].get_ylabel() == "Expansion loss"
