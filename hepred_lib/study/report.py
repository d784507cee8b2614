"""The report of a finished study: two cards, three checklists and one page, filled in from the study's own files.

The words are in ``templates/``: the model card, the data card and the page of a checklist as Jinja2 templates, one YAML
file for each of `CHECKLISTS`, which holds its items with their answers, and ``summary.yaml`` for the one page that is
written as HTML and PDF. Nothing is computed anew or fitted. An
answer stands only while every value and every file that it names is there; otherwise the item says which one is
missing. In a template

* ``{{ results.n.test }}`` is a value of a JSON file (see `_environment`); missing or null, it is :class:`AbsentError`,
* ``file("imputation.json")`` is the name of a file of the run, ``section(page, heading)`` that of a page with this
  section, ``table("cohort.csv", "age")`` a table in which these columns have values; where not, the same error.

Text from a study's files (names of sites, columns, manifests) is escaped and never read as Markdown.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from types import CodeType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, Template, TemplateSyntaxError, UndefinedError

from hepred_lib.cohort.expansion import DEFINITIONS
from hepred_lib.cohort.predictors import predictor_frame, predictor_terms
from hepred_lib.cohort.rules import COLUMNS, count_of
from hepred_lib.errors import StudyError
from hepred_lib.figures.style import typeset
from hepred_lib.literal import for_markdown, shortened
from hepred_lib.stats.baseline import baseline_table
from hepred_lib.stats.diagnostics import candidate_parameters
from hepred_lib.stats.evaluation import calibration_reading
from hepred_lib.stats.sample_size import cox_snell_r2_from_auc, external_minimum, riley_minimum
from hepred_lib.study import tables
from hepred_lib.study.definition import NOTEBOOKS
from hepred_lib.study.files import (
    NPZ_FAULTS,
    damaged,
    file_sha256,
    read_bytes,
    read_json,
    read_results,
    read_table,
    templates,
    write_bytes,
    write_table,
)
from hepred_lib.study.one_page import OnePage, Part, pdf, printed, read_picture
from hepred_lib.study.printing import print_tables
from hepred_lib.study.run import are_simulated, blaming_damage
from hepred_lib.study.summary import MODELS
from ich_phantom import growth, patients

TEMPLATES = Path(__file__).with_name("templates")
ANSWERED, PARTLY = "answered", "partly"
NOT_ANSWERED, NOT_APPLICABLE = "not answered by this study", "not applicable"
STATUSES = (ANSWERED, PARTLY, NOT_ANSWERED, NOT_APPLICABLE)
NO_INFORMATION = "no information"  # where an item asks for a verdict, and a fact behind it is not there
CHECKLISTS = ("probast_ai", "claim_2024", "tripod_ai")
SUMMARY = ("summary.html", "summary.pdf")  # the last file is `running.REPORTED`
MOST_WARNINGS = 5  # on one page
# What `calibration_reading` says where nothing is wrong.
CALIBRATED = calibration_reading({"calibration_slope_ci": [1.0, 1.0], "calibration_in_the_large_ci": [0.0, 0.0]})
KINDS = {"notebooks": "notebook", "records": "record", "figures": "figure", "tables": "table"}
# Columns that describe no patient, and volumes that are empty where there is nothing to measure.
NO_CHARACTERISTIC = (
    *("patient_id", "split", "fold", "site", "external_score", "dl_score", "has_hemorrhage"),
    *("outside_window", "outcome_weight", "baseline_ivh_ml", "followup_ivh_ml"),
)
_COMPILED: dict[str, CodeType] = {}
ROW_PER_PATIENT = ("cohort.csv", "excluded.csv", "quality.csv", "external.json")


class AbsentError(StudyError):
    """A file or a value that the study does not hold; the message names it."""


class Literal(str):
    """Markdown of our own, which a template prints as it is; any other text is escaped."""

    __slots__ = ()


class Known(Mapping):
    """A JSON object of the run; a key that is missing or null raises :class:`AbsentError`."""

    def __init__(self, name: str, plain: Callable[[], Mapping[str, Any]], prefix: str = "") -> None:
        self._name, self._prefix = name, prefix
        self.plain = plain  # gives the object as it is in the file, nulls included

    def __getitem__(self, key: str) -> Any:
        value = self.plain().get(key)
        if value is None:
            raise AbsentError(f"{self._name} has no value for {self._prefix}{key}")
        return self._wrapped(value, f"{self._prefix}{key}.")

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain())

    def __len__(self) -> int:
        return len(self.plain())

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default where it is missing or null."""
        return default if self.plain().get(key) is None else self[key]

    def _wrapped(self, value: Any, prefix: str) -> Any:
        if isinstance(value, list):
            return [self._wrapped(item, prefix) for item in value]
        return Known(self._name, lambda: value, prefix) if isinstance(value, dict) else value


