"""The executed book of a study as a static site, with a page that computes a risk in the browser and one of cases.

Sphinx and MyST-NB render the notebooks as the study left them; ``docs/`` holds the settings, the pages that are the
same for every study, and the templates (``*.jinja``) of those that are not. No page needs a server or a network.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO
from itertools import chain, count
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from PIL import Image

from hepred_lib.cohort.predictors import predictor_label
from hepred_lib.cohort.rules import COLUMNS
from hepred_lib.errors import StudyError
from hepred_lib.figures.style import typeset
from hepred_lib.stats.curves import split_term
from hepred_lib.study.cases import write_site_cases
from hepred_lib.study.definition import PROJECT
from hepred_lib.study.files import read_json, read_printed, read_results, read_table, templates, write_bytes
from hepred_lib.study.run import are_simulated
from hepred_lib.study.summary import MODELS
from hepred_lib.study.tables import performance_table

DOCS = PROJECT / "docs"
IMPUTATIONS = {"clinical": "imputation.json", "integrated": "integrated_imputation.json"}
STANDARDIZED = (-3.0, 0.0, 3.0)  # slider of the DL score, of which nothing was imputed
LEFT_OUT = "Rows of single patients are not published (`hepred site --patients` publishes them)."
SCREEN_PER_PRINT = 1.5  # figures are lettered for print; a screen needs half as much again
# Last values of cells that say where a file went, or whether it changed: they name folders of this machine.
_ASIDES = re.compile(r"^(?:(?:Posix|Windows)Path\(.*\)|True|False|None)$", re.DOTALL)
_FORMULA = re.compile(r"\A\$(\\mathrm\{logit\}[^$]*)\$\s*\Z")
_MENTION = re.compile(r"\bnotebook (\d\d)\b(?![^\[]*\])")
_COLUMN_OF_PATIENTS = re.compile(r"<th[^>]*>\s*patient_id\s*</th>|^\s*patient_id\b|\|\s*patient_id\s*\|", re.MULTILINE)


def build_site(
    run: Path, out: Path | None = None, *, patients: bool = False, share: bool = False, reference: bool = True
) -> Path:
    """Build the site of a finished study.

    Parameters
    ----------
    run : Path
        Its folder: ``notebooks/``, ``results.json`` and ``*_model.json`` are read, ``report/*.md`` where there is one.
        Nothing is run again.
    out : Path, optional
        Folder of the pages, replaced as a whole; by default ``site/`` in the run.
    patients : bool
        Publish tables of single patients too.
    share : bool
        Show the cases of real patients, everything outside the brain blanked; simulated ones are always shown.
    reference : bool
        Describe the library's functions too, from their docstrings: three quarters of the time.

    Returns
    -------
    Path
        The front page.

    Raises
    ------
    StudyError
        The study is not finished, ``out`` holds something else than a site, or Sphinx is not installed.
    RuntimeError
        The pages cannot be built without a warning.
    """
    out = run / "site" if out is None else out
    for path in (run / "results.json", run / "notebooks", run / "clinical_model.json"):
        if not path.exists():
            raise StudyError(f"RUN must be the folder of a finished study, but {path} is not there.")
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / "searchindex.js").is_file())):
        raise StudyError(f"--out must be a folder that is empty, a site, or not there yet; {out} holds something else.")
    for module in ("sphinx", "myst_nb", "sphinx_book_theme", "sphinxcontrib.bibtex"):
        if importlib.util.find_spec(module) is None:
            raise StudyError(f"the site needs {module}: install the extra 'site' (pip install -e '.[site]').")
    with tempfile.TemporaryDirectory(prefix="hepred-site-") as folder:
        source, pages, doctrees = (str(Path(folder) / name) for name in ("source", "pages", "doctrees"))
        write_source(run, Path(source), patients=patients, share=share, reference=reference)
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", doctrees, source, pages]
        command += ["-t", "reference"] if reference else []
        # Read by Sphinx: pages do not change with the day on which they are built.
        environment = os.environ | {"SOURCE_DATE_EPOCH": "0"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise RuntimeError(f"the site cannot be built:\n{done.stderr.strip()}")
        # The theme's own building blocks, which no page uses.
        for leftover in [*Path(pages).rglob("*webpack-macros.html"), *Path(pages).rglob("*.map")]:
            leftover.unlink()
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(pages, out)
    return out / "index.html"


def write_source(
    run: Path, source: Path, *, patients: bool = False, share: bool = False, reference: bool = True
) -> None:
    """Write what Sphinx reads: the pages of ``docs/``, the filled templates, chapters and reports of a study."""
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("*.jinja", "__pycache__"))
    results, chapters = read_results(run / "results.json"), read_chapters(run, patients=patients)
    own = bool(results.get("oracle") is not None or patients)  # data behind figures have a row per patient
    for chapter in chapters:
        _write_extras(run, source / "_static", chapter, data=own)
        nbformat.write(chapter["notebook"], source / f"{chapter['name']}.ipynb")
    models, fields = read_risk_models(run)
    made = {name: results["models"][name] for name in MODELS if results["models"].get(name)}
    values = {
        "results": results,
        "simulated": bool(results.get("oracle")) or are_simulated(read_table(run / "cohort.csv")["patient_id"]),
        "table": performance_table(made).astype(str).map(typeset).to_dict("records"),
        "absent": [name for name in MODELS if name not in made],
        "chapters": chapters,
        "reference": reference,
        "reports": _copy_reports(run, source, chapters),
        "models": models,
        "fields": fields,
        "average": _average_risk(results),
        "cases": write_site_cases(run, source / "_static", results, share=share, patients=patients),
    }
    for template in DOCS.glob("*.jinja"):
        page = templates(DOCS).get_template(template.name).render(values)
        (source / template.stem).write_text(page, encoding="utf-8")


def _write_extras(run: Path, static: Path, chapter: dict[str, Any], *, data: bool) -> None:
    """Write the chapter to download, its first figure as a small picture, and the data behind its figures.

    The chapter gets `data`, the files behind its figures by label.
    """
    text = nbformat.writes(chapter["notebook"])  # what single patients are left out of
    write_bytes(static / "notebooks" / f"{chapter['name']}.ipynb", f"{text}\n".encode())
    chapter["data"] = {}
    if chapter["picture"] is not None:
        write_bytes(static / "thumbnails" / f"{chapter['name']}.png", _small(chapter["picture"]))
    for label in chapter["figures"] if data else ():
        new, name = label.startswith("fig-new-"), label.removeprefix("fig-").removeprefix("new-").replace("-", "_")
        kept = run / ("external" if new else ".") / "figure_data" / f"{name}.csv"
        if kept.is_file():
            chapter["data"][label] = f"_static/data/{label.removeprefix('fig-')}.csv"
            write_bytes(static.parent / chapter["data"][label], kept.read_bytes())
    links = f'<a href="_static/notebooks/{chapter["name"]}.ipynb" download>Download this notebook</a>'
    links += "".join(
        f'; <a href="{path}" download>data of {label.removeprefix("fig-").replace("-", " ")}</a>'
        for label, path in chapter["data"].items()
    )
    chapter["notebook"].cells.append(_raw(f'<p class="downloads">{links}.</p>'))


def _small(content: bytes) -> bytes:
    """A picture as PNG, at most 360 by 240 pixels."""
    with Image.open(BytesIO(content)) as picture:
        small = picture.convert("RGB")
        small.thumbnail((360, 240), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    small.save(buffer, format="png")
    return buffer.getvalue()


def _raw(html: str) -> NotebookNode:
    """A cell of HTML of our own."""
    return nbformat.v4.new_markdown_cell(
        f"```{{raw}} html\n{html}\n```", id=f"raw-{sha256(html.encode()).hexdigest()[:8]}"
    )


def _copy_reports(run: Path, source: Path, chapters: list[dict[str, Any]]) -> list[str]:
    """Copy the study's reports; their links lead to chapters and figures, other files are only named."""
    known = {f"notebooks/{one['name']}.ipynb": f"../{one['name']}.ipynb" for one in chapters}
    labels = [label for one in chapters for label in one["figures"]]
    known |= {f"figures/{label.removeprefix('fig-').replace('-', '_')}.png": f"#{label}" for label in labels}

    def led(found: re.Match) -> str:
        return f"[{found[1]}]({known[found[2]]})" if found[2] in known else found[1]

    reports = sorted((run / "report").glob("*.md"))
    for path in reports:
        (source / "report").mkdir(exist_ok=True)
        page = re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", led, path.read_text(encoding="utf-8"))
        (source / "report" / path.name).write_text(page, encoding="utf-8")
    return [path.stem for path in reports]


def read_chapters(run: Path, *, patients: bool = False) -> list[dict[str, Any]]:
    """Every executed notebook of a finished study, in the order of the book.

    Parameters
    ----------
    run : Path
        Folder of the study.
    patients : bool
        Keep what cells say of single patients: tables with a column of them, and words that name one.

    Returns
    -------
    list of dict
        ``name`` of the document, its ``title``, ``question``, the ``notebook`` to show, and the captions of its
        ``figures`` by label.
    """
    private = None if patients else _names_of_patients(run)
    paths = sorted((run / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    names = {path.stem[:2]: path.stem for path in reversed(paths)}  # the first fold stands for all
    chapters: list[dict[str, Any]] = []
    for path in paths:
        chapters.append(_chapter(path, names, private, {label for one in chapters for label in one["figures"]}))
    return chapters


def _names_of_patients(run: Path) -> re.Pattern:
    """What finds a pseudonym of the study in a text; those that are short, or numbers, would be found by chance."""
    found: set[str] = set()
    for path in (*run.glob("*.csv"), *run.glob("external/*.csv")):
        table = read_printed(path)
        found |= set(table["patient_id"]) if "patient_id" in table else set()
    telling = sorted(name for name in found if len(name) > 3 and not name.isdigit())
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, telling))})(?![\w-])" if telling else r"(?!)")


def _chapter(path: Path, names: Mapping[str, str], private: re.Pattern | None, used: set[str]) -> dict[str, Any]:
    """One chapter: code folded away, figures numbered, other notebooks linked, single patients left out."""
    notebook, heading, cells = nbformat.read(path, as_version=4), path.stem, []
    figures: dict = {}
    fold = re.search(r"_fold(\d+)$", path.stem)
    if fold and notebook.cells:
        notebook.cells[0].source = re.sub(r"\A(# .+)", rf"\1, fold {fold[1]}", notebook.cells[0].source)
    opening = notebook.cells[0].source if notebook.cells else ""
    title, question = re.match(r"# (.+)", opening), re.search(r"\*\*(.+?)\*\*", opening, re.DOTALL)

    def linked(found: re.Match) -> str:
        target = names.get(found[1], path.stem)
        return found[0] if target == path.stem else f"[{found[0]}]({target}.ipynb)"

    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)][-1]
            cell.source = _MENTION.sub(linked, cell.source)
            continue
        outputs, cell.outputs, cell.metadata = cell.outputs, [], NotebookNode(tags=["hide-input"])
        for output in outputs:
            texts = [str(text) for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
            texts.append(output.get("text", ""))
            kind = next((kind for kind in output.get("data", {}) if kind.startswith("image/")), None)
            if kind:
                label, figure = _figure(output, kind, heading, {*used, *figures}, new=path.stem.startswith("08"))
                figures[label] = figure.metadata.mystnb.figure.caption
                cells.append(figure)
            elif formula := next(filter(None, map(_FORMULA.match, texts)), None):
                cells.append(nbformat.v4.new_markdown_cell(f"$${formula[1]}$$", id=f"formula-{len(cells)}"))
            elif private and any(private.search(text) or _COLUMN_OF_PATIENTS.search(text) for text in texts):
                cell.outputs.append(nbformat.v4.new_output("display_data", {"text/markdown": LEFT_OUT}))
            elif not _ASIDES.match(texts[0]) or len(output.get("data", {})) > 1:
                cell.outputs.append(output)
    shown = nbformat.v4.new_notebook(cells=_folded(cells), metadata={"language_info": {"name": "python"}})
    picture = next((cell.outputs[0].data.get("image/png") for cell in cells if cell.get("id") in figures), None)
    chapter = {"name": path.stem, "notebook": shown, "figures": figures, "title": title[1] if title else path.stem}
    chapter["picture"] = b64decode(picture) if picture else None
    return chapter | {"question": " ".join(question[1].split()) if question else ""}


def _folded(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells, those from the imports to the first heading after the parameters folded away as one.

    Headings among them become bold lines: a fold cannot span sections.
    """
    first = next((i for i, cell in enumerate(cells) if cell.cell_type == "code"), len(cells))
    headed = [i for i, cell in enumerate(cells) if i > first and re.match(r"#+ ", cell.source)]
    if not headed or not cells[headed[0]].source.startswith("## Parameters"):
        return cells
    last = headed[1] if len(headed) > 1 else len(cells)
    if any(cell.cell_type == "code" and cell.outputs for cell in cells[first:last]):
        return cells
    for cell in cells[first:last]:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"^#+ (.+)$", r"**\1**", cell.source, flags=re.MULTILINE)
    start = _raw('<details class="opening"><summary>Imports and parameters</summary>')
    return [*cells[:first], start, *cells[first:last], _raw("</details>"), *cells[last:]]


def _figure(output: NotebookNode, kind: str, heading: str, used: set[str], *, new: bool) -> tuple[str, NotebookNode]:
    """Label of a picture and a cell of its own for it, with the caption that it came with as alternative text too."""
    said = output.get("metadata", {}).get(kind, {})
    caption = said.get("alt") or f"{heading.rstrip('.')}."
    stem = f"fig-{'new-' if new else ''}{said.get('figure', 'plot').replace('_', '-').lower()}"
    label = next(name for name in chain([stem], (f"{stem}-{k}" for k in count(2))) if name not in used)
    image = {"alt": caption} | ({"width": f"{SCREEN_PER_PRINT * said['width']:.0f}px"} if "width" in said else {})
    figure = {"name": label, "caption": f"New patients. {caption}" if new else caption}
    shown = nbformat.v4.new_output("display_data", {kind: output.data[kind]})
    cell = nbformat.v4.new_code_cell("# a cell without code is not shown", outputs=[shown], id=label)
    cell.metadata.update(tags=["remove-input"], mystnb={"figure": figure, "image": image})
    return label, nbformat.from_dict(cell)


def read_risk_models(run: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the risk page needs: of each model its numbers as stored, and the fields that the models share.

    Returns
    -------
    models : list of dict
        ``name``, shrunk ``intercept`` and ``terms`` (``predictor``, ``level``, ``curve``, ``coefficient`` of each coded
        column; ``curve`` is null or has the ``form``, log, spline or bend, and its ``knots``),
        ``covariance`` of the unshrunk coefficients, ``threshold``, and the ``nomogram`` or None.
    fields : list of dict
        ``name``, ``label``, ``unit``; of a choice its ``options``; of a number its limits in the manifest (``low``,
        ``high``), whether it is ``whole``, and the slider's ends, start and step as printed.
    """
    models: list[dict[str, Any]] = []
    fields: dict[str, dict[str, Any]] = {}
    for name, imputation in IMPUTATIONS.items():
        if not (run / f"{name}_model.json").is_file():
            continue
        content, imputed, terms = read_json(run / f"{name}_model.json"), read_json(run / imputation), []
        logistic = content["logistic"]
        for column, value in logistic["coefficients"].items():
            bent, curves = column.endswith("'"), logistic.get("curves", {})
            form, source = split_term(column.rstrip("'"))
            predictor, _, level = source.partition("[")  # location[thalamus], male, gcs
            curve = {"form": "bend" if bent else form, "knots": curves[column.rstrip("'")]} if form else None
            terms.append({"predictor": predictor, "level": level.rstrip("]"), "curve": curve, "coefficient": value})
        fields = {term["predictor"]: _field(term["predictor"], imputed) for term in terms} | fields
        if "dl_score" in fields:
            fields["dl_score"] |= _spread_of_score(run)
        stored = {key: logistic[key] for key in ("intercept", "covariance")} | {"threshold": content["threshold"]}
        models.append({"name": name, "terms": terms, **stored, "nomogram": content.get("nomogram")})
    return models, list(fields.values())


def _spread_of_score(run: Path) -> dict[str, Any]:
    """How far apart the networks read one scan, on average (SD), and how many they are; nothing where one is known."""
    path = run / "image_model.json"
    content = read_json(path) if path.is_file() else {}
    networks, spread = len(content.get("scales") or ()), content.get("between_network_sd")
    return {"spread": spread, "networks": networks} if spread and networks > 1 else {}


def _average_risk(results: Mapping[str, Any]) -> float | None:
    """The share of the development patients who expanded; None where it is not known."""
    n = results.get("n") or {}
    return n["he_development"] / n["development"] if n.get("he_development") and n.get("development") else None


def _field(predictor: str, imputation: Mapping[str, Any]) -> dict[str, Any]:
    column, label = COLUMNS.get(predictor), predictor_label(predictor)
    levels, knots = imputation["levels"].get(predictor), imputation["knots"].get(predictor)
    field: dict[str, Any] = {"name": predictor, "label": label, "unit": column.unit if column else "", "options": {}}
    if predictor == "male":
        return field | {"label": "Sex", "options": {"0": "female", "1": "male"}}
    if levels:
        return field | {"options": {level: level.replace("_", " ") for level in levels}}
    if predictor == "dl_score":
        field["unit"] = "SD"
    elif knots is None:
        return field | {"options": {"0": "no", "1": "yes"}}
    observed, whole = knots["values"] if knots else STANDARDIZED, column is not None and column.kind == "integer"
    low, start, high = observed[0], observed[len(observed) // 2], observed[-1]
    # The slider's ends, start and step as printed: a power of ten that makes at least some fifty steps.
    decimals = 0 if whole else max(0, -math.floor(math.log10(max(high - low, 1e-6) / 50)))
    step = 10.0**-decimals
    ends = math.floor(round(low / step, 6)) * step, start, math.ceil(round(high / step, 6)) * step
    printed = [f"{round(value, decimals) + 0.0:.{decimals}f}" for value in ends]  # 0.0, not -0.0
    limits = {"low": column.low if column else None, "high": column.high if column else None, "whole": whole}
    slider = dict(zip(("least", "start", "most"), printed, strict=True)) | {"step": f"{step:g}"}
    return field | limits | slider | {"observed": [low, high]}
