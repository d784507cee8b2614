"""The house holds: a module imports only from strictly lower floors, and has the name of a thing."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "hepred_lib"
FLOORS = {
    0: {"volume", "expansion", "markers", "scores", "segmentation", "morphology", "stats", "progress", "literal"},
    1: {"imaging", "plain_yaml", "regular_file"},
    2: {"manifest", "scans"},
    3: {"study"},
    4: {"results", "preprocessing", "simulation", "execution"},
    5: {"slices", "reporting", "intake"},
    6: {"multitask"},
    7: {"deployment"},
    8: {"figures"},
    9: {"book", "site"},
    10: {"cli"},
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
FORBIDDEN = {"utils", "helpers", "common", "misc", "core"}
MODULES = sorted(LIBRARY.rglob("*.py"))


def room(path: Path) -> str:
    """The first part of a module's name under the library: ``stats`` for ``stats/logistic.py``."""
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The library's own rooms that a module imports, wherever in its text."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("hepred_lib.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_a_module_imports_only_from_strictly_lower_floors(path):
    if path == LIBRARY / "__init__.py":
        assert not imported(path)
        return
    own = room(path)
    assert own in FLOOR, f"{own} has no floor"
    higher = {name for name in imported(path) - {own} if FLOOR[name] >= FLOOR[own]}
    assert not higher, f"{own} (floor {FLOOR[own]}) imports {higher}"


def test_figures_see_the_ground_floor_only_and_never_files():
    for path in (LIBRARY / "figures").glob("*.py"):
        assert {name for name in imported(path) - {"figures"} if FLOOR[name] > 0} == set()
        assert not {"read_csv", "open", "savefig"} & called(path) - {"savefig" if path.name == "style.py" else ""}


def test_floor_zero_touches_neither_files_nor_torch():
    for path in MODULES:
        if FLOOR.get(room(path)) == 0:
            text = path.read_text(encoding="utf-8")
            assert "import torch" not in text, path
            assert not {"open", "read_csv", "to_csv", "read_text", "write_text"} & called(path), path


def test_no_room_has_the_name_of_nothing():
    assert not {part.removesuffix(".py") for path in MODULES for part in path.parts} & FORBIDDEN


def test_no_function_of_the_library_is_longer_than_fifty_lines():
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                doc = ast.get_docstring(node, clean=False)
                body = node.end_lineno - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
                long += [f"{path.name}:{node.name} {body}"] if body > 50 else []
    assert not long


def test_only_the_notebooks_that_may_read_the_truth_read_it():
    readers = {
        path.stem
        for path in (LIBRARY.parent / "notebooks").glob("*.py")
        if "read_table(run.resolve(truth))" in path.read_text(encoding="utf-8")
    }
    assert readers == {"01_cohort", "07_roc_calibration_figures"}
    elsewhere = [path for path in MODULES if "truth.csv" in path.read_text(encoding="utf-8")]
    assert {room(path) for path in elsewhere} <= {"simulation", "study"}


def called(path: Path) -> set[str]:
    """Names of the functions and methods that a module calls."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return {call.id if isinstance(call, ast.Name) else getattr(call, "attr", "") for call in calls}
