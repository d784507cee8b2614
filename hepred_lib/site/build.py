"""From the folder of a finished study to a folder of pages that need neither server nor network."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

import nbformat

from hepred_lib.site.chapters import Chapter, read_chapters
from hepred_lib.site.front import figures_page, front_page, is_simulated
from hepred_lib.site.risk import points_html, read_risk_models, risk_html
from hepred_lib.study import PROJECT, StudyError
from hepred_lib.study.model_files import read_results

DOCS = PROJECT / "docs"
GLOSSARY, REFERENCES = "glossary.md", "references.bib"


def build_site(run: Path, out: Path | None = None, *, patients: bool = False) -> Path:
    """Build the site of a finished study.

    Parameters
    ----------
    run : Path
        Its folder: ``notebooks/``, ``results.json``, ``figures/`` and ``*_model.json`` are read, ``report/*.md`` where
        there is one. Nothing is run again.
    out : Path, optional
        Folder of the pages, replaced as a whole; by default ``site/`` in the run.
    patients : bool
        Publish tables of single patients too.

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
    _require(run, out)
    with tempfile.TemporaryDirectory(prefix="hepred-site-") as folder:
        source, pages = Path(folder) / "source", Path(folder) / "pages"
        write_source(run, source, patients=patients)
        _render(source, pages)
        _replace(out, pages)
    return out / "index.html"


def write_source(run: Path, source: Path, *, patients: bool = False) -> None:
    """Write what Sphinx reads: settings, front page, chapters, figures, risk page, report."""
    shutil.copytree(DOCS / "_static", source / "_static")
    shutil.copy(DOCS / "conf.py", source)
    results, chapters = read_results(run / "results.json"), read_chapters(run, patients=patients)
    for chapter in chapters:
        _write_chapter(chapter, source)
    (source / "figures.md").write_text(figures_page(chapters), encoding="utf-8")
    (source / "risk.md").write_text(_risk_page(run, results), encoding="utf-8")
    parts = {
        "The book": [chapter.name for chapter in chapters],
        "Beside it": ["risk", "figures"],
        "Reporting": _copy_reporting(run, source, chapters),
    }
    template = (DOCS / "index.md").read_text(encoding="utf-8")
    (source / "index.md").write_text(front_page(template, results, chapters, parts), encoding="utf-8")


def _require(run: Path, out: Path) -> None:
    for path in (run / "results.json", run / "notebooks", run / "clinical_model.json"):
        if not path.exists():
            raise StudyError(f"RUN must be the folder of a finished study, but {path} is not there.")
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / "searchindex.js").is_file())):
        raise StudyError(f"--out must be a folder that is empty, a site, or not there yet; {out} holds something else.")
    for module in ("sphinx", "myst_nb", "sphinx_book_theme"):
        if importlib.util.find_spec(module) is None:
            raise StudyError(f"the site needs {module}: install the extra 'site' (pip install -e '.[site]').")


def _write_chapter(chapter: Chapter, source: Path) -> None:
    nbformat.write(chapter.notebook, source / f"{chapter.name}.ipynb")
    for picture in chapter.pictures:
        path = source / picture.file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture.png)


def _risk_page(run: Path, results: Mapping) -> str:
    template = (DOCS / "risk.md").read_text(encoding="utf-8")
    who = "simulated patients" if is_simulated(results) else f"the patients of the study {results['study']}"
    models, fields = read_risk_models(run)
    return Template(template).substitute(who=who, page=risk_html(models, fields), points=points_html(models, fields))


def _copy_reporting(run: Path, source: Path, chapters: Sequence[Chapter]) -> list[str]:
    """Copy the study's reports, the glossary and the references where there are any; returns their document names.

    A report's links into the run lead to chapters and figures; other files are named only, since the site has none.
    """
    known = {f"notebooks/{chapter.name}.ipynb": f"../{chapter.name}.ipynb" for chapter in chapters}
    known |= {picture.file: f"#{picture.label}" for chapter in chapters for picture in chapter.pictures}

    def led(found: re.Match) -> str:
        return f"[{found[1]}]({known[found[2]]})" if found[2] in known else found[1]

    documents = []
    for path in sorted((run / "report").glob("*.md")):
        (source / "report").mkdir(exist_ok=True)
        page = re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", led, path.read_text(encoding="utf-8"))
        (source / "report" / path.name).write_text(page, encoding="utf-8")
        documents.append(f"report/{path.stem}")
    if (DOCS / GLOSSARY).is_file():
        shutil.copy(DOCS / GLOSSARY, source)
        documents.append("glossary")
    if (DOCS / REFERENCES).is_file():
        shutil.copy(DOCS / REFERENCES, source)
        page = f"# References\n\n```{{bibliography}} {REFERENCES}\n:all:\n```\n"
        (source / "references.md").write_text(page, encoding="utf-8")
        documents.append("references")
    return documents


def _render(source: Path, pages: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        "-d",
        str(source.parent / "read"),
    ]
    # Read by Sphinx: pages do not change with the day on which they are built.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0"}
    done = subprocess.run(
        [*command, str(source), str(pages)], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"the site cannot be built:\n{done.stderr.strip()}")
    # The theme's own building blocks, which no page uses.
    for leftover in [*pages.glob("_static/**/*webpack-macros.html"), *pages.glob("_static/**/*.map")]:
        leftover.unlink()


def _replace(out: Path, pages: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    shutil.move(pages, out)