class Files:
    """The files of one finished study, and in ``read`` the names of those that were read.

    Parameters
    ----------
    folder : Path
        The run's folder.
    out : Path, optional
        Where ``report/`` is, if not in the run.

    Raises
    ------
    StudyError
        The study is not finished.
    """

    def __init__(self, folder: Path, out: Path | None = None) -> None:
        self.folder, self.out = Path(folder), Path(out or folder)
        results = self.folder / "results.json"
        if not results.is_file():
            raise StudyError(f"RUN must be the folder of a finished study, but {results} is not there.")
        self.read: dict[str, None] = {}
        self._contents: dict[str, dict[str, Any]] = {}
        self.results = self.json("results.json")

    def has(self, pattern: str) -> bool:
        """Whether there is such a file; it does not count as read."""
        return any(self.folder.glob(pattern))

    def file(self, pattern: str) -> str:
        """Name, relative to the run, of the first file that fits; it counts as read."""
        root = self._root(pattern)
        found = sorted(root.glob(pattern))
        if not found:
            raise AbsentError(f"{pattern} is not there")
        name = found[0].relative_to(root).as_posix()
        self.read[name] = None
        return name

    def section(self, pattern: str, heading: str) -> str:
        """Name of a page or notebook that has a section of this heading."""
        name = self.file(pattern)
        if f"## {heading}" not in (self._root(name) / name).read_text(encoding="utf-8"):
            raise AbsentError(f"{name} has no section '{heading}'")
        return name

    def _root(self, name: str) -> Path:
        """The folder of a file: pages of the report may be elsewhere than the run."""
        return self.out if name.startswith("report/") else self.folder

    def table(self, name: str, *columns: str, empty: bool = False) -> pd.DataFrame:
        """A table in which none of the columns is empty; with rows, unless it may be ``empty``."""
        table = read_table(self.folder / self.file(name))
        lacking = [column for column in columns if column not in table or table[column].isna().all()]
        if lacking or (table.empty and not empty):
            raise AbsentError(f"{name} has no {', '.join(lacking) or 'row'}")
        return table

    def table_if_any(self, name: str, *columns: str) -> pd.DataFrame | None:
        """As `table`; None where that would raise."""
        try:
            return self.table(name, *columns)
        except AbsentError:
            return None

    def json(self, pattern: str) -> Known:
        """A JSON file, read when a value is asked for."""

        def load() -> dict[str, Any]:
            name = self.file(pattern)
            if name not in self._contents:
                read = read_results if name in ("results.json", "external.json") else read_json
                self._contents[name] = read(self.folder / name)
            return self._contents[name]

        return Known(pattern, load)

    def record(self, notebook: str) -> Known:
        """What a notebook recorded (``parameters``, ``results``); of the first fold where there are several."""
        return self.json(f"records/{notebook}*.json")

    @property
    def truth(self) -> str:
        """The file of the simulation's own probabilities, empty where the study names none."""
        return str(self.record("01_cohort")["parameters"]["truth"])

    @property
    def simulated(self) -> bool:
        """Whether the patients are simulated: see :func:`hepred_lib.study.run.are_simulated`."""
        return are_simulated(self.table("cohort.csv")["patient_id"], self.truth)

    @property
    def models(self) -> list[str]:
        """The models that the study developed, in the book's order."""
        return [name for name in MODELS if self.results["models"].get(name)]

    @property
    def comparisons(self) -> list[Known]:
        """The pairs of models that could be tested."""
        return [pair for pair in self.results["comparisons"] if pair.get("p") is not None]


