"""The layers that are fitted once more, and the score as it would be with each of them."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from hepred_lib.multitask import readout
from hepred_lib.multitask.network import (
    DEEP,
    EVIDENCE,
    READOUTS,
    MultitaskNetwork,
    NetworkSettings,
    SliceContext,
    slice_evidence,
)
from hepred_lib.multitask.prediction import read_out
from hepred_lib.multitask.readout import (
    COMPARED,
    ablation_scores,
    ablation_table,
    cross_fitted_readout,
    fit_presence,
    fit_readout,
)
from hepred_lib.stats.discrimination import auc

VALUES = READOUTS["both"]


@pytest.fixture
def network(network) -> MultitaskNetwork:
    """One that a test may change."""
    return copy.deepcopy(network)


@pytest.fixture(scope="module")
def values() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(300, len(VALUES))), columns=list(VALUES))


def test_the_heaviest_weight_belongs_to_what_decides_and_logits_are_those_of_the_networks_own_layer(network, values):
    he = (values["log_volume"] + 0.3 * values["measured_mean_hu"] > 0.5).astype(int)
    assert fit_readout(network, values, he, readout="findings", seed=1)
    weight, bias = (weights.detach().numpy()[0] for weights in network.expansion.classify.parameters())
    assert VALUES[int(np.abs(weight).argmax())] == "log_volume"
    logits = read_out(network, values)
    assert np.mean((logits > 0) == (he == 1)) > 0.9
    np.testing.assert_allclose(logits, values.to_numpy(np.float32) @ weight + bias, rtol=1e-5, atol=1e-6)


def test_noise_gets_almost_no_weight(network, values):
    he = pd.Series(np.random.default_rng(1).integers(0, 2, len(values)))
    fit_readout(network, values, he, readout="both", seed=1)
    assert read_out(network, values).std() < 0.3


def test_the_penalty_is_the_strongest_within_a_standard_error_of_the_best(values):
    rng = np.random.default_rng(2)
    x, he = values.to_numpy()[:, :12], pd.Series((values.iloc[:, 0] + rng.logistic(size=len(values)) > 1).astype(int))
    weights, intercept = readout.ridge_weights(x, he, np.ones(12), seed=1)
    folds = StratifiedKFold(10, shuffle=True, random_state=1)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    models = [LogisticRegression(C=strength, solver="newton-cholesky") for strength in readout.STRENGTHS]
    losses = -np.array([cross_val_score(model, x, he, cv=folds, scoring="neg_log_loss") for model in models])
    mean, best = losses.mean(axis=1), losses.mean(axis=1).argmin()
    chosen = np.flatnonzero(mean <= mean[best] + losses[best].std(ddof=1) / np.sqrt(10))[0]
    assert 0 < chosen < best
    fitted = models[chosen].fit(x, he)
    logits = values.to_numpy()[:, :12] @ weights + intercept
    np.testing.assert_allclose(logits, fitted.decision_function(x), atol=1e-6)


def test_with_too_few_events_the_score_follows_the_volume(values):
    network = MultitaskNetwork(NetworkSettings())
    assert not fit_readout(network, values, pd.Series(np.r_[np.ones(4), np.zeros(296)]), readout="deep", seed=1)
    np.testing.assert_allclose(read_out(network, values), values["log_volume"], rtol=1e-6)


def test_too_few_events_change_nothing(network, values):
    before = network.expansion.classify.weight.detach().clone()
    he = pd.Series(np.r_[np.ones(4), np.zeros(296)])
    assert not fit_readout(network, values, he, readout="both", seed=1)
    assert torch.equal(before, network.expansion.classify.weight)


@pytest.mark.parametrize("readout", list(READOUTS))
def test_what_the_read_out_leaves_out_has_no_weight(network, values, readout):
    he = (values["log_volume"] + values[DEEP[3]] > 0.5).astype(int)
    fit_readout(network, values, he, readout=readout, seed=1)
    weights = pd.Series(network.expansion.classify.weight.detach().numpy()[0], index=VALUES)
    assert set(weights.index[weights != 0]) == set(READOUTS[readout])


@pytest.fixture(scope="module")
def folds(values) -> tuple[pd.DataFrame, pd.Series]:
    """Two networks' predictions of 240 development and 60 test patients; HE follows a deep feature."""
    names = pd.Series([f"P{i:03d}" for i in range(300)])
    numbers = np.arange(300)
    known = values.assign(patient_id=names, hematoma_detected=1, predicted_volume_ml=9.0)
    parts = [known.assign(fold=fold, role=np.where(numbers % 2 == fold, "held_out", "in_fold")) for fold in (0, 1)]
    table = pd.concat([part.assign(role=part["role"].where(numbers < 240, "test")) for part in parts])
    return table, pd.Series((values[DEEP[5]] > 0.8).astype(float).to_numpy(), index=names)


