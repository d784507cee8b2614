"""Training learns, resumes bit by bit, is blind to patients it must not see, and ends with its read-outs fitted."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hepred_lib.errors import StudyError
from hepred_lib.multitask import readout, training
from hepred_lib.multitask.data import epoch_steps
from hepred_lib.multitask.explanation import explain_patient
from hepred_lib.multitask.network import NetworkSettings
from hepred_lib.multitask.prediction import read_out
from hepred_lib.multitask.training import (
    CROSS_ENTROPY_WEIGHT,
    LOSSES,
    TrainingError,
    TrainingSettings,
    complete_fold,
    outline_loss,
    train_fold,
)

PIXEL_MM = 200 / 128
SETTINGS = TrainingSettings(epochs=2, patients_per_step=5, slices_per_patient=3, averaging=0.9, expansion_weight=0.3)


def train(patients, path, settings=SETTINGS):
    return train_fold(patients, NetworkSettings(), settings=settings, checkpoint=path, device=torch.device("cpu"))


def same_weights(a, b) -> bool:
    return all(torch.equal(one, two) for one, two in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_the_loss_does_not_depend_on_the_size_of_pixels():
    blood, logits = torch.zeros(1, 1, 16, 16), torch.randn(1, 1, 16, 16)
    blood[..., 2:6, 2:7] = 1.0
    finer = [nn.functional.interpolate(image, scale_factor=2.0) for image in (logits, blood)]
    bag, known = torch.zeros(1, dtype=torch.long), torch.ones(1)
    coarse = outline_loss(logits, blood, bag, known=known, pixel_mm=PIXEL_MM)
    torch.testing.assert_close(outline_loss(*finer, bag, known=known, pixel_mm=PIXEL_MM / 2), coarse)


def test_a_small_hematoma_counts_as_much_as_a_large_one():
    blood = torch.zeros(2, 1, 64, 64)
    blood[0, :, :48, :48] = 1.0
    blood[1, :, :8, :8] = 1.0
    missed = [40.0 * (blood * torch.tensor(seen)[:, None, None, None] - 0.5) for seen in ([1.0, 0.0], [0.0, 1.0])]
    bag = torch.tensor([0, 1])
    dice = [
        outline_loss(logits, blood, bag, known=torch.ones(2), pixel_mm=PIXEL_MM)
        - CROSS_ENTROPY_WEIGHT * nn.functional.binary_cross_entropy_with_logits(logits, blood)
        for logits in missed
    ]
    assert float(dice[0]) == pytest.approx(float(dice[1]), abs=0.15)


def test_a_perfect_outline_has_almost_no_loss_and_a_patient_whose_blood_is_unknown_does_not_count():
    blood = torch.zeros(2, 1, 8, 8)
    blood[0, :, 2:5, 2:5] = 1.0
    right = 40.0 * (blood - 0.5)
    wrong = torch.cat([right[:1], -right[1:]])

    def loss(logits, *known):
        return float(outline_loss(logits, blood, torch.tensor([0, 1]), known=torch.tensor(known), pixel_mm=PIXEL_MM))

    assert loss(right, 1.0, 1.0) < 1e-3 < 1.0 < loss(-right, 1.0, 1.0)
    assert loss(wrong, 1.0, 0.0) < 1e-3 < 0.4 < loss(wrong, 1.0, 1.0)
    assert loss(wrong, 0.0, 0.0) == 0.0


def test_the_loss_falls_and_the_score_still_follows_the_features(patients, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=6, learning_rate=2e-3)
    network, history = train(patients, tmp_path / "state", settings)
    assert history.columns.tolist() == ["epoch", *LOSSES]
    assert (history[list(LOSSES)] > 0).all(axis=None)
    assert history["loss"].iloc[-1] < 0.8 * history["loss"].iloc[0]
    for patient in patients[:3]:
        explanation = explain_patient(network, patient)
        assert explanation.activation.max() == pytest.approx(1.0), "no slope of the logit reaches the features"


def test_without_an_expansion_weight_no_outcome_teaches_the_network(patients, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=1, expansion_weight=0.0)
    others = [dataclasses.replace(patient, he=1.0 - patient.he) for patient in patients]
    network, history = train(patients, tmp_path / "outcomes", settings)
    assert same_weights(network, train(others, tmp_path / "others", settings)[0])
    assert history.columns.tolist() == ["epoch", *(name for name in LOSSES if name != "loss_expansion")]
    taught = dataclasses.replace(settings, expansion_weight=0.3)
    assert not same_weights(train(patients, tmp_path / "3", taught)[0], train(others, tmp_path / "4", taught)[0])


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from conftest import make_patient
from hepred_lib.multitask import readout, training
from hepred_lib.multitask.network import NetworkSettings
from hepred_lib.multitask.training import TrainingSettings, train_fold

torch.set_num_threads(int(sys.argv[3]))
calls = []


def written_in_part(tensors, path, metadata):
    calls.append(path)
    whole(tensors, path, metadata=metadata)
    if len(calls) == 2:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)


whole, training.save_file = training.save_file, written_in_part
settings = TrainingSettings(epochs=2, patients_per_step=3, slices_per_patient=2, averaging=0.9)
patients = [make_patient(index, he=1.0, radius=10.0) for index in range(3)]
train_fold(patients, NetworkSettings(), settings=settings, checkpoint=Path(sys.argv[2]), device=torch.device("cpu"))
"""


