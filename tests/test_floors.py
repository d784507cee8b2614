"""The house holds: modules import only from lower layers (contracts in pyproject.toml), rooms have names of things."""

import ast
import subprocess
import sys
from pathlib import Path

import hepred_lib.expansion
import hepred_lib.volume
from hepred_lib.cohort.expansion import expansion_label
from hepred_lib.imaging.volume import mask_volume_ml

LIBRARY = Path(__file__).resolve().parents[1] / "hepred_lib"
FORBIDDEN = {"utils", "helpers", "common", "misc", "core"}
LINTER = Path(sys.executable).with_name("lint-imports")
MODULES = sorted([*LIBRARY.rglob("*.py"), *(LIBRARY.parent / "ich_phantom").rglob("*.py")])


def room(path: Path) -> str:
    """The first part of a module's name: ``stats`` for ``hepred_lib/stats/logistic.py``; the phantom's own package."""
    package, name, *_ = path.relative_to(LIBRARY.parent).parts
    return name.removesuffix(".py") if package == LIBRARY.name else package


def test_the_layers_hold():
    done = subprocess.run([LINTER, "--no-cache"], cwd=LIBRARY.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_figures_never_touch_files():
    for path in (LIBRARY / "figures").glob("*.py"):
        assert not {"read_csv", "open", "savefig"} & called(path) - {"savefig" if path.name == "style.py" else ""}


def test_statistics_touch_neither_files_nor_torch():
    for path in (LIBRARY / "stats").glob("*.py"):
        assert "import torch" not in path.read_text(encoding="utf-8"), path
        assert not {"open", "read_csv", "to_csv", "read_text", "write_text"} & called(path), path


def test_no_room_has_the_name_of_nothing():
    assert not {part.removesuffix(".py") for path in MODULES for part in path.parts} & FORBIDDEN


def test_no_function_of_the_library_is_longer_than_sixty_lines():
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                doc = ast.get_docstring(node, clean=False)
                body = node.end_lineno - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
                long += [f"{path.name}:{node.name} {body}"] if body > 60 else []
    assert not long


def test_only_the_notebooks_that_may_read_the_truth_read_it():
    readers = {
        path.stem
        for path in (LIBRARY.parent / "notebooks").glob("*.py")
        if "read_table(run.resolve(truth))" in path.read_text(encoding="utf-8")
    }
    assert readers == {"01_cohort", "07_roc_calibration_figures"}
    elsewhere = [path for path in MODULES if "truth.csv" in path.read_text(encoding="utf-8")]
    assert {room(path) for path in elsewhere} <= {"ich_phantom", "study"}


def called(path: Path) -> set[str]:
    """Names of the functions and methods that a module calls."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return {call.id if isinstance(call, ast.Name) else getattr(call, "attr", "") for call in calls}


def test_what_other_programs_import_keeps_its_short_names():
    assert hepred_lib.volume.mask_volume_ml is mask_volume_ml
    assert hepred_lib.expansion.expansion_label is expansion_label
