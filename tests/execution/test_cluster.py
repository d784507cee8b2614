"""A study on a cluster: what its steps ask for, and a real Slurm of one host on which jobs are killed.

The Slurm is Debian's (``apt-get install slurm-wlm munge``), with the extra ``slurm`` of this package. It runs as the
user of the tests, in a temporary folder, and has two cards that are none.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from hepred_lib.errors import StudyError
from hepred_lib.study import running
from hepred_lib.study.definition import PROJECT, TRAINING, load_study
from hepred_lib.study.resources import COSTS, count_patients, needs
from hepred_lib.study.running import find_profile, step_at_work, study_steps

PROFILE = PROJECT / "profiles" / "slurm"
MISSING = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if not shutil.which(name)]
MISSING += [] if importlib.util.find_spec("snakemake_executor_plugin_slurm") else ["snakemake-executor-plugin-slurm"]
STUDY = """
study: seed{seed}
manifest: cohorts/few/manifest.csv
seed: {seed}
image_source: {source}
folds: 3
parameters:
  00_the_paper: {{n_simulations: 50}}
  02_preprocessing: {{matrix: 64}}
  03_multitask_training: {{epochs: 1}}
  04_image_to_he: {{n_resamples: 5}}
  05_clinical_to_he: {{n_imputations: 2, n_resamples: 5}}
  06_integrated_to_he: {{n_imputations: 2, n_resamples: 5}}
  07_roc_calibration_figures: {{n_resamples: 20}}
"""
NUMBERS = ("results.json", "predictions.csv", "image.csv", "clinical_model.json", "integrated_model.json")
CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:2
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def asked(study, rule, attempt=1, **given):
    """Memory, minutes and cards of one attempt."""
    told = needs(study, rule, **given)
    return told["mem_mb"](None, attempt), told["runtime"](None, attempt), told["gpu"]


@pytest.fixture
def demo():
    return load_study(PROJECT / "studies" / "demo.yaml")


def test_every_step_asks_for_more_than_it_took_and_more_at_each_attempt(demo):
    assert set(COSTS) == {notebook for notebook, _ in study_steps(demo).values()} | {"simulate"}
    took = {  # MB and seconds of the demo study, on two cores that others used too
        "01_cohort": (846, 43), "02_preprocessing": (704, 168), TRAINING: (2096, 238), "04_image_to_he": (1842, 150),
        "05_clinical_to_he": (984, 33), "06_integrated_to_he": (461, 40), "07_roc_calibration_figures": (502, 30),
        "08_new_patients": (1713, 86),
    }  # fmt: skip
    for rule, (mb, seconds) in took.items():
        first, second = asked(demo, rule), asked(demo, rule, attempt=2)
        assert first[0] > mb + 400
        assert first[1] * 60 > 2 * seconds
        assert second[:2] == (2 * first[0], 2 * first[1])


def test_only_trainings_ask_for_a_card_and_none_does_where_there_are_none(demo):
    assert [rule for rule in COSTS if asked(demo, rule)[2]] == [TRAINING]
    assert asked(demo, TRAINING, gpus=0)[2] == 0


@pytest.mark.parametrize(("place", "gpus", "shown"), [({}, 1, "2"), ({}, 0, ""), ({"cluster": True}, 0, "")])
def test_all_chapters_see_the_cards_that_are_given_and_no_others(demo, monkeypatch, place, gpus, shown):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    running._shared_cards(demo, gpus, **place)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == shown
    assert not shown or os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID", "as trainings hold them"


def test_a_larger_study_asks_for_more(demo):
    paper = load_study(PROJECT / "studies" / "paper.yaml")
    for rule in ("02_preprocessing", TRAINING, "04_image_to_he", "05_clinical_to_he", "08_new_patients", "simulate"):
        assert asked(paper, rule)[0] >= asked(demo, rule)[0]
        assert asked(paper, rule)[1] >= asked(demo, rule)[1]
    assert asked(paper, TRAINING)[1] > 10 * asked(demo, TRAINING)[1]


def test_patients_are_the_rows_of_the_manifest(tmp_path):
    (tmp_path / "mine.yaml").write_text("study: mine\nmanifest: mine.csv\nseed: 1\n")
    study = load_study(tmp_path / "mine.yaml")
    assert count_patients(study, "simulate") == 1000
    (tmp_path / "mine.csv").write_text("patient_id\n" + "x\n" * 70)
    assert count_patients(study, "01_cohort") == 70


def test_a_profile_is_found_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_profile("profiles/slurm") == str(PROFILE)
    (tmp_path / "profiles" / "slurm").mkdir(parents=True)
    assert find_profile("profiles/slurm") == str(tmp_path / "profiles" / "slurm")
    assert find_profile("ours") == "ours", "Snakemake looks for it among the user's profiles"
    with pytest.raises(StudyError, match="not there"):
        find_profile("profiles/other")


def test_a_step_is_made_by_one_process_at_a_time(tmp_path):
    code = "import sys; from pathlib import Path; from hepred_lib.study.running import step_at_work as work\n"
    code += "with work(Path(sys.argv[1]), '01_cohort'): print('mine')"
    with step_at_work(tmp_path, "01_cohort"):
        other = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=-1, stderr=-1, text=True)
        assert "waiting for it" in other.stderr.readline()
        assert other.poll() is None
    assert other.communicate(timeout=20)[0] == "mine\n"


@dataclass
class Slurm:
    """A running Slurm: its folder, and the environment in which its commands and ours find it."""

    folder: Path
    environment: dict[str, str]

    def call(self, *words: str) -> str:
        """What a command of Slurm prints; empty while the controller is away."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout

    def start(self, daemon: str) -> None:
        subprocess.run([daemon, "-f", str(self.folder / "slurm.conf")], env=self.environment, check=True)

    def stop(self, daemon: str, number: int = signal.SIGTERM) -> None:
        """End one of the daemons that this test started, and wait until it is gone."""
        pid = int((self.folder / daemon).read_text())
        os.kill(pid, number)
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists():
                break
            time.sleep(0.1)

    def jobs(self) -> list[tuple[str, str, str]]:
        """Number, state and rule of the jobs in the queue."""
        return [tuple(line.split("|")) for line in self.call("squeue", "-h", "-o", "%i|%T|%k").splitlines()]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().partition(".")[0]
    for name in ("state", "spool", "munge", "bin"):
        (folder / name).mkdir(mode=0o700)
    (folder / "munge" / "key").write_bytes(os.urandom(128))
    (folder / "munge" / "key").chmod(0o600)
    ends = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = [f"--{name}={folder / 'munge' / end}" for name, end in ends.items()]
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder, ports=ports, user=user))
    (folder / "gres.conf").write_text("".join(f"NodeName={host} Name=gpu File=/dev/{no}\n" for no in ("null", "zero")))
    # Within a job the engine keeps few of Slurm's own variables; elsewhere the file is at the host's usual place.
    (folder / "bin" / "srun").write_text(
        f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n'
    )
    (folder / "bin" / "srun").chmod(0o700)
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    own |= {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder / 'bin'}:{own['PATH']}"}
    running = Slurm(folder, own)
    try:
        subprocess.run(["munged", "--force", *munge], check=True)
        running.start("slurmctld")
        running.start("slurmd")
        for _ in range(60):
            if "idle" in running.call("sinfo", "-h", "-o", "%T"):
                break
            time.sleep(1)
        else:
            pytest.fail(f"Slurm did not start: {(folder / 'slurmctld.log').read_text()[-500:]}")
        yield running
    finally:
        running.call("scancel", "-u", user)
        for _ in range(30):
            if not running.jobs():
                break
            time.sleep(1)
        for daemon in ("slurmd.pid", "slurmctld.pid", "munge/pid"):
            if (folder / daemon).exists():
                running.stop(daemon)


