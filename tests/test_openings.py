"""Each notebook opens with its question and says what it reads and writes, truly and completely."""

import ast
import re

import pytest

from hepred_lib.study.definition import NOTEBOOKS, PROJECT
from hepred_lib.study.run import outputs_of, steps_of

NAMED = re.compile(r"`([^`\s]+\.\w+)`")


def source(name: str) -> str:
    return (PROJECT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")


def opening(name: str) -> str:
    """Text of a notebook's first cell, on one line a paragraph."""
    cell = source(name).split("# %% [markdown]\n")[1].split("\n# %%")[0]
    return cell.replace("# ", " ").replace("\n", "").replace("  ", " ")


def read_and_written(name: str) -> tuple[set[str], set[str]]:
    """The files that the opening names before and after "writes"."""
    sentence = re.search(r"Reads (.*?); writes (.*?)(?:\. [A-Z]|\.$)", opening(name))
    assert sentence, f"{name} must open with 'Reads ...; writes ...'"
    return tuple(set(NAMED.findall(part)) for part in sentence.groups())


def outputs() -> dict[str, set[str]]:
    """What the workflow expects of each notebook, folds as ``<k>``."""
    return {name: {path.replace("{fold}", "<k>") for path in outputs_of(name, "{fold}")} for name in NOTEBOOKS}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_with_its_title_and_its_question(name):
    text = source(name).split("# %% [markdown]\n")[1]
    assert re.match(rf"# # {name[:2]} .+\n#\n# \*\*.+\?\*\*", text)


def test_the_workflow_runs_every_notebook():
    steps = steps_of("scans", 2, external=True).values()
    assert list(dict.fromkeys(notebook for notebook, _ in steps)) == sorted(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_opening_names_every_file_that_the_workflow_expects(name):
    _, written = read_and_written(name)
    assert written >= outputs()[name]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_file_that_the_opening_calls_written_is_written_by_a_cell(name):
    _, written = read_and_written(name)
    texts = {node.value for node in ast.walk(ast.parse(source(name))) if isinstance(node, ast.Constant)}
    names = {path: path.rsplit("/", 1)[-1] for path in written}
    # A table is written by file name, or by the name that its CSV and its LaTeX share.
    tables = {path for path in written if path.startswith("tables/") and names[path].removesuffix(".csv") in texts}
    assert {path for path, name in names.items() if name not in texts} <= tables


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_file_that_a_cell_reads_is_named_in_the_opening(name):
    read, _ = read_and_written(name)
    calls = re.findall(r'read_(?:table|json)\(run\.path\(("[^)]*")\)\)', source(name))
    paths = {"/".join(ast.literal_eval(f"[{call}]")) for call in calls}
    assert paths <= read


@pytest.mark.parametrize("number", range(len(NOTEBOOKS)))
def test_every_file_that_the_opening_calls_read_is_written_by_an_earlier_notebook(number):
    read, _ = read_and_written(NOTEBOOKS[number])
    earlier = set().union(*(read_and_written(name)[1] for name in NOTEBOOKS[:number]))
    records = {f"records/{name}.json" for name in NOTEBOOKS[:number]}
    assert read <= earlier | records
