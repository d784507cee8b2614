"""Steps of a GPU are recorded and replayed; here the recording is a stand-in that computes on the CPU."""

import dataclasses
from contextlib import contextmanager, nullcontext

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
SETTINGS = TrainingSettings(epochs=1, patients_per_step=2, slices_per_patient=2, precision="float32")


class StandIn:
    """Replays what was computed in its context: the same work on the same tensors, into the same results."""

    work = None

    def register_generator_state(self, generator):
        self.generator = generator

    def pool(self):
        return None

    def replay(self):
        type(self).replayed += 1
        losses, gradients = type(self).work(self)
        self.losses.copy_(losses)
        for own, new in zip(self.gradients, gradients, strict=True):
            own.copy_(new)


@pytest.fixture
def recorder(monkeypatch):
    """Make a Replay that records, with what it computes; steps of its network can be compared with plain ones."""

    def make(work, weights):
        def recorded(batch, generator):
            recorded.calls += 1
            losses = work(batch, generator)
            recorded.last = batch, losses
            return losses

        recorded.calls = 0
        replay = Replay(recorded, weights, CPU)
        replay._record = True

        @contextmanager
        def graph(stand_in, **_):
            state = stand_in.generator.get_state()  # to record is not to compute: no number is drawn
            yield
            stand_in.generator.set_state(state)
            stand_in.batch, stand_in.losses = recorded.last
            stand_in.gradients = [weight.grad for weight in weights]

        def again(stand_in):
            for weight in weights:
                weight.grad = None
            return work(stand_in.batch, stand_in.generator), [weight.grad for weight in weights]

        monkeypatch.setattr(torch.cuda, "graph", graph)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", StandIn)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
        monkeypatch.setattr(StandIn, "work", again)
        monkeypatch.setattr(StandIn, "replayed", 0, raising=False)
        return replay, recorded

    return make


def weighted(weight):
    """Work whose gradient and loss depend on the batch and on the generator."""

    def work(batch, generator):
        noise = torch.rand((), generator=generator)
        loss = (weight * batch.hu.mean() * noise).sum()
        loss.backward()
        return loss.detach()[None]

    return work


def batches(patients, number, *, size=2):
    stack = Stack(patients, CPU)
    return [draw_batch(stack, np.arange(size), slices_per_patient=2, seed=(1, step)) for step in range(number)]


def test_a_replayed_step_has_the_losses_and_gradients_of_a_computed_one(patients, recorder):
    weight = torch.ones(3, requires_grad=True)
    replay, recorded = recorder(weighted(weight), [weight])
    plain = Replay(weighted(weight), [weight], CPU)
    for step, batch in enumerate(batches(patients, 4)):
        found = []
        for compute in (plain, replay):
            weight.grad = None
            found.append((compute(batch), weight.grad.clone()))
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
        assert recorded.calls == min(step + 1, 2), "the first is computed, the second recorded, no other computed"
    assert StandIn.replayed == 3


def test_losses_that_are_kept_do_not_change_with_later_steps(patients, recorder):
    weight = torch.ones(3, requires_grad=True)
    replay, _ = recorder(weighted(weight), [weight])
    kept = []
    for batch in batches(patients, 4):
        weight.grad = None
        kept.append(replay(batch))
    assert len({float(loss) for loss in kept}) == 4


def test_steps_of_more_shapes_than_are_recorded_are_computed(patients, recorder, monkeypatch):
    weight = torch.ones(3, requires_grad=True)
    replay, recorded = recorder(weighted(weight), [weight])
    monkeypatch.setattr(module, "MOST_RECORDINGS", 2)
    for size in (1, 2, 3):
        for batch in batches(patients, 3, size=size):
            weight.grad = None
            replay(batch)
    assert len(replay._recordings) == 2
    assert recorded.calls == 2 * 2 + 3


def test_a_driver_that_cannot_record_is_said_once_and_steps_are_computed(patients, recorder, monkeypatch):
    weight = torch.ones(3, requires_grad=True)
    replay, _ = recorder(weighted(weight), [weight])

    @contextmanager
    def refuse(*_, **__):
        yield
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    first, second, third = batches(patients, 3)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda _: None)
    plain = Replay(weighted(weight), [weight], CPU)
    replay(first)
    for batch in (second, third):
        found = []
        for compute in (plain, replay):
            weight.grad = None
            said = "are not recorded as CUDA graphs, and are slower: operation not permitted"
            told = compute is replay and batch is second
            with pytest.warns(UserWarning, match=said) if told else nullcontext():
                found.append((compute(batch), weight.grad.clone()))
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    assert StandIn.replayed == 0


def test_a_step_in_parts_or_of_several_devices_is_never_recorded(patients, monkeypatch):
    asked = []
    monkeypatch.setattr(training, "Replay", lambda *_, record: asked.append(record))
    state = training._new_state(patients, NetworkSettings(), SETTINGS, CPU)
    for change in ({}, {"accumulation": 2}, {"devices": 2}):
        training.gradients_of(state, state.network, dataclasses.replace(SETTINGS, **change), CPU)
    assert asked == [True, False, False]
    assert not Replay(lambda *_: None, [], CPU)._record
