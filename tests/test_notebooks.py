"""The notebooks keep the house's rules: in step with their scripts, without outputs, one cell of flat literals."""

import ast
import json
from pathlib import Path

import jupytext
import pytest

from hepred_lib.study.definition import NOTEBOOKS, notebook_defaults

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"


def script(name: str) -> str:
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def cells(name: str) -> list[dict]:
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def test_the_book_is_complete():
    scripts, notebooks = ({path.stem for path in FOLDER.glob(pattern)} for pattern in ("*.py", "*.ipynb"))
    assert scripts == notebooks == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_pair_is_in_step_and_the_notebook_carries_no_outputs(name):
    from_script = [(cell.cell_type, cell.source) for cell in jupytext.read(FOLDER / f"{name}.py").cells]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in cells(name)] == from_script
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells(name))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_parameters_are_few_flat_literals_each_with_a_reason(name):
    (cell,) = [cell for cell in cells(name) if "parameters" in cell["metadata"].get("tags", [])]
    lines = "".join(cell["source"]).splitlines()
    assert len(lines) <= (16 if name.startswith("03") else 12)
    assert all("  # " in line for line in lines), "every parameter gives its reason"
    assert all(isinstance(value, (str, int, float, bool)) for value in notebook_defaults(name).values())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_page_explains_and_the_library_computes(name):
    tree = ast.parse(script(name))
    forbidden = (ast.FunctionDef, ast.ClassDef, ast.Try, ast.While)
    assert not [node for node in ast.walk(tree) if isinstance(node, forbidden)]
    assert "\n# ## Limits" in script(name), "the last section states the limits"
    assert "open_notebook(" in script(name)
    assert "run.record(" in script(name)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_page_has_as_much_text_as_code_and_hardly_generates_any(name):
    kinds = [cell["cell_type"] for cell in cells(name)]
    assert kinds.count("markdown") >= kinds.count("code")
    called = [node.func for node in ast.walk(ast.parse(script(name))) if isinstance(node, ast.Call)]
    assert [getattr(function, "id", "") for function in called].count("Markdown") <= 2, "a headline and a formula"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_page_imports_in_one_cell_and_states_what_it_relies_on(name):
    sources = ["".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code"]
    imports = [
        text for text in sources if any(isinstance(n, ast.Import | ast.ImportFrom) for n in ast.parse(text).body)
    ]
    assert imports == sources[:1]
    assert "\nassert " in "\n".join(sources)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_knows_no_absolute_path(name):
    strings = [node.value for node in ast.walk(ast.parse(script(name))) if isinstance(node, ast.Constant)]
    assert not [text for text in strings if isinstance(text, str) and text.startswith(("/", "~"))]
