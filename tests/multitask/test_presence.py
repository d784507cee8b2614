"""Presence told with the slices around: what is gathered, and what is learned from it."""

import numpy as np
import pandas as pd
import pytest
import torch

from hepred_lib.multitask.network import EVIDENCE, SliceContext, fit_presence, slice_evidence
from hepred_lib.stats.discrimination import auc


def made_up_slices(n_patients: int, rng: np.random.Generator) -> pd.DataFrame:
    """Bodies of five to nine adjoining slices in twenty-four, each seen with noise."""
    parts = []
    for number in range(n_patients):
        blood = np.zeros(24)
        first, length = rng.integers(2, 12), rng.integers(5, 10)
        blood[first : first + length] = 1.0
        seen = torch.tensor(2 * blood - 1 + rng.normal(size=24), dtype=torch.float32)
        evidence = slice_evidence(seen, seen[:, None, None, None].expand(-1, 1, 4, 4))
        parts.append(pd.DataFrame(evidence.numpy(), columns=list(EVIDENCE)).assign(patient_id=number, blood=blood))
    return pd.concat(parts, ignore_index=True)


def test_evidence_is_of_the_slice_and_of_those_around_it():
    presence = torch.tensor([0.0, 1.0, 5.0, 2.0, -1.0])
    outline = torch.arange(5.0)[:, None, None, None].expand(-1, 1, 4, 4)
    found = pd.DataFrame(slice_evidence(presence, outline).numpy(), columns=list(EVIDENCE))
    assert found.loc[2].to_dict() == {
        **{"told_own": 5.0, "outlined_own": 2.0},
        **{"told_brighter_neighbour": 2.0, "outlined_brighter_neighbour": 3.0},
        **{"told_fainter_neighbour": 1.0, "outlined_fainter_neighbour": 1.0},
        **{"told_second_neighbour": 0.0, "outlined_second_neighbour": 4.0},
    }
    assert found.loc[4, "told_brighter_neighbour"] == 2.0
    assert found.loc[4, "told_fainter_neighbour"] == -1.0, "the last slice stands in for the one it lacks"


def test_a_head_upside_down_gives_the_same_evidence_upside_down():
    torch.manual_seed(0)
    presence, outline = torch.randn(9), torch.randn(9, 1, 6, 5)
    torch.testing.assert_close(
        slice_evidence(presence, outline).flip(0), slice_evidence(presence.flip(0), outline.flip(0))
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_slices_are_enough(n):
    assert torch.isfinite(slice_evidence(torch.zeros(n), torch.zeros(n, 1, 2, 2))).all()


def test_the_peak_is_the_mean_of_the_eight_highest_pixels():
    outline = torch.zeros(1, 1, 4, 4)
    outline[0, 0, :2] = 3.0
    outline[0, 0, 0, 0] = 11.0
    assert slice_evidence(torch.zeros(1), outline)[0, EVIDENCE.index("outlined_own")] == 4.0


def test_before_the_fit_a_slice_speaks_for_itself():
    evidence = torch.randn(6, len(EVIDENCE))
    torch.testing.assert_close(SliceContext()(evidence), evidence[:, 0])


def test_neighbours_tell_more_than_the_slice_alone_on_patients_who_were_not_fitted():
    rng, context = np.random.default_rng(0), SliceContext()
    assert fit_presence(context, made_up_slices(60, rng))
    fresh = made_up_slices(60, rng)
    evidence = torch.tensor(fresh[list(EVIDENCE)].to_numpy(), dtype=torch.float32)
    assert auc(fresh["blood"], context(evidence).numpy()) > auc(fresh["blood"], fresh["told_own"]) + 0.03


def test_slices_whose_call_cannot_be_wrong_teach_nothing():
    slices = made_up_slices(30, np.random.default_rng(1))
    left_out = slices.assign(blood=slices["blood"].where(slices.index % 3 > 0))
    wrong = slices.assign(blood=slices["blood"].where(slices.index % 3 > 0), told_own=slices["told_own"])
    wrong.loc[wrong.index % 3 == 0, list(EVIDENCE)] = 1e6
    contexts = [SliceContext(), SliceContext()]
    for context, table in zip(contexts, (left_out, wrong), strict=True):
        fit_presence(context, table)
    torch.testing.assert_close(contexts[0].weight, contexts[1].weight)


@pytest.mark.parametrize("blood", [0.0, 1.0, np.nan])
def test_with_one_kind_of_slice_nothing_is_changed(blood):
    context = SliceContext()
    assert not fit_presence(context, made_up_slices(5, np.random.default_rng(2)).assign(blood=blood))
    assert context.weight.tolist() == [1.0] + [0.0] * 7


def test_evidence_that_does_not_vary_gets_no_weight_and_breaks_nothing():
    context = SliceContext()
    assert fit_presence(context, made_up_slices(20, np.random.default_rng(3)).assign(outlined_second_neighbour=2.0))
    assert torch.isfinite(context.weight).all()
    assert abs(float(context.weight[-1])) < 1e-3
