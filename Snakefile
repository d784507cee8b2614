"""A study as a graph of notebook runs. Called by `hepred run`; reads everything from the study file.

Each rule runs one notebook by papermill, and has its name. Which chapter reads which, and what each leaves, is the
table of `hepred_lib.study.definition`. The executed notebook is no output of a rule, so that a failed run keeps it.
What a step is made from (code, parameters, manifest, scans and masks) is compared before the engine starts, which is
told what to make again.
"""

import os
import shlex
import sys

from hepred_lib.study.definition import load_study
from hepred_lib.study.resources import needs
from hepred_lib.study.run import outputs_of, upstream_of
from hepred_lib.study.running import run_folder, study_steps

STUDY = load_study(config["study_file"])
RUN = run_folder(STUDY, config["runs_dir"])
STEPS = study_steps(STUDY)
HEPRED = f"exec {shlex.quote(sys.executable)} -m hepred_lib.cli"


def at(path):
    """A path as the engine reads it: relative to the run, in which it works, so that no folder's name matters."""
    return os.path.relpath(path, RUN)


def left(notebook, fold=None):
    """What a notebook leaves for others."""
    return outputs_of(notebook, fold, image_source=STUDY.image_source)


def read(notebook):
    """What a notebook reads: what the chapters before it left, and what comes from outside the run."""
    return [path for step in upstream_of(notebook, STEPS) for path in left(*STEPS[step])] + OUTSIDE.get(notebook[:2], [])


def plain(command):
    """A shell command for the engine, in which braces would be wildcards."""
    return command.replace("{", "{{").replace("}", "}}")


def simulated(cohort, settings):
    """The shell command that makes a simulated cohort."""
    options = " ".join(f"--{key} {shlex.quote(str(value))}" for key, value in settings.items())
    return plain(f"{HEPRED} simulate {shlex.quote(str(cohort))} {options}") + " --cores {threads}"


COHORT = STUDY.cohort
OTHER = STUDY.root / STUDY.external["manifest"] if STUDY.external else None
TRUTH = [at(COHORT / "truth.csv")] if STUDY.simulate else []
OUTSIDE = {"01": [at(STUDY.root / STUDY.manifest), *TRUTH], "07": TRUTH, "08": [at(OTHER)] if OTHER else []}
ALL = plain(f"--runs-dir {shlex.quote(config['runs_dir'])} " if config["runs_dir"] else "") + "--if-changed"


rule all:
    input:
        [path for step in STEPS.values() for path in left(*step)],


if STUDY.simulate:

    rule simulate:
        output:
            sorted({at(COHORT / "truth.csv"), at(COHORT / "manifest.csv")}),
        params:
            settings=dict(STUDY.simulate),
        threads: config["cores"]
        resources:
            **needs(STUDY, "simulate"),
        shell:
            simulated(COHORT, STUDY.simulate)


if STUDY.external and STUDY.external.get("simulate"):

    rule simulate_external:
        output:
            at(OTHER),
        params:
            settings=dict(STUDY.external["simulate"]),
        threads: config["cores"]
        resources:
            **needs(STUDY, "simulate_external"),
        shell:
            simulated(OTHER.parent, STUDY.external["simulate"])


# Memory, time and cards: hepred_lib/study/resources.py. With --resources gpu=N, as `hepred run` says it, no more folds
# train at once than cards have places.
for NOTEBOOK in dict.fromkeys(notebook for notebook, _ in STEPS.values()):

    rule:
        name:
            NOTEBOOK
        input:
            read(NOTEBOOK),
        # Outputs stay until the step replaces them: it leaves alone what would come out the same.
        output:
            [update(path) for path in left(NOTEBOOK, "{fold}")],
        params:
            fold=lambda wildcards: f"--fold {wildcards.fold}" if wildcards.keys() else "",
        threads: STUDY.notebook_threads(NOTEBOOK)
        resources:
            **needs(STUDY, NOTEBOOK, gpus=config["gpus"]),
        shell:
            plain(f"{HEPRED} notebook {shlex.quote(config['study_file'])}") + f" {{rule}} {ALL} {{params.fold}}"
