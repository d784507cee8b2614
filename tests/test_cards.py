"""Cards are shared among trainings that run at once."""

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from hepred_lib import cards as module
from hepred_lib.cards import held_cards, places, seen_by_the_driver, visible_cards

HOLD = """
import sys, time
from pathlib import Path
from hepred_lib.cards import held_cards
with held_cards(int(sys.argv[2]), place=Path(sys.argv[1])) as cards:
    print(",".join(cards), flush=True)
    time.sleep(float(sys.argv[3]))
"""


def holding(place, number, seconds, cards="0,1,2"):
    command = [sys.executable, "-c", HOLD, str(place), str(number), str(seconds)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": cards}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_trainings_that_run_at_once_hold_different_cards(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with holding(tmp_path, 2, 30) as two:
        assert two.stdout.readline().strip() == "0,1"
        with held_cards(1, place=tmp_path) as cards:
            assert cards == ["2"]
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2"
        two.kill()
    with held_cards(5, place=tmp_path) as cards:
        assert cards == ["0", "1", "2"], "a killed training holds nothing, and there are no more than these"


def test_a_training_waits_for_its_card(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setattr(module, "CARD_WAIT_S", 0.05)
    with holding(tmp_path, 1, 0.5, cards="7") as first:
        assert first.stdout.readline().strip() == "7"
        with held_cards(1, place=tmp_path) as cards:
            assert cards == ["7"]
            assert first.wait(5) == 0


def test_jobs_of_a_cluster_that_count_their_own_card_as_0_do_not_wait_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SLURM_STEP_GPUS", "0")
    with ExitStack() as held:
        for job in ("17", "18"):
            monkeypatch.setenv("SLURM_JOB_ID", job)
            assert held.enter_context(held_cards(1)) == ["0"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("allowed", ["", "-1"])
def test_without_a_card_nothing_is_held(tmp_path, monkeypatch, allowed):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    with held_cards(1, place=tmp_path / "place") as cards:
        assert cards == []
    assert not (tmp_path / "place").exists()


@pytest.fixture
def driver(monkeypatch):
    """A machine whose driver answers so."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(module.shutil, "which", lambda _: "/usr/bin/nvidia-smi")

    def answers(status=0, **stdout):
        def run(words, **_):
            columns = words[1].removeprefix("--query-gpu=").partition(",")[0]
            return subprocess.CompletedProcess(words, status, stdout=stdout.get(columns, "No devices were found"))

        monkeypatch.setattr(module.subprocess, "run", run)

    return answers


def test_cards_are_numbered_as_the_driver_names_them(driver):
    driver(name="NVIDIA T4, 535.1\nNVIDIA T4, 535.1\n", index="0\n1\n")
    assert seen_by_the_driver() == "NVIDIA T4 (driver 535.1); NVIDIA T4 (driver 535.1)"
    assert visible_cards() == ["0", "1"]
    for said in ({}, {"name": "NVIDIA T4, 535.1", "index": "0", "status": 9}):  # without a card, and failing
        driver(**said)
        assert (seen_by_the_driver(), visible_cards()) == ("", [])


def test_a_large_card_has_several_places(driver, monkeypatch):
    whole, divided = "[N/A]", "Enabled"
    cards = [("0", "GPU-a", "81559", whole), ("1", "GPU-b", "8192", whole), ("2", "GPU-c", "[N/A]", whole)]
    cards.append(("3", "GPU-d", "81559", divided))
    driver(index="\n".join(", ".join(card) for card in cards))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-b,2,3,7")
    assert places(12.0) == {"0": 7, "GPU-b": 1, "2": 1, "3": 1, "7": 1}
    assert places(80.0) == places(0.0) == dict.fromkeys(("0", "GPU-b", "2", "3", "7"), 1)


def test_cards_that_nobody_uses_are_taken_first_and_several_only_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "places", lambda _: {"0": 2, "1": 2, "2": 2})
    with ExitStack() as held:
        shown = [held.enter_context(held_cards(1, place=tmp_path))[0] for _ in range(4)]
        assert shown == ["0", "1", "2", "0"]
        with ExitStack() as locks:
            assert module._free_cards(2, {"0": 2, "1": 2, "2": 2}, tmp_path, locks) == []
            # What was tried in vain is free again.
            assert module._free_cards(1, {"1": 2}, tmp_path, locks) == ["1"]
    with held_cards(2, place=tmp_path) as cards, ExitStack() as locks:
        assert cards == ["0", "1"]
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        assert module._free_cards(1, {"0": 2, "1": 2}, tmp_path, locks) == []
    assert "CUDA_DEVICE_ORDER" not in os.environ
