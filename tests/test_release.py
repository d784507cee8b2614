"""What is given away: images, Binder, packages. Nothing is built here; every file must fit the project."""

import json
import re
import tomllib

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import hepred_lib
from hepred_lib.study.definition import PROJECT

SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
APPTAINER = (PROJECT / "apptainer.def").read_text(encoding="utf-8")
DEVCONTAINER = json.loads((PROJECT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
BINDER = yaml.safe_load((PROJECT / "binder" / "environment.yml").read_text(encoding="utf-8"))
SCRIPT = (PROJECT / "containers" / "install.sh").read_text(encoding="utf-8")
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (PROJECT / ".github/workflows").glob("*")
}


def copied() -> list[str]:
    """What the Dockerfile takes from the project."""
    lines = re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M)
    return [name for line in lines for name in line.split()]


@pytest.mark.parametrize(
    "python",
    [
        *re.findall(r"^FROM python:([\d.]+)", DOCKERFILE, re.M),
        *re.findall(r"^From: python:([\d.]+)", APPTAINER, re.M),
        *re.findall(r"python:([\d.]+)", DEVCONTAINER["image"]),
        *(str(word).removeprefix("python=") for word in BINDER["dependencies"] if str(word).startswith("python=")),
    ],
)
def test_every_image_has_a_python_that_the_package_takes(python):
    assert Version(python) in SpecifierSet(SETTINGS["project"]["requires-python"])


def test_the_images_hold_what_a_study_needs_and_nothing_that_is_not_there():
    assert all((PROJECT / name).exists() for name in copied())
    read = {"hepred_lib", "ich_phantom", "notebooks", "docs", "Snakefile", "pyproject.toml", "constraints.txt"}
    assert read <= set(copied())
    assert re.findall(r"^    (\S+) /opt/hepred/\1$", APPTAINER, re.M) == copied()
    ignored = (PROJECT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {f"!{name}" for name in copied()} <= set(ignored)


def test_an_image_is_for_the_cpu_or_for_cuda_and_its_user_is_not_root():
    assert re.findall(r"^(\w+)\)$", SCRIPT, re.M) == ["cuda", "cpu"]
    assert "ARG DEVICE=cuda" in DOCKERFILE
    assert "device=cuda" in APPTAINER
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.M) == ["1000"]
    assert 'ENTRYPOINT ["hepred"]' in DOCKERFILE


def test_pins_that_the_cpu_leaves_out_are_those_of_cuda():
    pins = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (pattern,) = re.findall(r"grep -vE '(.+)' constraints", SCRIPT)
    left_out = [pin for pin in pins if re.search(pattern, pin)]
    assert len(left_out) > 10
    assert not [pin for pin in left_out if pin.startswith("torch")]


def test_the_version_is_written_once_and_cited():
    assert "version" not in SETTINGS["project"]
    assert SETTINGS["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "hepred_lib.__version__"}
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == hepred_lib.__version__
    assert f"## {hepred_lib.__version__}" in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_what_the_package_needs_is_pinned_for_every_extra():
    pins = {canonicalize_name(line.split("==")[0]) for line in (PROJECT / "constraints.txt").read_text().splitlines()}
    extras = SETTINGS["project"]["optional-dependencies"]
    for word in [*SETTINGS["project"]["dependencies"], *extras["dev"], *extras["site"], *extras["slurm"]]:
        assert canonicalize_name(re.split(r"[>=<\[]", word)[0]) in pins


def test_the_source_distribution_is_the_whole_book():
    lines = [line.split() for line in (PROJECT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()]
    names = [name for word, *names in lines if word in ("include", "graft") for name in names]
    assert all((PROJECT / name).exists() for name in names)
    assert {"notebooks", "studies", "Snakefile", "docs", "constraints.txt", "profiles"} <= set(names)


def test_only_the_steps_that_publish_may_speak_for_the_repository():
    jobs = {(flow, name): job for flow, content in WORKFLOWS.items() for name, job in content["jobs"].items()}
    allowed = {key for key, job in jobs.items() if "write" in job.get("permissions", {}).values()}
    assert allowed == {("release", "publish"), ("docs", "publish")}
    assert WORKFLOWS["release"][True] == {"push": {"tags": ["v*"]}}
    assert all("environment" in jobs[key] for key in allowed)
