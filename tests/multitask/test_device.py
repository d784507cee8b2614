"""Which device and precision are taken, and that a whole fold can be computed on a device that is not the host."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from hepred_lib.errors import StudyError
from hepred_lib.multitask import device as module
from hepred_lib.multitask import training
from hepred_lib.multitask.data import Stack, step_batches
from hepred_lib.multitask.device import autocast, device_words, pick_device, pick_precision
from hepred_lib.multitask.explanation import explain_patient
from hepred_lib.multitask.network import NetworkSettings
from hepred_lib.multitask.prediction import predict_ensemble
from hepred_lib.multitask.training import CHECKED_EVERY, TrainingSettings, complete_fold
from tests.multitask.pretended import needs_backends, pretended_device

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)
SETTINGS = TrainingSettings(
    epochs=1, patients_per_step=5, slices_per_patient=2, precision="float32", fold=1, expansion_weight=0.3
)


@pytest.fixture
def card(monkeypatch):
    """A machine with one card, whose capability is given."""

    def with_capability(capability, architectures=("sm_75", "sm_80", "sm_90")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla V100")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(architectures))

    return with_capability


def test_a_card_that_torch_was_compiled_for_is_taken(card):
    card((8, 6))
    assert pick_device() == pick_device("cuda") == pick_device("cuda:0") == CARD
    assert pick_device("cpu") == CPU


def test_a_card_without_kernels_is_named_and_the_cpu_computes(card):
    card((7, 0))
    with pytest.warns(UserWarning, match=r"Tesla V100 has architecture sm_70, and torch .* sm_75, sm_80, sm_90"):
        assert pick_device() == CPU
    with pytest.raises(StudyError, match="device cuda cannot be used: Tesla V100 has architecture sm_70"):
        pick_device("cuda")


def test_a_card_that_the_driver_sees_and_torch_does_not_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(module, "seen_by_the_driver", lambda: "NVIDIA T4 (driver 470.1)")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.warns(UserWarning, match=r"NVIDIA T4 \(driver 470.1\) is there, but torch .* needs a newer driver"):
        assert pick_device() == CPU


@pytest.mark.parametrize("hiding", ["", "-1"])
def test_a_card_that_the_user_hides_is_not_spoken_of_and_its_driver_is_not_blamed(monkeypatch, hiding):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(module, "seen_by_the_driver", lambda: "NVIDIA H100 (driver 580.1)")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hiding)
    assert pick_device() == CPU
    with pytest.raises(StudyError, match="device cuda cannot be used: CUDA_VISIBLE_DEVICES hides all GPUs"):
        pick_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "", "CUDA"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(StudyError, match="device must be auto, cpu, cuda, cuda:N or mps, got"):
        pick_device(name)


def test_a_card_beyond_the_last_is_refused(card):
    card((9, 0))
    with pytest.raises(StudyError, match="device cuda:3 cannot be used: this machine has 1 GPU"):
        pick_device("cuda:3")


def test_no_precision_is_emulated(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False, "avx512_bf16": False}, raising=False)
    assert pick_precision(CPU) == "float32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert pick_precision(CPU) == "bfloat16"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert pick_precision(CPU) == "float32"
    kinds = {0: (9, 0), 1: (8, 6), 2: (7, 5), 3: (7, 0), 4: (6, 1)}  # cards of one machine
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda card: kinds[card.index])
    found = [pick_precision(torch.device("cuda", card)) for card in kinds]
    assert found == ["bfloat16", "bfloat16", "float16", "float16", "float32"]


@pytest.mark.parametrize(("name", "words"), [("half", "must be auto, bfloat16"), ("float16", "computed on a CUDA")])
def test_a_precision_that_cannot_be_is_refused(name, words):
    with pytest.raises(StudyError, match=words):
        pick_precision(CPU, name)


def test_products_are_computed_in_the_precision_that_is_asked_for():
    a = torch.ones(2, 2)
    for name in ("bfloat16", "float32"):
        with autocast(CPU, name):
            assert (a @ a).dtype == module.PRECISIONS[name]
    assert re.fullmatch(r"CPU, (1 thread|\d+ threads), float32", device_words(CPU, "float32"))


@needs_backends
def test_host_and_device_cannot_be_mixed():
    with pretended_device() as (device, waits):
        here, there = torch.ones(3), torch.ones(3, device=device)
        with pytest.raises(RuntimeError, match="must not be mixed"):
            here + there
        assert not waits.total()
        assert (there.cpu() + here).tolist() == [2.0, 2.0, 2.0]
        assert waits.total() == 1


@needs_backends
def test_a_fold_trains_predicts_and_is_read_on_the_device_as_on_the_host(patients, roles, tmp_path):
    def fold(name, device):
        return complete_fold(
            patients, roles, NetworkSettings(), settings=SETTINGS, checkpoint=tmp_path / name, device=device
        )

    here = fold("host", CPU)
    with pretended_device() as (device, _):
        there = fold("device", device)
        assert next(there.network.parameters()).device == device
        seen, _ = predict_ensemble([there.network], patients[0])
        explained = explain_patient(there.network, patients[0])
    pd.testing.assert_frame_equal(here.history, there.history, rtol=1e-4)
    pd.testing.assert_series_equal(here.predictions["dl_logit"], there.predictions["dl_logit"], atol=0.02)
    np.testing.assert_allclose(
        predict_ensemble([here.network], patients[0])[0].probability, seen.probability, atol=0.02
    )
    np.testing.assert_allclose(explain_patient(here.network, patients[0]).share, explained.share, atol=0.02)


@needs_backends
def test_the_host_waits_for_no_step_but_those_whose_loss_is_checked(patients):
    with pretended_device() as (device, waits), training.deterministic(device):
        state = training._new_state(patients, NetworkSettings(), SETTINGS, device)
        compute, stack = training.gradients_of(state, state.network, SETTINGS, device), Stack(patients, device)
        for step in range(3):
            batches = step_batches(stack, np.arange(4), slices_per_patient=2, seed=(1, step))
            waits.clear()
            training._train_step(state, state.network, batches, SETTINGS, compute, [])
            assert waits.total() == (step % CHECKED_EVERY == 0), f"step {step} waits: {dict(waits)}"
