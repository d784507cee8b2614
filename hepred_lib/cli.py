"""The ``hepred`` command: parse, call, print.

Exit status: 0 done, 2 the input is at fault (one clear line on stderr), 1 a fault of ours.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from threadpoolctl import threadpool_limits

from hepred_lib import __version__
from hepred_lib.cards import held_cards
from hepred_lib.errors import InputError, StudyError
from hepred_lib.study.definition import TRAINING, load_study, study_parameters
from hepred_lib.study.files import read_results, read_table, write_bytes, write_table
from hepred_lib.study.resources import cards_of, training_gb
from hepred_lib.study.run import are_simulated, project_root, require_consistent, step_name, study_threads
from hepred_lib.study.running import (
    FAULT_FILE,
    OWNER,
    REPORTED,
    Interrupted,
    NotebookError,
    execute,
    explain,
    reasons_to_make,
    run_folder,
    run_study,
    step_at_work,
    study_steps,
    watch_owner,
)
from hepred_lib.study.sweep import take_over, variant_files
from ich_phantom.__main__ import simulate

if TYPE_CHECKING:
    from hepred_lib.intake.check import Checked

# A full or read-only disk, or a folder of others: nobody's code is at fault.
NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
NEW_PATIENTS = "08_new_patients"
NO_PLACE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)  # --out is, or leads through, a file; or a file is a folder

UsageError = typer.BadParameter.__base__  # of the command line: an option or argument that cannot be
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunFolder = Annotated[Path, typer.Argument(help="A finished study, such as runs/demo.", show_default=False)]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for what is written.", show_default=False)]
OtherFolder = Annotated[Path | None, typer.Option("--out", help="Write there, not into RUN.", show_default=False)]


@app.callback(invoke_without_command=True)
def hepred(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Predict hematoma expansion after intracerebral hemorrhage: a study book. For research, not for care."""
    if version:
        print(f"hepred {__version__}")
        raise typer.Exit


app.command()(simulate)