def profile(folder: Path, **changed) -> Path:
    """A user's copy of our profile, edited: here nothing is accounted, and a test does not wait for its turn."""
    ours = yaml.safe_load((PROFILE / "config.yaml").read_text())
    ours |= {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 2}
    ours |= {"seconds-between-status-checks": 2, "latency-wait": 30} | changed
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(ours))
    return folder


class Campaign:
    """Three seeds of one study, in one folder to be run on the cluster and in another to be run here."""

    seeds = (1, 2, 3)

    def __init__(self, slurm: Slurm, folder: Path, source: str, killed: str) -> None:
        self.slurm, self.folder, self.killed = slurm, folder, killed
        self.commands: list[subprocess.Popen] = []
        options = ["--patients", "40", "--seed", "3", "--matrix", "96", *(["--no-scans"] if source == "none" else [])]
        simulate = [sys.executable, "-m", "hepred_lib.cli", "simulate", str(folder / "cohort"), *options]
        subprocess.run(simulate, check=True)
        for place in ("here", "cluster"):
            (folder / place / "studies").mkdir(parents=True)
            (folder / place / "cohorts").mkdir()
            (folder / place / "cohorts" / "few").symlink_to(folder / "cohort")
            for seed in self.seeds:
                self.study(place, seed).write_text(STUDY.format(seed=seed, source=source))
        self.steps = sorted(study_steps(load_study(self.study("here", 1))))
        self.profiles = {1: profile(folder / "once", retries=0), 2: profile(folder / "twice")}
        self.profiles[3] = self.profiles[2]

    def study(self, place: str, seed: int) -> Path:
        return self.folder / place / "studies" / f"seed{seed}.yaml"

    def log(self, seed: int, name: str = "log") -> Path:
        return self.folder / f"seed{seed}.{name}"

    def start(self, seed: int, name: str = "log", place: str = "cluster") -> subprocess.Popen:
        """Start the command of one seed, which says in a log what it does."""
        words = ["--profile", str(self.profiles[seed])] if place == "cluster" else ["--cores", "2"]
        command = [sys.executable, "-m", "hepred_lib.cli", "run", str(self.study(place, seed)), *words]
        with open(self.log(seed, name), "w") as stream:
            started = subprocess.Popen(command, env=self.slurm.environment, stdout=stream, stderr=subprocess.STDOUT)
        self.commands.append(started)
        return started

    def end(self) -> None:
        """End what a failed test left."""
        for command in self.commands:
            if command.poll() is None:
                command.terminate()
                command.wait()

    def kill_a_job_each(self, *seeds: int) -> None:
        """Cancel a running job of the rule that is to be killed, as soon as its command has said its number."""
        cancelled: dict[int, str] = {}
        while len(cancelled) < len(seeds):
            for job, state, comment in self.slurm.jobs():
                for seed in set(seeds) - set(cancelled) if state == "RUNNING" and self.killed in comment else ():
                    if f"/{job}.log" in self.log(seed).read_text():
                        self.slurm.call("scancel", job)
                        cancelled[seed] = job
            for seed in set(seeds) - set(cancelled):
                if self.commands[seed - 1].poll() is not None:
                    pytest.fail(f"no job of {self.killed} came: {self.log(seed).read_text()[-2000:]}")
            time.sleep(0.5)
        while set(cancelled.values()) & {job for job, _, _ in self.slurm.jobs()}:
            time.sleep(0.5)

    def numbers(self, place: str, seed: int) -> dict[str, str]:
        """Every number of a finished study."""
        names = [name for name in NUMBERS if (self.folder / place / "runs" / f"seed{seed}" / name).exists()]
        return {name: (self.folder / place / "runs" / f"seed{seed}" / name).read_text() for name in names}