def test_a_kill_in_the_middle_of_writing_the_state_loses_no_more_than_an_epoch(patients, tmp_path):
    few, path = patients[:3], tmp_path / "state"
    settings = dataclasses.replace(SETTINGS, patients_per_step=3, slices_per_patient=2)
    arguments = [str(Path(__file__).parent), str(path), str(torch.get_num_threads())]
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = path.read_bytes()
    assert list(tmp_path.glob(".state.*.tmp")), "the kill came in the middle of writing"
    resumed, again = train(few, path, settings)
    whole, history = train(few, tmp_path / "whole", settings)
    assert same_weights(whole, resumed)
    assert history.equals(again)
    assert left != path.read_bytes()
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_training_from_the_librarys_weights_is_ahead_and_takes_up_no_checkpoint_of_other_settings(patients, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=1)
    _, anew = train(patients, tmp_path / "state", settings)
    _, ahead = train(patients, tmp_path / "state", dataclasses.replace(settings, pretrained="phantom"))
    assert ahead["loss_segmentation"].iloc[0] < 0.7 * anew["loss_segmentation"].iloc[0]


def test_how_a_step_is_shared_out_does_not_stop_a_training_from_going_on(patients, tmp_path, monkeypatch):
    save, calls = training.save_state, []

    def killed(*state):
        save(*state)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        train(patients, tmp_path / "state")
    monkeypatch.setattr(training, "save_state", save)
    monkeypatch.setattr(training, "epoch_steps", lambda *a: calls.append(a) or epoch_steps(*a))
    train(patients, tmp_path / "state", dataclasses.replace(SETTINGS, accumulation=2))
    assert len(calls) == 1, "the first epoch was done"


def test_a_training_does_not_go_on_where_it_would_be_computed_otherwise(patients, tmp_path, monkeypatch):
    settings, calls = dataclasses.replace(SETTINGS, epochs=1), []
    train(patients, tmp_path / "state", settings)
    here = training.pick_precision(torch.device("cpu"))
    monkeypatch.setattr(training, "pick_precision", lambda *_: "bfloat16" if here == "float32" else "float32")
    monkeypatch.setattr(training, "epoch_steps", lambda *a: calls.append(a) or epoch_steps(*a))
    train(patients, tmp_path / "state", settings)
    assert len(calls) == 1, "its only epoch was done, in another precision"
    marks = {training._fingerprint(patients, NetworkSettings(), settings, kind) for kind in ("cpu", "cuda")}
    assert len(marks) == 2


