"""Where a network is computed, and how exactly: the device, the precision of its products, and the words for both.

Vocabulary
----------
device
    ``cpu``, a GPU by its number (``cuda:1``), or Apple's ``mps``
architecture
    of a GPU, as ``sm_86``: what the installed torch was compiled for decides which cards it can use
precision
    of convolutions and matrix products: ``bfloat16``, ``float16`` or ``float32``; weights and sums are always float32
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from contextlib import AbstractContextManager, nullcontext

import torch

from hepred_lib.cards import seen_by_the_driver, visible_cards
from hepred_lib.errors import StudyError

DEVICES = "auto, cpu, cuda, cuda:N or mps"
PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
_APPLE = threading.Lock()


def pick_device(name: str = "auto") -> torch.device:
    """The device of this name; ``auto`` is the first GPU that torch can use, else the CPU.

    Where a GPU is there and cannot be used, ``auto`` warns with the reason and takes the CPU; of one that
    ``CUDA_VISIBLE_DEVICES`` hides it does not speak.

    Raises
    ------
    StudyError
        A device that is asked for by name and cannot be used, with the reason.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", name):
        raise StudyError(f"device must be {DEVICES}, got '{name}'.")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise StudyError("device mps must be an Apple GPU that torch can use, got a machine without one.")
        return torch.device("mps")
    card = int(name.partition(":")[2] or 0)
    reason = why_no_gpu(card)
    if reason is None:
        return torch.device("cuda", card)
    if name != "auto":
        raise StudyError(f"device {name} cannot be used: {reason}.")
    if torch.cuda.is_available() or (seen_by_the_driver() and not _hidden()):
        warnings.warn(f"the GPU of this machine is not used: {reason}. The CPU computes instead.", stacklevel=2)
    return torch.device("cpu")


def why_no_gpu(card: int) -> str | None:
    """Why torch cannot use a GPU, with what would help; None where it can."""
    if not torch.cuda.is_available():
        seen = seen_by_the_driver()
        if not seen:
            return "no NVIDIA GPU was found"
        if _hidden():
            return "CUDA_VISIBLE_DEVICES hides all GPUs"
        built = torch.version.cuda
        cause = f"for CUDA {built}, which needs a newer driver" if built else "for the CPU alone"
        return f"{seen} is there, but torch {torch.__version__} is built {cause}; see 'GPUs' in the README"
    if card >= torch.cuda.device_count():
        return f"this machine has {torch.cuda.device_count()} GPUs, numbered from 0"
    if not runs_on(torch.cuda.get_device_capability(card), torch.cuda.get_arch_list()):
        major, minor = torch.cuda.get_device_capability(card)
        return (
            f"{torch.cuda.get_device_name(card)} has architecture sm_{major}{minor}, and torch {torch.__version__} is "
            f"compiled for {', '.join(torch.cuda.get_arch_list())}; see 'GPUs' in the README"
        )
    return None


def _hidden() -> bool:
    """Whether the environment hides every GPU, as ``hepred run --gpus 0`` does."""
    return "CUDA_VISIBLE_DEVICES" in os.environ and not visible_cards()


def runs_on(capability: tuple[int, int], architectures: list[str]) -> bool:
    """Whether code compiled for these architectures runs on a card.

    Machine code (``sm_80``) runs on cards of the same major version and at least the same minor one, intermediate code
    (``compute_90``) on all later ones.

    Examples
    --------
    >>> runs_on((8, 6), ["sm_80", "sm_90"]), runs_on((7, 0), ["sm_75", "sm_80"]), runs_on((12, 0), ["compute_90"])
    (True, False, True)
    """
    parsed = (re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", name) for name in architectures)
    known = [(found[1], (int(found[2]), int(found[3]))) for found in parsed if found]
    return any(capability >= built and (kind == "compute" or capability[0] == built[0]) for kind, built in known)


def pick_precision(device: torch.device, name: str = "auto") -> str:
    """The precision of this name; ``auto`` is the fastest that the device computes itself.

    bfloat16 on GPUs and CPUs with instructions for it, float16 on older GPUs that have tensor cores, else float32:
    emulated bfloat16 is half as fast as float32.

    Raises
    ------
    StudyError
        An unknown name, or float16 where it is not computed by the device.
    """
    if name not in ("auto", *PRECISIONS):
        raise StudyError(f"precision must be auto, {', '.join(PRECISIONS)}, got '{name}'.")
    if name == "float16" and device.type != "cuda":
        raise StudyError(f"precision float16 must be computed on a CUDA device, got {device}.")
    if name != "auto":
        return name
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)  # of this card: torch's own question is of the current one
        return "bfloat16" if major >= 8 else "float16" if major == 7 else "float32"
    known: dict = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return "bfloat16" if known.get("amx_bf16") or known.get("avx512_bf16") else "float32"


def autocast(device: torch.device, precision: str = "auto") -> AbstractContextManager:
    """Matrix products in the precision of this name; nothing is changed for float32."""
    chosen = pick_precision(device, precision)
    return nullcontext() if chosen == "float32" else torch.autocast(device.type, dtype=PRECISIONS[chosen])


def one_thread_on(device: torch.device) -> AbstractContextManager:
    """Apple's GPU for one thread at a time: torch may end the process where two compute there at once."""
    return _APPLE if device.type == "mps" else nullcontext()


def device_words(device: torch.device, precision: str = "auto") -> str:
    """The device and its precision in words, as ``NVIDIA H100 (cuda:0), bfloat16``."""
    chosen = pick_precision(device, precision)
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device}), {chosen}"
    threads = torch.get_num_threads()
    return f"{device.type.upper()}, {threads} {'thread' if threads == 1 else 'threads'}, {chosen}"
