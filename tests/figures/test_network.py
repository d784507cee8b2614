import matplotlib.patches
import matplotlib.text
import pytest
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from hepred_lib.figures.catalogue import draw
from hepred_lib.multitask.architecture import block_table
from hepred_lib.multitask.network import ENCODERS, MultitaskNetwork, NetworkSettings


@pytest.fixture(scope="module")
def diagram(examples):
    return draw("network", examples["network"])


def boxes(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, matplotlib.patches.Rectangle)]


def box_of(figure, title):
    (place,) = (text.get_window_extent() for text in figure.axes[0].texts if text.get_text() == title)
    (found,) = (box for box in boxes(figure) if box.get_window_extent().overlaps(place))
    return found


def test_every_block_is_a_box_with_its_name_size_and_parameters(examples, diagram):
    assert len(boxes(diagram)) == len(examples["network"])
    shown = {text.get_text() for text in diagram.axes[0].texts}
    assert {"Stage 1", "32 × 16 × 16", "2 × residual block", "12,000 parameters", "4 numbers", "1 number"} <= shown
    assert any("24,372 parameters in all" in text for text in shown)


def test_no_two_boxes_overlap(diagram):
    places = [box.get_bbox() for box in boxes(diagram)]
    assert not any(a.overlaps(b) for i, a in enumerate(places) for b in places[:i])


def test_every_text_in_a_box_ends_inside_it(diagram):
    extents = [box.get_window_extent() for box in boxes(diagram)]
    for text in filter(matplotlib.text.Text.get_text, diagram.axes[0].texts):
        place = text.get_window_extent()
        assert all(place.x1 < box.x1 and place.y0 > box.y0 for box in extents if box.overlaps(place)), text.get_text()


def test_a_decoder_block_stands_beside_the_encoder_block_of_its_resolution(diagram):
    centers = [box_of(diagram, title).get_bbox().intervaly.mean() for title in ("Stem", "Decoder 1")]
    assert centers[0] == pytest.approx(centers[1])


def test_blocks_of_the_same_rank_stand_side_by_side(diagram):
    tops = {box_of(diagram, title).get_y() for title in ("classify", "describe")}
    assert len(tops) == 1


def test_there_is_an_arrow_for_every_input(examples, diagram):
    count = sum(len(names.split(";")) for names in examples["network"]["inputs"] if names)
    assert len([text for text in diagram.axes[0].texts if text.get_text() == "" and text.arrow_patch]) == count


@pytest.mark.parametrize("encoder", ENCODERS)
def test_no_line_of_the_networks_own_diagram_runs_through_a_box(encoder):
    figure = draw("network", block_table(MultitaskNetwork(NetworkSettings(encoder=encoder)), 128))
    insides = [Bbox([box.get_bbox().min + 0.2, box.get_bbox().max - 0.2]) for box in boxes(figure)]
    lines = [Path(line.get_xydata()) for line in figure.axes[0].lines]
    assert len(lines) > len(insides)
    crossed = [(line.vertices.tolist(), box) for line in lines for box in insides if line.intersects_bbox(box, False)]
    assert not crossed