@app.command("import-dicom")
def import_dicom(
    source: Annotated[Path, typer.Argument(help="A folder of DICOM files, of any names.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder of the scans and the manifest.", show_default=False)],
    clinical: Annotated[
        Path | None, typer.Option(help="Table of manifest columns; dicom_patient_id is the PatientID.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="YAML that says which of its columns are which.")] = None,
    words: Annotated[Path | None, typer.Option(help="YAML of your hospital's words in descriptions.")] = None,
    deface: Annotated[bool, typer.Option("--deface", help="Remove the face from every scan.")] = False,
) -> None:
    """Make NIfTI scans and a checked manifest of DICOM series: each patient's first non-contrast head CT and follow-up.

    Only OUT/identifying/ says who the patients are; it must not leave the hospital.

    Example: hepred import-dicom export/ cohorts/mine --clinical bedside.csv --deface
    """
    from hepred_lib.intake.check import check_manifest
    from hepred_lib.intake.importing import import_dicom as make

    imported = make(source, out, clinical, mapping=mapping, words=words, without_face=deface)
    for note in imported.notes:
        print(note, file=sys.stderr)
    print(imported.summary)
    if not imported.with_baseline:
        raise typer.Exit(2)
    checked = check_manifest(imported.manifest, progress=True)
    print(*checked.lines, checked.verdict, sep="\n")
    if checked.refusals:
        raise typer.Exit(2)


@app.command()
def check(
    manifest: Annotated[Path | None, typer.Argument(help="The table of patients.", show_default=False)] = None,
    definition: Annotated[str, typer.Option(help="Definition of expansion.")] = "6ml_or_33pct",
    mapping: Annotated[Path | None, typer.Option(help="YAML: which column is which.", show_default=False)] = None,
    suggest_mapping: Annotated[
        Path | None, typer.Option(help="Write a first mapping, and stop.", show_default=False)
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write the mapped table, unless refused.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with pictures of the scans at fault.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
    cores: Annotated[int, typer.Option(min=1, help="Processes that read scans.")] = os.cpu_count() or 1,
    rules: Annotated[bool, typer.Option("--rules", help="Print the rule of every column and stop.")] = False,
) -> None:
    """Print every problem of a manifest, of its scans and masks, and of the cohort: one line each, refusals first.

    A refusal would give a wrong number or stop a study; a warning asks a person to look. Exit status: 0 without a
    refusal (warnings are printed and counted), 2 with one.

    Example: hepred check data_manifest.csv --html check.html
    """
    from hepred_lib.cohort.cells import read_cells
    from hepred_lib.cohort.expansion import DEFINITIONS
    from hepred_lib.cohort.rules import rules_table
    from hepred_lib.intake.check import check_manifest
    from hepred_lib.intake.spreadsheet import suggest_mapping as mapping_of
    from hepred_lib.intake.spreadsheet import write_manifest

    if rules:
        print(rules_table().to_string(index=False))
        return
    if manifest is None:
        raise StudyError("MANIFEST is required: the table of patients to check.")
    if suggest_mapping is not None:
        _write(suggest_mapping, mapping_of(read_cells(manifest)), manifest)
        print(f"{suggest_mapping}: confirm every line of it, then: hepred check {manifest} --mapping {suggest_mapping}")
        return
    if definition not in DEFINITIONS:
        raise StudyError(f"--definition must be one of {', '.join(DEFINITIONS)}, got {definition!r}.")
    checked = check_manifest(manifest, definition=definition, mapping=mapping, progress=True, cores=cores)
    if html is not None:
        from hepred_lib.intake.check_page import page

        _write(html, page(checked), manifest)
    _print_checked(checked, as_json=as_json)
    if write is not None:
        # A table that is refused is to be mended first.
        if not checked.refusals:
            write_manifest(checked.cells, write)
        what = f"was not written: {checked.file} is refused" if checked.refusals else "was written"
        print(f"{write} {what}.", file=sys.stderr)
    if checked.refusals:
        raise typer.Exit(2)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def run(
    context: typer.Context,
    study: Annotated[Path, typer.Argument(help="The study file.", show_default=False)],
    cores: Annotated[int | None, typer.Option(min=1, help="Cores to use at once; all if not given.")] = None,
    runs_dir: Annotated[str, typer.Option(help="Folder of the runs instead of runs/.")] = "",
    gpus: Annotated[int | None, typer.Option(min=0, help="Cards to share among the folds; all if not given.")] = None,
    profile: Annotated[str, typer.Option(help="A cluster's profile, such as profiles/slurm.")] = "",
    why: Annotated[bool, typer.Option("--explain", help="Say what would be made, and why; run nothing.")] = False,
) -> None:
    """Run a study: completed steps are skipped, changed ones made again. Arguments after -- go to the workflow engine.

    A file with the key `vary` describes several studies, which are run one after another.

    Example: hepred run studies/demo.yaml --cores 2 -- --dry-run
    """
    variants, failed = variant_files(study), dict[str, int]()
    for variant in variants:
        if why:
            _explain(variant, runs_dir, heading=len(variants) > 1)
            continue
        try:
            status = run_study(
                variant, cores=cores, gpus=gpus, runs_dir=runs_dir, profile=profile, engine_arguments=context.args
            )
            if not (status or context.args):
                _finish(variant, runs_dir)
        except StudyError as error:  # the other variants do not depend on this one
            if len(variants) == 1:
                raise
            print(f"hepred: {error}", file=sys.stderr)
            status = 2
        failed |= {variant.stem: status} if status else {}
    if len(variants) > 1 and not why:
        told = f"not finished: {', '.join(failed)}" if failed else f"all {len(variants)} studies are finished"
        print(f"{study.name}: {told}", file=sys.stderr)
    if failed:
        raise typer.Exit(max(failed.values()))


def _explain(study: Path, runs_dir: str, *, heading: bool) -> None:
    """Print what would be made of a study, and why."""
    described = load_study(study)
    if heading:
        print(f"# {described.name}")
    for step, reasons in explain(described, run_folder(described, runs_dir)).items():
        print(f"{step}: {'; '.join(reasons) or 'up to date'}")


def _finish(study: Path, runs_dir: str) -> None:
    """Print a finished study's summary, and write its report where it is missing."""
    results = run_folder(load_study(study), runs_dir) / "results.json"
    if results.exists():
        from hepred_lib.study.report import write_report

        print(summary(results))
        # After the graph, not in it: the report reads what every rule left, the executed notebooks included.
        if os.access(results.parent, os.W_OK) and not (results.parent / REPORTED).exists():
            write_report(results.parent)


@app.command()
def notebook(
    study: Annotated[Path, typer.Argument(help="The study file.", show_default=False)],
    name: Annotated[str, typer.Argument(help="The notebook, such as 05_clinical_to_he.", show_default=False)],
    fold: Annotated[int | None, typer.Option(help="Fold, for 03_multitask_training.")] = None,
    runs_dir: Annotated[str, typer.Option(help="Folder of the runs instead of runs/.")] = "",
    if_changed: Annotated[bool, typer.Option("--if-changed", help="Leave alone what would come out the same.")] = False,
) -> None:
    """Run one notebook of a study by papermill, with the study's parameters.

    Example: hepred notebook studies/demo.yaml 05_clinical_to_he
    """
    watch_owner()
    described = load_study(study)
    folder = run_folder(described, runs_dir)
    if name == TRAINING and fold not in range(described.folds):
        raise StudyError(f"{name} needs --fold 0 to {described.folds - 1}, got {'none' if fold is None else fold}.")
    parameters = study_parameters(described, name, fold, runs_dir=runs_dir)
    executed = step_name(name, fold)
    with step_at_work(folder, executed):
        if if_changed and not reasons_to_make(described, folder, name, fold):
            print(f"{executed} is up to date", file=sys.stderr, flush=True)
            return
        if if_changed and (other := take_over(described, folder, name, fold)):
            print(f"{executed} taken over from {other}, which made the same", file=sys.stderr, flush=True)
            return
        start, steps = time.perf_counter(), list(study_steps(described))
        place = f" ({steps.index(executed) + 1} of {len(steps)})" if executed in steps else ""
        print(f"{executed}{place} ...", file=sys.stderr, flush=True)
        output, threads = folder / "notebooks" / f"{executed}.ipynb", described.notebook_threads(name)
        try:
            cards = 0 if fold is None else cards_of(described)
            with held_cards(cards, need_gb=training_gb(described)):
                execute(name, parameters, output=output, root=described.root, threads=threads)
        except NotebookError as error:
            if error.input_at_fault:
                write_bytes(folder / FAULT_FILE, f"{error}\n".encode())
            raise
    print(f"{executed} done in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


@app.command()
def external(
    run: RunFolder,
    manifest: Annotated[Path, typer.Argument(help="The table of patients, one row each.", show_default=False)],
    out: OutFolder,
    update: Annotated[bool, typer.Option("--update", help="Also write models that the closed test updates.")] = False,
) -> None:
    """Apply a finished study, frozen, to a manifest of patients it has never seen; nothing is written into RUN.

    With --update, OUT/updated holds each model whose level or spread the closed test changes, for hepred predict.

    Example: hepred external runs/demo other_site/manifest.csv --out runs/other_site
    """
    _require_run(run)
    # Never among the files of a finished study, this one or another.
    for folder in (out.resolve(), *out.resolve().parents):
        if (folder / "results.json").is_file() and (folder / "clinical_model.json").is_file():
            raise StudyError(f"--out must be outside the folder of a finished study, but {out} is in {folder}.")
    folder = run.resolve()
    paths = {"runs_dir": folder.parent, "manifest": manifest.resolve(), "out": out.resolve()}
    parameters = {"study": folder.name, "update": update} | {name: str(path) for name, path in paths.items()}
    output, threads = out / f"{NEW_PATIENTS}.ipynb", study_threads(folder, NEW_PATIENTS)
    execute(NEW_PATIENTS, parameters, output=output, root=project_root(), threads=threads)
    from hepred_lib.study.printing import print_tables

    print_tables(out.resolve())
    print(f"{out / 'external.json'}")


@app.command()
def predict(
    run: RunFolder,
    ct: Annotated[Path, typer.Option(help="The head CT, NIfTI.", show_default=False)],
    out: OutFolder,
    clinical: Annotated[Path | None, typer.Option(help="One JSON object of manifest columns.")] = None,
    updated: Annotated[Path | None, typer.Option(help="OUT/updated of hepred external --update.")] = None,
) -> None:
    """One new patient through the frozen study: one JSON object on stdout, outlines and pictures in --out.

    Example: hepred predict runs/demo --ct scan.nii.gz --clinical patient.json --out prediction
    """
    _require_run(run)
    from hepred_lib.cohort.manifest import read_bedside
    from hepred_lib.study.deployment import load_frozen, predict_one

    frozen = load_frozen(run.resolve(), updated=updated)
    with threadpool_limits(study_threads(run, NEW_PATIENTS)):
        bedside = read_bedside(clinical, others=read_table(run / "cohort.csv").columns) if clinical else None
        answer = predict_one(frozen, ct, bedside, out=out)
    print(json.dumps(answer, indent=1))


@app.command()
def segment(
    scans: Annotated[list[Path], typer.Argument(help="Head CTs, NIfTI, or folders of them.", show_default=False)],
    out: OutFolder,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
) -> None:
    """Segment hemorrhage on scans with the network that comes trained (on simulated heads); no study is needed.

    Writes for each scan a segmentation, its volumes and markers, a picture and a page to scroll through its slices, and
    segmentation.csv for all.

    Example: hepred segment scan.nii.gz other.nii.gz --out segmented
    """
    from hepred_lib.multitask.device import pick_device
    from hepred_lib.study.segmenting import scans_in, segment_scans

    table = segment_scans(scans_in(scans), out, device=pick_device(device))
    unread = table[table["unread"].ne("")]
    for row in unread.itertuples():
        print(f"{row.file}: {row.unread}.", file=sys.stderr)
    print(f"{out / 'segmentation.csv'}: {len(table) - len(unread)} of {len(table)} scans segmented")
    if len(unread):
        raise typer.Exit(2)


@app.command()
def report(run: RunFolder, out: OtherFolder = None) -> None:
    """Write one page for supervisors, cards, checklists and the printed tables of a finished study from its own files.

    Example: hepred report runs/demo
    """
    _require_run(run)
    from hepred_lib.study.report import write_report

    for path in write_report(run, out):
        print(path)


@app.command()
def figures(
    run: RunFolder,
    out: OtherFolder = None,
    journal: Annotated[str, typer.Option(help="springer, nature or radiology: widths and size of text.")] = "",
    formats: Annotated[str, typer.Option("--format", help="Of pdf, svg, tiff and png, joined by commas.")] = "",
    only: Annotated[list[str] | None, typer.Option(help="A figure by its name; may be repeated.")] = None,
) -> None:
    """Draw every figure of a finished study again from its saved data, set every table again, and report anew.

    With --journal, --format or --only: artwork alone, in artwork/ of the run or in --out; the run stays as it is.

    Example: hepred figures runs/demo --journal nature --format pdf,tiff --only roc
    """
    _require_run(run)
    from hepred_lib.figures.style import JOURNALS, METADATA
    from hepred_lib.study.drawing import artwork, redraw
    from hepred_lib.study.report import write_report

    if journal or formats or only:
        asked = tuple(dict.fromkeys(formats.replace(" ", "").lower().split(","))) if formats else ("pdf", "png")
        if journal not in ("", *JOURNALS):
            raise StudyError(f"--journal must be one of {', '.join(JOURNALS)}, got {journal!r}.")
        if wrong := [word for word in asked if word not in METADATA]:
            raise StudyError(f"--format must name formats among {', '.join(METADATA)}, got {wrong[0]!r}.")
        folder = out or run / "artwork"
        print(*artwork(run, folder, journal=journal or "springer", formats=asked, only=only or ()), sep="\n")
        return

    target = None if out is None else out.resolve()
    for path in dict.fromkeys([*redraw(run.resolve(), target), *write_report(run.resolve(), target)]):
        print((out or run) / path.relative_to(target or run.resolve()))


@app.command()
def pool(
    runs: Annotated[list[Path], typer.Argument(help="Finished studies of one design.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="Write it there, with figures.", show_default=False)] = None,
) -> None:
    """Pool runs over seeds and sites: means, between-seed SD, random-effects summaries, paired differences, forests.

    A site is one manifest; seeds of a site share its patients and never count as independent studies.

    Example: hepred pool runs/a1 runs/a2 runs/b1 runs/b2 --out pooled
    """
    from hepred_lib.study import pooling

    for run in runs:
        _require_run(run)
        if out is not None and out.resolve().is_relative_to(run.resolve()):
            raise StudyError(f"--out must be outside the folder of a finished study, but {out} is in {run}.")
    opened = [pooling.open_run(run) for run in runs]
    pooling.require_poolable(opened)
    if out is None:
        print(pooling.pooled_page(opened, pooling.pool(opened)), end="")
    else:
        print(*pooling.write_pool(opened, out), sep="\n")


@app.command()
def compare(
    run_a: RunFolder,
    run_b: RunFolder,
    csv: Annotated[Path | None, typer.Option(help="Write the table there too.", show_default=False)] = None,
) -> None:
    """Print in what two runs differ (parameters, code, data) and every number of their results with its interval.

    Example: hepred compare runs/a1 runs/a2
    """
    from hepred_lib.study import pooling

    for run in (run_a, run_b):
        _require_run(run)
    one, other = pooling.open_run(run_a), pooling.open_run(run_b)
    table = pooling.compare(one, other)
    if csv is not None:
        write_table(csv, table)
    print(table.to_string(index=False, na_rep="-", float_format="{:.3g}".format, max_colwidth=60))
    if one.data[0] == other.data[0]:
        print("Both runs have the same patients: their intervals do not test a difference.")


@app.command()
def site(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the pages instead of RUN/site.", show_default=False)
    ] = None,
    patients: Annotated[bool, typer.Option("--patients", help="Publish rows of single patients too.")] = False,
    share: Annotated[
        bool, typer.Option("--share", help="Show cases of real patients too, everything outside the brain blanked.")
    ] = False,
    reference: Annotated[bool, typer.Option(help="Describe the library's functions too: takes longest.")] = True,
) -> None:
    """Build the executed book of a finished study as a static site, with a page that computes a risk and one of cases.

    Simulated cases are shown with their slices; real ones only with --share.

    Example: hepred site runs/demo
    """
    _require_run(run)
    from hepred_lib.study.site import build_site

    place = out.resolve() if out else None
    print(build_site(run.resolve(), place, patients=patients, share=share, reference=reference))


def summary(results: Path) -> str:
    """The models' table of a study, and where its figures are."""
    content = read_results(results)
    n, models, oracle = (content.get(key) or {} for key in ("n", "models", "oracle"))
    judged = content.get("judged") or "test"
    words = "test patients" if judged == "test" else "development patients (cross-fitted, none held out)"
    lines = [
        f"Study {content.get('study') or '-'}: {n.get(judged, '-')} {words}, {n.get(f'he_{judged}', '-')} with "
        "hematoma expansion.",
        f"{'model':<12}{'AUC (95 % CI)':<22}{'sensitivity':<13}{'specificity':<13}{'slope':<8}oracle AUC",
    ]
    for name in (name for name in ("image", "clinical", "integrated") if models.get(name)):
        model, figures = models[name], ("auc", "sensitivity", "specificity", "calibration_slope")
        auc, *rates = (_number(model.get(figure)) for figure in figures)
        limits = "-".join(map(_number, model.get("auc_ci") or (None,)))
        cells = (name, f"{auc} ({limits})", *rates, _number(oracle.get(f"{name}_auc")))
        lines.append("".join(cell.ljust(width) for cell, width in zip(cells, (12, 22, 13, 13, 8, 0), strict=True)))
    cohort = results.with_name("cohort.csv")
    if oracle or (cohort.is_file() and are_simulated(read_table(cohort)["patient_id"])):
        lines.append("Patients and scans are simulated: these figures say that the method works, nothing of care.")
    folders = ("figures", "tables", "report")
    return "\n".join([*lines, "   ".join(f"{name.capitalize()}: {results.parent / name}" for name in folders)])


def main() -> None:
    """Run the command and turn refusals into one line and an exit status."""
    _answer_signals()
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UsageError as error:
        if len(sys.argv) < 2:  # the help is its message
            error.show()
            sys.exit(error.exit_code)
        _leave(f"{error.format_message()} (see --help)", 2)
    except NotebookError as error:
        _leave(str(error), 2 if error.input_at_fault else 1)
    except InputError as error:
        _leave(str(error), 2)
    except OSError as error:
        told = f"cannot write {error.filename2 or error.filename or 'a file'}: {error.strerror}."
        if error.errno in NO_PLACE:
            _leave(told, 2)
        if error.errno not in NOT_WRITTEN:
            raise
        _leave(f"{told} Finished files are kept.", 1)
    except Interrupted:
        if OWNER in os.environ:  # whoever started this says it
            sys.exit(1)
        _leave("interrupted. What is finished is kept; the same command resumes.", 1)


def _answer_signals() -> None:
    """Let Ctrl-C and SIGTERM end the command in one sentence, and its worker processes without one."""
    owner = os.getpid()

    def interrupt(*_: object) -> None:
        if os.getpid() != owner:  # a forked worker
            os._exit(1)
        # Not a KeyboardInterrupt, which the command-line library would turn into a word of its own.
        raise Interrupted

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _print_checked(checked: Checked, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(checked.as_dict(), indent=1, ensure_ascii=False))
    else:
        for note in checked.notes:
            print(f"note: {note}.", file=sys.stderr)
        print(*checked.lines, checked.verdict, sep="\n")


def _write(path: Path, text: str, manifest: Path) -> None:
    """Write what a check made, but never over the table itself."""
    if path.resolve() == manifest.resolve():
        raise StudyError(f"what is written must be another file than the table, got {path}.")
    try:
        write_bytes(path, text.encode())
    except OSError as error:
        raise StudyError(f"{path} must be a file that can be written, got {error.strerror}.") from error


def _require_run(run: Path) -> None:
    """Refuse what is no finished study, and one whose files and records disagree."""
    if not (run / "results.json").is_file():
        raise StudyError(f"RUN must be the folder of a finished study, but {run / 'results.json'} is not there.")
    require_consistent(run.resolve())


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _leave(message: str, status: int) -> None:
    print(f"hepred: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