def write_report(run_folder: Path, out: Path | None = None) -> list[Path]:
    """Write ``report/``, the checklists' CSV and the printed tables of a finished study; what is the same stays.

    Parameters
    ----------
    run_folder : Path
        Such as ``runs/demo``.
    out : Path, optional
        Write there instead of into the run, which is then only read.

    Returns
    -------
    list of Path
        ``report/model_card.md`` and ``data_card.md``; of each checklist ``report/NAME.md`` and ``tables/NAME.csv``;
        what :func:`hepred_lib.study.printing.print_tables` writes; ``report/summary.html`` and ``summary.pdf``.

    Raises
    ------
    StudyError
        The study is not finished, or its files are damaged.
    """
    with blaming_damage(Path(run_folder)):
        files = Files(run_folder, out)
        written = [files.out / "report" / f"{name}.md" for name in ("model_card", "data_card")]
        # The cards first: they are among the files that the checklists refer to.
        for path in written:
            write_bytes(path, page(files, path.stem).encode())
        for name in CHECKLISTS:
            items = checklist(files, name)
            shown, kept = files.out / "report" / f"{name}.md", files.out / "tables" / f"{name}.csv"
            write_bytes(shown, page(files, "checklist", **_yaml(name) | {"items": items}).encode())
            write_table(kept, items)
            written += [shown, kept]
        return [*written, *print_tables(files.folder, out), *_write_summary(files)]


def _write_summary(files: Files) -> list[Path]:
    """The one page for whoever supervises the study, for a browser and for paper."""
    shown, shown_on_paper = (files.out / "report" / name for name in SUMMARY)
    words, pictures, inlined = _yaml("summary"), [], {}
    for name, what in words["pictures"].items():
        path = files.folder / files.file(f"figures/{name}.png")
        content = read_bytes(path)
        try:
            pictures.append(read_picture(content))
        except NPZ_FAULTS as error:
            raise StudyError(damaged(path, error)) from error
        height, width, _ = pictures[-1].shape
        inlined[what] = {"share": width / height, "png": base64.b64encode(content).decode()}
    one = summary(files, words, pictures)
    page = templates(TEMPLATES, autoescape=True).get_template("summary.html.j2").render(page=one, pictures=inlined)
    write_bytes(shown, page.encode())
    write_bytes(shown_on_paper, pdf(one))
    return [shown, shown_on_paper]


def summary(files: Files, words: Mapping[str, Any], pictures: Sequence[np.ndarray]) -> OnePage:
    """The words and numbers of the one page, as ``summary.yaml`` puts them.

    A part that needs what the study does not have says what is missing; of the warnings the first five that the
    study's facts call for are kept.

    Parameters
    ----------
    files : Files
        The study.
    words : mapping
        The content of ``summary.yaml``.
    pictures : sequence of ndarray
        As :func:`hepred_lib.study.one_page.read_picture` gives them.
    """
    environment = _environment(files).overlay(finalize=_given)
    environment.filters["interval"] = lambda *numbers: typeset(tables.with_interval(*numbers))

    def said(text: str) -> str:
        try:
            return printed(_filled(environment.from_string(text)))
        except AbsentError as reason:
            return printed(f"Not known: {reason}.")

    parts: dict[str, Any] = {
        name: Part(said(words[name]["heading"]), said(words[name]["text"]))
        for name in ("question", "patients", "models", "external", "verdict")
    }
    table = tables.performance_table({name: files.results["models"][name].plain() for name in files.models})
    rows = table[["model", "auc", "sensitivity", "specificity", "calibration_slope"]].map(typeset)
    rows["model"] = rows["model"].str.capitalize()
    warnings = [sentence for sentence in map(said, words["warnings"]) if sentence]
    return OnePage(
        title=said(words["title"]),
        simulated=said(words["simulated"]),
        table=[words["models"]["columns"], *rows.to_numpy().tolist()],
        pictures=pictures,
        cautions=Part(words["cautions"], words["no_caution"]),
        warnings=warnings[:MOST_WARNINGS],
        foot=said(words["foot"]),
        **parts,
    )