@pytest.fixture(scope="module")
def ablation(folds) -> pd.DataFrame:
    return ablation_scores(*folds, seed=1)


def test_the_table_of_read_outs_finds_the_signal_where_it_is_in_test_patients(folds, ablation):
    split = np.where(ablation.index < "P240", "development", "test")
    image = pd.DataFrame({"patient_id": ablation.index, "split": split, "he": folds[1][ablation.index].to_numpy()})
    found = ablation_table(ablation, image.assign(dl_score=ablation["deep"].to_numpy()))
    assert found.index.tolist() == list(COMPARED)
    assert found.loc[["deep", "both"], "auc"].min() > 0.9 > 0.7 > found.loc[["volume", "findings"], "auc"].max()
    assert found.loc["deep", "correlation_with_dl_score"] == pytest.approx(1.0)
    assert found.loc["deep", "low"] < found.loc["deep", "auc"] < found.loc["deep", "high"]


def test_outcomes_of_patients_who_trained_no_network_change_no_ablation(folds, ablation, monkeypatch):
    table, he = folds
    monkeypatch.setattr(readout, "COMPARED", {"findings": READOUTS["findings"]})
    flipped = he.where(he.index < "P240", 1 - he)
    pd.testing.assert_frame_equal(ablation[["findings"]], ablation_scores(table, flipped, seed=1))


def test_a_score_from_elsewhere_has_no_ablation_and_one_without_events_is_unknown(folds):
    table, he = folds
    scores = ablation_scores(table.drop(columns=list(VALUES)), he, seed=1)
    image = pd.DataFrame({"patient_id": ["P299"], "split": "test", "he": 1.0, "dl_score": 0.0})
    assert ablation_table(scores, image).empty
    assert ablation_scores(table, he * 0.0, seed=1).isna().all(axis=None)


def test_the_read_outs_of_all_networks_give_the_score_that_they_gave(folds, network):
    table, he = folds
    development = he[he.index < "P240"].astype(int)
    found = cross_fitted_readout(table, development, readout="deep", seed=1)
    scores = pd.Series(found.scores(development.to_numpy(dtype=float)[None])[0], index=development.index)
    for number, rows in table.groupby("fold"):
        taught, held = (rows[rows["role"].eq(role)].set_index("patient_id") for role in ("in_fold", "held_out"))
        fit_readout(network, taught, development[taught.index], readout="deep", seed=1)
        logits = pd.Series(read_out(network, held), index=held.index)
        assert np.corrcoef(scores[held.index], logits)[0, 1] > 0.99999, number
        assert (found.fold[development.index.get_indexer(held.index)] == number).all()


def test_what_cannot_be_fitted_again_is_none(folds):
    table, he = folds
    development = he[he.index < "P240"].astype(int)
    assert cross_fitted_readout(table.drop(columns=list(VALUES)), development, readout="deep", seed=1) is None
    assert cross_fitted_readout(table, development * 0, readout="deep", seed=1) is None


def made_up_slices(n_patients: int, rng: np.random.Generator) -> pd.DataFrame:
    """Bodies of five to nine adjoining slices in twenty-four, each seen with noise."""
    parts = []
    for number in range(n_patients):
        blood = np.zeros(24)
        first, length = rng.integers(2, 12), rng.integers(5, 10)
        blood[first : first + length] = 1.0
        seen = torch.tensor(2 * blood - 1 + rng.normal(size=24), dtype=torch.float32)
        evidence = slice_evidence(seen, seen[:, None, None, None].expand(-1, 1, 4, 4), 200 / 128)
        parts.append(pd.DataFrame(evidence.numpy(), columns=list(EVIDENCE)).assign(patient_id=number, blood=blood))
    return pd.concat(parts, ignore_index=True)


def test_neighbours_tell_more_than_the_slice_alone_on_patients_who_were_not_fitted():
    rng, context = np.random.default_rng(0), SliceContext()
    assert fit_presence(context, made_up_slices(60, rng))
    fresh = made_up_slices(60, rng)
    evidence = torch.tensor(fresh[list(EVIDENCE)].to_numpy(), dtype=torch.float32)
    assert auc(fresh["blood"], context(evidence).numpy()) > auc(fresh["blood"], fresh["presence_own"]) + 0.03


def test_slices_whose_call_cannot_be_wrong_teach_nothing():
    slices = made_up_slices(30, np.random.default_rng(1))
    left_out = slices.assign(blood=slices["blood"].where(slices.index % 3 > 0))
    wrong = left_out.copy()
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
    assert fit_presence(context, made_up_slices(20, np.random.default_rng(3)).assign(outline_second_neighbour=2.0))
    assert torch.isfinite(context.weight).all()
    assert abs(float(context.weight[-1])) < 1e-3
