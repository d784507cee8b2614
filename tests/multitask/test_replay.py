"""Steps of a GPU are recorded and replayed; here the recording is a stand-in that computes on the CPU."""

import dataclasses
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hepred_lib.multitask import replay as module
from hepred_lib.multitask import training
from hepred_lib.multitask.data import Stack, draw_batch
from hepred_lib.multitask.network import NetworkSettings
from hepred_lib.multitask.replay import Replay
from hepred_lib.multitask.training import TrainingSettings

CPU = torch.device("cpu")
SETTINGS = TrainingSettings(
    epochs=1, patients_per_step=2, slices_per_patient=2, precision="float32", expansion_weight=0.3
)


class StandIn:
    """Replays what was computed in its context: the same work on the same tensors, into the same results."""

    work = None

    def register_generator_state(self, generator):
        self.generator = generator

    def pool(self):
        return None

    def replay(self):
        type(self).replayed += 1
        losses, gradient = type(self).work(self)
        self.losses.copy_(losses)
        self.gradient.copy_(gradient)


@pytest.fixture
def steps(monkeypatch):
    """Work that depends on the batch and on the generator, computed by a plain and by a recording Replay."""
    weight, done, current = torch.ones(3, requires_grad=True), [], []

    def work(batch, generator):
        loss = (weight * batch.hu.mean() * torch.rand((), generator=generator)).sum()
        loss.backward()
        return loss.detach()[None]

    def recorded(batch, generator):
        done.append((batch, work(batch, generator)))
        return done[-1][1]

    @contextmanager
    def graph(stand_in, **_):
        assert current == [CPU], "torch records on the current device, which must be that of the training"
        state = stand_in.generator.get_state()  # to record is not to compute: no number is drawn
        yield
        stand_in.generator.set_state(state)
        (stand_in.batch, stand_in.losses), stand_in.gradient = done[-1], weight.grad

    @contextmanager
    def device(chosen):
        current.append(chosen)
        yield
        current.pop()

    def again(stand_in):
        weight.grad = None
        return work(stand_in.batch, stand_in.generator), weight.grad

    def step(compute, batch):
        weight.grad = None
        return compute(batch), weight.grad.clone()

    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", StandIn)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
    monkeypatch.setattr(StandIn, "work", again)
    monkeypatch.setattr(StandIn, "replayed", 0, raising=False)
    plain, replay = Replay(work, [weight], CPU), Replay(recorded, [weight], CPU)
    replay._record = True
    return SimpleNamespace(plain=plain, replay=replay, done=done, step=step)


def batches(patients, number, *, size=2):
    stack = Stack(patients, CPU)
    return [draw_batch(stack, np.arange(size), slices_per_patient=2, seed=(1, step)) for step in range(number)]


def test_a_replayed_step_has_the_losses_and_gradients_of_a_computed_one_and_keeps_them(patients, steps):
    kept = []
    for number, batch in enumerate(batches(patients, 4)):
        plain, replayed = (steps.step(compute, batch) for compute in (steps.plain, steps.replay))
        torch.testing.assert_close(replayed, plain, rtol=0, atol=0)
        assert len(steps.done) == min(number + 1, 2), "the first is computed, the second recorded, no other computed"
        kept.append(replayed[0])
    assert StandIn.replayed == 3
    assert len({float(loss) for loss in kept}) == 4, "losses that are kept do not change with later steps"


def test_steps_of_more_shapes_than_are_recorded_are_computed(patients, steps, monkeypatch):
    monkeypatch.setattr(module, "MOST_RECORDINGS", 2)
    for size in (1, 2, 3):
        for batch in batches(patients, 3, size=size):
            steps.step(steps.replay, batch)
    assert len(steps.replay._recordings) == 2
    assert len(steps.done) == 2 * 2 + 3


def test_a_driver_that_cannot_record_is_said_once_and_steps_are_computed(patients, steps, monkeypatch):
    @contextmanager
    def refuse(*_, **__):
        yield
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda _: None)
    said = "are not recorded as CUDA graphs, and are slower: operation not permitted"
    for number, batch in enumerate(batches(patients, 3)):
        with pytest.warns(UserWarning, match=said) if number == 1 else nullcontext():
            replayed = steps.step(steps.replay, batch)
        torch.testing.assert_close(replayed, steps.step(steps.plain, batch), rtol=0, atol=0)
    assert StandIn.replayed == 0


def test_a_step_in_parts_or_of_several_devices_is_never_recorded(patients, monkeypatch):
    asked = []
    monkeypatch.setattr(training, "Replay", lambda *_, record: asked.append(record))
    state = training._new_state(patients, NetworkSettings(), SETTINGS, CPU)
    for change in ({}, {"accumulation": 2}, {"devices": 2}):
        training.gradients_of(state, state.network, dataclasses.replace(SETTINGS, **change), CPU)
    assert asked == [True, False, False]
    assert not Replay(lambda *_: None, [], CPU)._record