def page(files: Files, name: str, **more: Any) -> str:
    """One of the pages as Markdown.

    Raises
    ------
    StudyError
        A value or a file that the page needs is missing.
    """
    try:
        return _filled(_environment(files).get_template(f"{name}.md.j2"), **more)
    except AbsentError as reason:
        raise StudyError(damaged(files.folder, reason)) from reason


def checklist(files: Files, name: str) -> pd.DataFrame:
    """One row per item of a checklist.

    Parameters
    ----------
    files : Files
        The study.
    name : str
        One of `CHECKLISTS`.

    Returns
    -------
    DataFrame
        ``item, section, heading, concerns, asks, status, answer, where``; ``where`` names files of the run, separated
        by blanks.
    """
    environment, rows = _environment(files), []
    for item in _items(name):
        known = {"item": item["id"], **{key: item[key] for key in ("section", "heading", "concerns", "asks")}}
        try:
            rows.append({**known, **_answer(item, files, environment)})
        except TemplateSyntaxError as error:
            raise StudyError(f"{name}.yaml, item {item['id']}: {error.message}.") from error
    return pd.DataFrame(rows)


def _items(name: str) -> list[dict[str, Any]]:
    """The items of a checklist; one that is ``like`` items of TRIPOD+AI says what these say, and then its own."""
    content = _yaml(name)
    others = {} if name == "tripod_ai" else {item["id"]: item for item in _yaml("tripod_ai")["items"]}
    for item in content["items"]:
        alike = [others[number] for number in item.get("like", ())]
        item["answers"] = [one for other in alike for one in other.get("answers", ())] + item.get("answers", [])
        for key in ("left_open", "not_applicable"):
            item.setdefault(key, " ".join(other.get(key, "") for other in alike))
    return content["items"]


def _answer(item: Mapping[str, Any], files: Files, environment: Environment) -> dict[str, Any]:
    """Status, words and files of a sub-item: of its answers those whose values and files are all there."""

    def words(text: str, where: Sequence[str] = ()) -> tuple[str, list[str]]:
        """A sentence and its files: those that a reader is shown, then those that it was written from."""
        files.read = {}
        try:
            sentence = " ".join(_filled(_template(environment, text)).split())
            # A part that this study does not have is shown by no file.
            shown = [files.file(pattern) for pattern in where if sentence]
        except AbsentError as reason:
            missing[f"Not answered: {for_markdown(str(reason))}."] = None
            return "", []
        return sentence, [*shown, *files.read]

    missing: dict[str, None] = {}
    spared, _ = words(item.get("not_applicable", ""))
    if spared:
        return {"status": NOT_APPLICABLE, "answer": spared, "where": ""}
    answers = [words(answer["text"], answer.get("where", ())) for answer in item.get("answers", ())]
    (left_open, _), (verdict, _) = words(item.get("left_open", "")), words(item.get("verdict", ""))
    said, left = [sentence for sentence, _ in answers if sentence], [text for text in (left_open, *missing) if text]
    status = NOT_ANSWERED if not said else PARTLY if left else ANSWERED
    if "verdict" in item:
        status = verdict if verdict and said and not missing else NO_INFORMATION
    where = dict.fromkeys(name for sentence, names in answers if sentence for name in names)
    return {"status": status, "answer": " ".join([*said, *left]), "where": " ".join(where)}


