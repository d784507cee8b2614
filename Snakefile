"""A study as a graph of notebook runs. Called by `hepred run`; reads everything from the study file.

Each rule runs one notebook by papermill. The executed notebook is no output of a rule, so that a failed run keeps it.
What a step is made from (code, parameters, manifest, scans and masks) is a rule parameter: a change of any reruns it,
whatever the time stamps.
"""

import os
import shlex
import sys

from hepred_lib.study.running import run_folder, wanted_identity
from hepred_lib.study.definition import load_study
from hepred_lib.study.run import FileDigests, outputs_of, short_digest

STUDY_FILE = config["study_file"]
RUNS_DIR = config["runs_dir"]
STUDY = load_study(STUDY_FILE)
RUN = run_folder(STUDY, RUNS_DIR)
DIGESTS = FileDigests(RUN)
FOLDS = range(STUDY.folds) if STUDY.image_source == "scans" else []
HEPRED = f"exec {shlex.quote(sys.executable)} -m hepred_lib.cli"


def at(path):
    """A path as the engine reads it: relative to the run, in which it works, so that no folder's name matters."""
    return os.path.relpath(path, RUN)


def left(notebook, fold=None):
    """What a notebook leaves for others."""
    return outputs_of(notebook, fold, image_source=STUDY.image_source)


def kept(paths):
    """Outputs that stay until the step replaces them: it leaves alone what would come out the same."""
    return [update(path) for path in paths]


def identity(notebook, fold=None):
    """What a step is made from, in one short text."""
    return short_digest(wanted_identity(STUDY, notebook, fold, digests=DIGESTS))


def call(notebook):
    """The shell command that runs a notebook of this study."""
    where = f"--runs-dir {shlex.quote(RUNS_DIR)}" if RUNS_DIR else ""
    return plain(f"{HEPRED} notebook {shlex.quote(STUDY_FILE)} {notebook} --if-changed {where}")


def plain(command):
    """A shell command for the engine, in which braces would be wildcards."""
    return command.replace("{", "{{").replace("}", "}}")


def simulated(cohort, settings):
    """The shell command that makes a simulated cohort."""
    options = " ".join(f"--{key} {shlex.quote(str(value))}" for key, value in settings.items())
    return plain(f"{HEPRED} simulate {shlex.quote(str(cohort))} {options}")


COHORT = STUDY.root / "cohorts" / STUDY.name
MANIFEST = at(STUDY.root / STUDY.manifest)
OTHER = STUDY.root / STUDY.external["manifest"] if STUDY.external else None
TRUTH = [at(COHORT / "truth.csv")] if STUDY.simulate else []
NETWORKS = [path for fold in FOLDS for path in left("03_multitask_training", fold)]
QUALITY = left("02_preprocessing") if FOLDS else []
IMAGE = left("04_image_to_he") if STUDY.image_source != "none" else []
INTEGRATED = left("06_integrated_to_he") if STUDY.image_source != "none" else []


rule all:
    input:
        left("00_the_paper"),
        left("01_cohort"),
        QUALITY,
        NETWORKS,
        IMAGE,
        left("05_clinical_to_he"),
        INTEGRATED,
        left("07_roc_calibration_figures"),
        left("08_new_patients") if STUDY.external else [],


if STUDY.simulate:

    rule simulate:
        output:
            sorted({at(COHORT / "truth.csv"), at(COHORT / "manifest.csv")}),
        params:
            settings=dict(STUDY.simulate),
        threads: workflow.cores
        shell:
            simulated(COHORT, STUDY.simulate)


if STUDY.external and STUDY.external.get("simulate"):

    rule simulate_external:
        output:
            at(OTHER),
        params:
            settings=dict(STUDY.external["simulate"]),
        threads: workflow.cores
        shell:
            simulated(OTHER.parent, STUDY.external["simulate"])


rule paper:
    output:
        kept(left("00_the_paper")),
    params:
        identity=identity("00_the_paper"),
    threads: STUDY.notebook_threads("00_the_paper")
    shell:
        call("00_the_paper")


rule cohort:
    input:
        MANIFEST,
        TRUTH,
    output:
        kept(left("01_cohort")),
    params:
        identity=identity("01_cohort"),
    threads: STUDY.notebook_threads("01_cohort")
    shell:
        call("01_cohort")


if STUDY.image_source == "scans":

    rule preprocessing:
        input:
            left("01_cohort"),
        output:
            kept(left("02_preprocessing")),
        params:
            identity=identity("02_preprocessing"),
        threads: STUDY.notebook_threads("02_preprocessing")
        shell:
            call("02_preprocessing")

    rule training:
        input:
            left("01_cohort"),
            QUALITY,
        output:
            kept(left("03_multitask_training", "{fold}")),
        params:
            identity=lambda wildcards: identity("03_multitask_training", fold=int(wildcards.fold)),
        threads: STUDY.notebook_threads("03_multitask_training")
        # A card can be asked for in a cluster's profile: --set-resources training:gres=gpu:1
        shell:
            call("03_multitask_training") + " --fold {wildcards.fold}"


if IMAGE:

    rule image:
        input:
            left("01_cohort"),
            QUALITY,
            NETWORKS,
        output:
            kept(IMAGE),
        params:
            identity=identity("04_image_to_he"),
        threads: STUDY.notebook_threads("04_image_to_he")
        shell:
            call("04_image_to_he")

    rule integrated:
        input:
            left("01_cohort"),
            NETWORKS,
            IMAGE,
            left("05_clinical_to_he"),
        output:
            kept(INTEGRATED),
        params:
            identity=identity("06_integrated_to_he"),
        threads: STUDY.notebook_threads("06_integrated_to_he")
        shell:
            call("06_integrated_to_he")


rule clinical:
    input:
        left("01_cohort"),
    output:
        kept(left("05_clinical_to_he")),
    params:
        identity=identity("05_clinical_to_he"),
    threads: STUDY.notebook_threads("05_clinical_to_he")
    shell:
        call("05_clinical_to_he")


rule figures:
    input:
        left("01_cohort"),
        QUALITY,
        IMAGE,
        left("05_clinical_to_he"),
        INTEGRATED,
        TRUTH,
    output:
        kept(left("07_roc_calibration_figures")),
    params:
        identity=identity("07_roc_calibration_figures"),
    threads: STUDY.notebook_threads("07_roc_calibration_figures")
    shell:
        call("07_roc_calibration_figures")


if STUDY.external:

    rule external:
        input:
            at(OTHER),
            NETWORKS,
            left("07_roc_calibration_figures"),
        output:
            kept(left("08_new_patients")),
        params:
            identity=identity("08_new_patients"),
        threads: STUDY.notebook_threads("08_new_patients")
        shell:
            call("08_new_patients")


DIGESTS.save()