def test_the_patients_that_are_named_are_those_of_the_batch_that_was_not_finite(patients, tmp_path, monkeypatch):
    batches = []

    def spoiled(model, batch, *rest):
        batches.append(batch.patient_ids)
        return joint_loss(model, batch, *rest) * (torch.nan if "P07" in batch.patient_ids else 1.0)

    joint_loss = training.joint_loss
    monkeypatch.setattr(training, "joint_loss", spoiled)
    with pytest.raises(TrainingError, match=r"the loss is not finite by step \d \(patients P") as raised:
        train(patients, tmp_path / "state")
    assert "P07" in batches[-1]
    assert f"(patients {', '.join(batches[-1])})" in str(raised.value)
    assert not (tmp_path / "state").exists()


def test_two_processes_and_a_step_in_two_parts_learn_as_one_does(patients, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=1, learning_rate=3e-4)
    _, alone = train(patients, tmp_path / "alone", settings)
    network, together = train(patients, tmp_path / "together", dataclasses.replace(settings, devices=2))
    _, parts = train(patients, tmp_path / "parts", dataclasses.replace(settings, accumulation=2))
    np.testing.assert_allclose(together["loss"], alone["loss"], rtol=0.15)
    np.testing.assert_allclose(parts["loss"], alone["loss"], rtol=0.15)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_more_parts_than_patients_in_a_step_are_refused_before_anything_starts(patients, tmp_path):
    settings = dataclasses.replace(SETTINGS, devices=2, patients_per_step=2, accumulation=3)
    with pytest.raises(ValueError, match=r"must give each of the 6 parts .* a patient, got a step of 2"):
        train(patients, tmp_path / "state", settings)


def test_a_memory_that_is_too_small_names_the_accumulation_that_would_do(patients, tmp_path, monkeypatch):
    def too_large(*_):
        raise torch.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr(training, "joint_loss", too_large)
    with pytest.raises(TrainingError, match=r"too small for \d+ slices of \(64, 64\) at a time: set accumulation to 2"):
        train(patients, tmp_path / "state")


def test_a_completed_fold_predicts_everybody_and_neither_another_label_nor_the_global_generator_matters(
    patients, roles, tmp_path
):
    flipped = [
        patient if roles[patient.patient_id] == "in_fold" else dataclasses.replace(patient, he=1.0 - patient.he)
        for patient in patients
    ]
    settings, folds = dataclasses.replace(SETTINGS, epochs=1, fold=1), []
    for seed, people in enumerate((patients, flipped)):
        torch.manual_seed(seed)
        place = tmp_path / str(seed)
        folds.append(complete_fold(people, roles, NetworkSettings(), settings=settings, checkpoint=place))
    first, second = folds
    assert same_weights(first.network, second.network)
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    assert first.predictions["patient_id"].tolist() == roles.index.tolist()
    assert first.predictions["role"].tolist() == roles.tolist()
    np.testing.assert_array_equal(first.predictions["dl_logit"], read_out(first.network, first.predictions))
    assert first.readouts.set_index("readout")["cases"].to_dict() == {"expansion": 4, "presence": 32}


def test_read_outs_are_fitted_where_there_are_events_enough(patients, tmp_path, monkeypatch):
    monkeypatch.setattr(readout, "LEAST_EVENTS", 2)
    roles = pd.Series("in_fold", index=[patient.patient_id for patient in patients])
    settings = dataclasses.replace(SETTINGS, epochs=1)
    fold = complete_fold(patients, roles, NetworkSettings(), settings=settings, checkpoint=tmp_path / "state")
    assert fold.readouts["fitted"].tolist() == [True, True]
    assert fold.network.context.weight[1:].abs().max() > 0


def test_more_gpus_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for kind in ("cuda", "mps"):
        with pytest.raises(StudyError, match="devices must be at most the 1 GPUs of this machine, got 2"):
            training.run_on(2, kind, print)


def fail_in_one(device):
    """One of two processes fails while the other waits for it; like NCCL, nobody leaves the group alone."""
    torch.distributed.destroy_process_group = lambda: os._exit(3)
    if training.rank():
        raise TrainingError("this is why")
    torch.distributed.barrier()


def test_what_one_of_several_processes_says_is_heard():
    with pytest.raises(torch.multiprocessing.ProcessRaisedException, match="TrainingError: this is why"):
        training.run_on(2, "cpu", fail_in_one)