def _template(environment: Environment, text: str) -> Template:
    """As ``environment.from_string``, but compiled once: the environments of studies differ in values only."""
    if text not in _COMPILED:
        _COMPILED[text] = environment.compile(text)
    return Template.from_code(environment, _COMPILED[text], environment.make_globals(None))


def _filled(template: Template, **more: Any) -> str:
    try:
        return template.render(more)
    except (UndefinedError, KeyError, NameError) as error:  # of Jinja, and of pandas where a table lacks a column
        raise AbsentError(str(error)) from error


def _yaml(name: str) -> dict[str, Any]:
    return yaml.load((TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def _environment(files: Files) -> Environment:
    """What a template can name."""
    environment = templates(TEMPLATES, finalize=_shown, extensions=["jinja2.ext.do"], keep_trailing_newline=True)
    environment.filters |= {name: getattr(tables, name) for name in ("p_value", "two_digits", "percent", "quartiles")}
    environment.filters |= {"interval": tables.with_interval, "shortened": shortened, "exp": math.exp}
    environment.filters |= {"link": link, "links": _links, "cell": _cell, "as_table": as_table}
    jsons = ("results", "external", "paper", "provenance", "image_model", "clinical_model", "integrated_model")
    environment.globals |= {
        "run": files,
        **{name: files.json(f"{name}.json") for name in jsons},
        "model": lambda name: files.json(f"{name}_model.json"),
        **{name: getattr(files, name) for name in ("file", "section", "table", "table_if_any", "record", "has")},
        **{"require": _require, "counted": count_of, "characteristics": characteristics},
        "printed": lambda model: tables.performance_table({"": model.plain()}).iloc[0],
        **{make.__name__: partial(make, files) for make in (performance, needed_patients)},
        **{"columns": COLUMNS, "definitions": DEFINITIONS, "notebooks": NOTEBOOKS, "statuses": STATUSES},
        **{"phantom": SimpleNamespace(growth=growth, patients=patients), "published": _yaml("published")},
        "judged": _judged(files.results),
        "reading": lambda model: calibration_reading(model.plain()),
        **{"by_reading": by_reading, "listed": tables.listed, "calibrated": CALIBRATED},
        "sha256": lambda name: file_sha256(files.folder / name),
        "size": lambda name: (files.folder / name).stat().st_size,
    }
    return environment


def _judged(results: Mapping[str, Any]) -> SimpleNamespace:
    """The patients that the models are judged on: how many, with how many events, in words."""
    kind, n = results.get("judged") or "test", results.get("n") or {}
    words = {"test": "test patients", "development": "development patients, cross-fitted"}[kind]
    return SimpleNamespace(n=n.get(kind), events=n.get(f"he_{kind}"), words=words, kind=kind)


def _shown(value: Any) -> str:
    """A value as a template prints it: text of the study is escaped, and nothing that is not there is printed."""
    if isinstance(value, Literal):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise AbsentError("a value that the sentence needs is missing")
    return for_markdown(str(value))


def _given(value: Any) -> Any:
    """A value as the one page takes it: text stays as it is, and nothing that is not there is printed."""
    _shown(value)
    return value


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AbsentError(otherwise)


def link(name: str) -> Literal:
    """A link from ``report/`` to a file of the run, in words: "notebook 01", "figure roc", "table performance".

    A notebook's record is only named, as its notebook is linked. So are weights, and files with a row per patient: a
    published page must not carry them along.
    """
    path = PurePosixPath(name)
    kind = KINDS.get(path.parts[0], "")
    if kind in ("notebook", "record"):
        number, _, fold = path.stem.partition("_fold")
        label = f"{kind} {number[:2]}" + (f" (fold {fold})" if fold else "")
    else:
        label = f"{kind} {path.stem.replace('_', ' ') if len(path.parts) > 1 else path.name}".strip()
    if kind == "record":
        return Literal(label)
    if path.suffix == ".safetensors" or path.name in ROW_PER_PATIENT:
        return Literal(f"`{path}`")
    return Literal(f"[{label}]({path.name if path.parts[0] == 'report' else f'../{path}'})")


def _links(names: str) -> Literal:
    return Literal(", ".join(map(link, names.split())))


def _cell(markdown: str) -> Literal:
    """Markdown of our own inside a table: a bar opens no column. Text of the study has its bars escaped already."""
    return Literal(re.sub(r"(?<!\\)\|", r"\|", markdown))


def as_table(rows: pd.DataFrame) -> Literal:
    """A table as Markdown."""
    lines = [list(rows.columns), [Literal("---")] * rows.shape[1], *rows.astype(object).to_numpy().tolist()]
    return Literal("\n".join(f"| {' | '.join(map(_shown, line))} |" for line in lines))


def performance(files: Files, judged: Known, oracle: Known | None = None) -> pd.DataFrame:
    """The table of the models' performance as printed, with the best achievable AUC where the truth is known."""
    shown = tables.performance_table({name: judged[name].plain() for name in files.models if judged.get(name)})
    if oracle:
        best = [oracle.get(f"{name}_auc") for name in shown["model"]]
        shown["best achievable AUC"] = ["-" if auc is None else tables.two_digits(auc) for auc in best]
    return shown.rename(columns={"auc": "AUC", "calibration_slope": "slope"})


def needed_patients(files: Files) -> SimpleNamespace:
    """Patients that Riley's criteria require of a next study, to develop and to evaluate, at this one's share of HE."""
    n = files.results["n"]
    share = (n["he_development"] + n["he_test"]) / n["patients"]
    _require(0 < share < 1, "results.json has no patients of both outcomes")
    candidates, cohort = files.json("clinical_model.json")["candidates"], files.table("cohort.csv", "split", "he")
    x = predictor_frame(cohort[cohort["split"].eq("development") & cohort["he"].notna()], candidates)
    # Of a place a level less one, of a spline two.
    parameters = candidate_parameters(x, predictor_terms(candidates))
    auc = files.record("01_cohort")["parameters"]["expected_auc"]
    development = riley_minimum(parameters, share, cox_snell_r2_from_auc(auc, share)).n
    test = external_minimum(share, auc).n
    return SimpleNamespace(development=development, test=test, parameters=parameters, auc=auc)


def by_reading(judged: Known) -> dict[str, list[str]]:
    """What the intervals of calibration say, each with the models of which they say it."""
    found: dict[str, list[str]] = {}
    for name in MODELS:
        if judged.get(name):
            found.setdefault(calibration_reading(judged[name].plain()), []).append(name)
    return found


def characteristics(cohort: pd.DataFrame) -> pd.DataFrame:
    """Each variable of the patients with an outcome, all of them and by partition, and its missing values.

    Columns of free text are left out: a remark about one patient belongs on no card.
    """
    known = cohort[cohort["he"].notna()]
    frame, labels = pd.DataFrame(index=known.index), {}
    for name, values in known.items():
        numeric, rule = pd.api.types.is_numeric_dtype(values), COLUMNS.get(name)
        coded = rule is not None and rule.kind == "code"
        if name not in NO_CHARACTERISTIC and values.notna().any() and (numeric or coded):
            frame[name] = values if numeric else values.astype("category")
            labels[name] = f"{name} ({rule.unit})" if rule is not None and rule.unit not in ("", "0/1") else name
    sets = {name.capitalize(): known["split"].eq(name) for name in ("development", "test")}
    table = baseline_table(frame, {"All": known["he"].notna()} | sets, labels=labels)
    lacking = pd.to_numeric(table.pop("Known")).rsub(len(known))
    words = ["" if n != n else f"{n:.0f} ({tables.percent(n / len(known))})" for n in lacking]
    table.insert(1, "Missing", words)
    return table
