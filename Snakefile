"""A study as a graph of notebook runs. Called by `hepred run`; reads everything from the study file.

Each rule runs one notebook by papermill. The executed notebook is a log, so that a failed run keeps it; the hash of
the notebook and of its parameters is a rule parameter, so that a change of either reruns it whatever the time stamps.
"""

import shlex
import sys

from hepred_lib.execution.notebook import notebook_digest, study_parameters
from hepred_lib.execution.workflow import run_folder
from hepred_lib.study import load_study

STUDY_FILE = config["study_file"]
RUNS_DIR = config.get("runs_dir") or ""
STUDY = load_study(STUDY_FILE)
RUN = run_folder(STUDY, RUNS_DIR)
MANIFEST = str(STUDY.root / STUDY.manifest)
FOLDS = range(STUDY.folds) if STUDY.image_source == "scans" else []
HEPRED = f"exec {shlex.quote(sys.executable)} -m hepred_lib.cli"


def at(path):
    """A path in the run's folder."""
    return str(RUN / path)


def digest(notebook, **extra):
    return notebook_digest(notebook, study_parameters(STUDY, notebook, runs_dir=RUNS_DIR, **extra))


def call(notebook):
    """The shell command that runs a notebook of this study."""
    where = f"--runs-dir {shlex.quote(RUNS_DIR)}" if RUNS_DIR else ""
    return f"{HEPRED} notebook {shlex.quote(STUDY_FILE)} {notebook} {where}"


def simulated(cohort, settings):
    """The shell command that makes a simulated cohort."""
    options = " ".join(f"--{key} {shlex.quote(str(value))}" for key, value in settings.items())
    return f"{HEPRED} simulate {shlex.quote(str(cohort))} {options}"


COHORT = STUDY.root / "cohorts" / STUDY.name
OTHER = STUDY.root / STUDY.external["manifest"] if STUDY.external else None
TRUTH = [str(COHORT / "truth.csv")] if STUDY.simulate else []
IMAGE = [at("image.csv"), at("image_model.json")] if STUDY.image_source != "none" else []
INTEGRATED = [at(f"integrated{end}") for end in (".csv", "_model.json", "_imputation.json")] if STUDY.image_source != "none" else []
EXTERNAL = [at("external.json")] if STUDY.external else []
NETWORKS = [at(f"folds/{fold}/network.safetensors") for fold in FOLDS]
LOGITS = [at(f"folds/{fold}/predictions.csv") for fold in FOLDS]
QUALITY = [at("slices/quality.csv")] if FOLDS else []
READINGS = [at("segmentation.csv"), at("detection.csv")] if FOLDS else []


rule all:
    input:
        at("paper.json"),
        at("clinical.csv"),
        IMAGE,
        INTEGRATED,
        at("results.json"),
        EXTERNAL,


if STUDY.simulate:

    rule simulate:
        output:
            sorted({str(COHORT / "truth.csv"), str(COHORT / "manifest.csv")}),
        params:
            settings=dict(STUDY.simulate),
        threads: workflow.cores
        shell:
            simulated(COHORT, STUDY.simulate)


if STUDY.external and STUDY.external.get("simulate"):

    rule simulate_external:
        output:
            str(OTHER),
        params:
            settings=dict(STUDY.external["simulate"]),
        threads: workflow.cores
        shell:
            simulated(OTHER.parent, STUDY.external["simulate"])


rule paper:
    output:
        at("paper.json"),
    log:
        at("notebooks/00_the_paper.ipynb"),
    params:
        digest=digest("00_the_paper"),
    threads: STUDY.notebook_threads("00_the_paper")
    shell:
        call("00_the_paper")


rule cohort:
    input:
        MANIFEST,
        TRUTH,
    output:
        at("cohort.csv"),
        at("excluded.csv"),
    log:
        at("notebooks/01_cohort.ipynb"),
    params:
        digest=digest("01_cohort"),
    threads: STUDY.notebook_threads("01_cohort")
    shell:
        call("01_cohort")


if STUDY.image_source == "scans":

    rule preprocessing:
        input:
            at("cohort.csv"),
        output:
            at("slices/quality.csv"),
        log:
            at("notebooks/02_preprocessing.ipynb"),
        params:
            digest=digest("02_preprocessing"),
        threads: STUDY.notebook_threads("02_preprocessing")
        shell:
            call("02_preprocessing")

    rule training:
        input:
            at("cohort.csv"),
            at("slices/quality.csv"),
        output:
            at("folds/{fold}/network.safetensors"),
            at("folds/{fold}/history.csv"),
            at("folds/{fold}/predictions.csv"),
        log:
            at("notebooks/03_multitask_training_fold{fold}.ipynb"),
        params:
            digest=lambda wildcards: digest("03_multitask_training", fold=int(wildcards.fold)),
        threads: STUDY.notebook_threads("03_multitask_training")
        # A card can be asked for in a cluster's profile: --set-resources training:gres=gpu:1
        shell:
            call("03_multitask_training") + " --fold {wildcards.fold}"


if IMAGE:

    rule image:
        input:
            at("cohort.csv"),
            QUALITY,
            NETWORKS,
            LOGITS,
        output:
            IMAGE,
            READINGS,
        log:
            at("notebooks/04_image_to_he.ipynb"),
        params:
            digest=digest("04_image_to_he"),
        threads: STUDY.notebook_threads("04_image_to_he")
        shell:
            call("04_image_to_he")

    rule integrated:
        input:
            at("cohort.csv"),
            IMAGE,
            LOGITS,
            at("clinical.csv"),
            at("clinical_model.json"),
        output:
            INTEGRATED,
        log:
            at("notebooks/06_integrated_to_he.ipynb"),
        params:
            digest=digest("06_integrated_to_he"),
        threads: STUDY.notebook_threads("06_integrated_to_he")
        shell:
            call("06_integrated_to_he")


rule clinical:
    input:
        at("cohort.csv"),
    output:
        at("clinical.csv"),
        at("clinical_model.json"),
        at("imputation.json"),
    log:
        at("notebooks/05_clinical_to_he.ipynb"),
    params:
        digest=digest("05_clinical_to_he"),
    threads: STUDY.notebook_threads("05_clinical_to_he")
    shell:
        call("05_clinical_to_he")


rule figures:
    input:
        at("cohort.csv"),
        at("excluded.csv"),
        at("clinical.csv"),
        at("clinical_model.json"),
        IMAGE,
        INTEGRATED,
        QUALITY,
        READINGS,
        TRUTH,
    output:
        at("results.json"),
        at("predictions.csv"),
        at("provenance.json"),
    log:
        at("notebooks/07_roc_calibration_figures.ipynb"),
    params:
        digest=digest("07_roc_calibration_figures"),
    threads: STUDY.notebook_threads("07_roc_calibration_figures")
    shell:
        call("07_roc_calibration_figures")


if STUDY.external:

    rule external:
        input:
            str(OTHER),
            NETWORKS,
            at("results.json"),
        output:
            at("external.json"),
        log:
            at("notebooks/08_new_patients.ipynb"),
        params:
            digest=digest("08_new_patients"),
        threads: STUDY.notebook_threads("08_new_patients")
        shell:
            call("08_new_patients")