def submitted(log: Path) -> list[str]:
    """The steps whose jobs a command gave to Slurm."""
    found = re.findall(r"submitted with SLURM jobid \d+ \(log: \S*/logs/rule_(\S+)/\d+\.log\)", log.read_text())
    return sorted(name.replace("/", "_fold") for name in found)


@pytest.fixture(params=[("none", "05_clinical_to_he"), ("scans", TRAINING)], ids=["tables", "scans"])
def campaign(request, slurm, tmp_path):
    found = Campaign(slurm, tmp_path, *request.param)
    yield found
    found.end()


@pytest.mark.book
def test_a_study_survives_killed_jobs_and_a_restarted_controller(slurm, campaign):
    """One seed loses a job for good, one is helped by the second attempt, one is left in peace."""
    commands = {seed: campaign.start(seed) for seed in campaign.seeds}
    campaign.kill_a_job_each(1, 2)
    time.sleep(5)  # until the controller has written what it knows: it would queue the cancelled job again
    slurm.stop("slurmctld.pid", signal.SIGKILL)
    time.sleep(5)
    slurm.start("slurmctld")
    most = 0
    while any(command.poll() is None for command in commands.values()):
        running = [comment for _, state, comment in slurm.jobs() if state == "RUNNING"]
        most = max(most, sum(TRAINING in comment for comment in running))
        time.sleep(1)
    assert most <= 2, "there are two cards"
    assert [command.returncode for command in commands.values()] == [1, 0, 0]
    assert submitted(campaign.log(3)) == campaign.steps
    twice = submitted(campaign.log(2))
    assert sorted(set(twice)) == campaign.steps
    assert len(twice) == len(campaign.steps) + 1, "the step whose job was killed, and no other"

    run = campaign.folder / "cluster" / "runs" / "seed1"
    assert f"what it said is in {run / 'logs'}" in campaign.log(1).read_text()
    left = [step for step in campaign.steps if not (run / "records" / f"{step}.json").exists()]
    assert campaign.start(1, "again").wait() == 0
    assert submitted(campaign.log(1, "again")) == left, "only what is missing"
    assert campaign.start(1, "third").wait() == 0
    assert submitted(campaign.log(1, "third")) == []

    for seed in campaign.seeds:
        assert campaign.start(seed, "local", place="here").wait() == 0
        assert campaign.numbers("cluster", seed) == campaign.numbers("here", seed)
    assert len({json.dumps(campaign.numbers("here", seed)) for seed in campaign.seeds}) == 3
