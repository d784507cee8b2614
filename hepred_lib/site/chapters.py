"""An executed notebook as a chapter of the site: numbered figures with captions, folded code, links between chapters.

A notebook's own picture may be missing or small; the figure that the study saved under the same name is shown instead.
What a cell says of single patients is left out unless it is asked for: a site may be seen by everybody.
"""

from __future__ import annotations

import ast
import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from hepred_lib.site.captions import Picture, for_screen, saved_picture
from hepred_lib.study import read_printed

# Last values of cells that say where a file went, or whether it changed: of no use to a reader.
_ASIDES = re.compile(r"^(?:(?:Posix|Windows)Path\(.*\)|True|False|None)$", re.DOTALL)
_MENTION = re.compile(r"\bnotebook (\d\d)\b(?![^\[]*\])")
_FOLD = re.compile(r"_fold(\d+)$")
_COLUMN_OF_PATIENTS = re.compile(r"<th[^>]*>\s*patient_id\s*</th>|^\s*patient_id\b|\|\s*patient_id\s*\|", re.MULTILINE)
LEFT_OUT = "Rows of single patients are not published (`hepred site --patients` publishes them)."


@dataclass(frozen=True)
class Chapter:
    """One page of the book: its document name, title, question, the notebook to show, and its pictures."""

    name: str
    title: str
    question: str
    notebook: NotebookNode
    pictures: tuple[Picture, ...]


def read_chapters(run: Path, *, patients: bool = False) -> list[Chapter]:
    """Every executed notebook of a finished study, in the order of the book.

    Parameters
    ----------
    run : Path
        Folder of the study, with ``notebooks/``, ``figures/`` and perhaps ``external/figures/``.
    patients : bool
        Keep what cells say of single patients: tables with a column of them, and words that name one.
    """
    private = None if patients else _names_of_patients(run)
    paths = sorted((run / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    names: dict[str, str] = {}
    for path in paths:
        names.setdefault(path.stem[:2], path.stem)
    chapters: list[Chapter] = []
    for path in paths:
        used = {picture.name for chapter in chapters for picture in chapter.pictures}
        chapters.append(_chapter(path, run, names=names, used=used, private=private))
    return chapters


def _names_of_patients(run: Path) -> re.Pattern:
    """What finds a pseudonym of the study in a text; those that are short, or numbers, would be found by chance."""
    found: set[str] = set()
    for path in (*run.glob("*.csv"), *run.glob("external/*.csv")):
        table = read_printed(path)
        found |= set(table["patient_id"]) if "patient_id" in table else set()
    telling = sorted(name for name in found if len(name) > 3 and not name.isdigit())
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, telling))})(?![\w-])" if telling else r"(?!)")


def _chapter(path: Path, run: Path, *, names: Mapping[str, str], used: set[str], private: re.Pattern | None) -> Chapter:
    notebook, name = nbformat.read(path, as_version=4), path.stem
    pictures: list[Picture] = []
    cells: list[NotebookNode] = []
    title, heading = name, name
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            title = _entitle(cell, name) if title == name else title
            heading = _last_heading(cell.source) or heading
            _link(cell, names, own=name)
            cells.append(cell)
            continue
        _tidy(cell)
        if private is not None:
            _leave_out_patients(cell, private)
        found = _figure_of(cell, run, prefix=name, heading=heading)
        cells.append(cell)
        if found:
            found = _unlike(found, used | {picture.name for picture in pictures})
            pictures.append(found)
            cells.append(nbformat.v4.new_markdown_cell(found.directive, id=f"figure-{len(pictures)}"))
    language = {"name": "python", "pygments_lexer": "ipython3"}
    shown = nbformat.v4.new_notebook(cells=cells, metadata={"language_info": language})
    return Chapter(name, title, _question(notebook), shown, tuple(pictures))


def _entitle(cell: NotebookNode, name: str) -> str:
    """Title of a chapter; the folds of one notebook are told apart in it."""
    first, _, rest = cell.source.partition("\n")
    if not first.startswith("# "):
        return name
    fold = _FOLD.search(name)
    title = first.removeprefix("# ") + (f", fold {fold[1]}" if fold else "")
    cell.source = f"# {title}\n{rest}"
    return title


def _question(notebook: NotebookNode) -> str:
    """The bold paragraph by which every notebook opens."""
    found = re.search(r"\*\*(.+?)\*\*", notebook.cells[0].source, re.DOTALL) if notebook.cells else None
    return " ".join(found[1].split()) if found else ""


def _last_heading(source: str) -> str:
    headings = re.findall(r"^#+ (.+)$", source, re.MULTILINE)
    return headings[-1] if headings else ""


def _link(cell: NotebookNode, names: Mapping[str, str], *, own: str) -> None:
    def link(found: re.Match) -> str:
        target = names.get(found[1])
        return f"[{found[0]}]({target}.ipynb)" if target and target != own else found[0]

    cell.source = _MENTION.sub(link, cell.source)


def _tidy(cell: NotebookNode) -> None:
    """Fold the code away; drop progress bars and what a cell says of its files."""
    cell.metadata = NotebookNode(tags=["hide-input"])
    cell.outputs = [
        output
        for output in cell.outputs
        if not (output.output_type == "stream" and output.name == "stderr")
        and not (set(output.get("data", {})) == {"text/plain"} and _ASIDES.match(output.data["text/plain"]))
    ]


def _leave_out_patients(cell: NotebookNode, private: re.Pattern) -> None:
    """One sentence in place of every output that lists single patients."""
    for k, output in enumerate(cell.outputs):
        data = {"text/plain": output.get("text", ""), **output.get("data", {})}
        texts = [str(text) for kind, text in data.items() if kind.startswith("text/")]
        if any(private.search(text) or _COLUMN_OF_PATIENTS.search(text) for text in texts):
            cell.outputs[k] = nbformat.v4.new_output("display_data", {"text/markdown": LEFT_OUT})


def _figure_of(cell: NotebookNode, run: Path, *, prefix: str, heading: str) -> Picture | None:
    """The picture that a cell showed, taken out of its outputs; None where it showed none."""
    showing = [output for output in cell.outputs if _is_figure(output.get("data", {}))]
    if not showing:
        return None
    cell.outputs = [output for output in cell.outputs if output not in showing]
    for folder, name in _shown(cell.source):
        own = folder == "run.folder"
        saved = (run if own else run / "external") / "figures" / f"{name}.png"
        if saved.is_file():
            return saved_picture(saved, name, new_patients=not own)
    inline = [output.data["image/png"] for output in showing if "image/png" in output.data]
    if not inline:
        return None
    caption = heading if heading.endswith(("?", ".", "!")) else f"{heading}."
    name = f"{prefix}-{cell.get('id', 'figure')}"
    return for_screen(base64.b64decode(inline[0]), name=name, caption=caption, alternative=f"A plot: {caption}")


def _unlike(picture: Picture, used: set[str]) -> Picture:
    """The picture under a name that no other one has: labels are unique in a book."""
    names = chain([picture.name], (f"{picture.name}_{number}" for number in count(2)))
    return replace(picture, name=next(name for name in names if name not in used))


def _is_figure(data: Mapping[str, Any]) -> bool:
    return "image/png" in data or str(data.get("text/plain", "")).startswith("<Figure size")


def _shown(source: str) -> Iterator[tuple[str, str]]:
    """Folder (as written) and name of every figure that a cell asks :func:`hepred_lib.book.show` for."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "show":
            folder, name, *_ = node.args
            if isinstance(name, ast.Constant):
                yield ast.unparse(folder), str(name.value)
