"""Which device, which precision, and what several processes are told."""

import pytest
import torch

from hepred_lib.multitask import training


def test_half_precision_is_left_alone_on_a_processor_that_would_emulate_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False, "avx512_bf16": False}, raising=False)
    assert not training.half_precision_pays(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert training.half_precision_pays(torch.device("cpu"))
    assert training.half_precision_pays(torch.device("cuda"))


def test_a_processor_that_does_not_tell_computes_in_single_precision(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not training.half_precision_pays(torch.device("cpu"))


def test_more_gpus_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="devices must be at most the 1 GPUs of this machine, got 2"):
        training.run_on(2, print)


def test_alone_a_process_is_the_first_and_its_network_is_itself():
    network = torch.nn.Linear(1, 1)
    assert training.rank() == 0
    assert training.shared(network, torch.device("cpu")) is network
