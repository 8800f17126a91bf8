"""environment.yml, pyproject.toml, the bootstrap and the hooks say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stagelens_course.cli.testing import _checks

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_conda_users_get_the_python_and_the_packages_of_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    python, pip, packages = environment["dependencies"]
    assert python == f"python{PROJECT['requires-python']}"
    # pip reads the rest from pyproject.toml itself, so that nothing is listed twice.
    lock, requirement = packages["pip"]
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", requirement)
    assert (pip, lock) == ("pip", f"-c {LOCK.name}")
    assert extras is not None
    assert set(extras[1].split(",")) == set(PROJECT["optional-dependencies"])


def test_the_lock_has_one_version_of_every_requirement_that_satisfies_it() -> None:
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    locked = {(pin := Requirement(line)).name: pin for line in lines if applies(Requirement(line))}
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for wanted in (Requirement(line) for requirements in lists for line in requirements):
        (version,) = locked[canonicalize_name(wanted.name)].specifier
        assert version.operator == "=="
        assert wanted.specifier.contains(version.version), wanted


def applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate()


def test_the_bootstrap_asks_for_the_python_of_pyproject() -> None:
    needed = re.search(r"^NEEDED = \((\d+), (\d+)\)$", (ROOT / "stagelens").read_text(), re.MULTILINE)
    assert needed is not None
    assert PROJECT["requires-python"] == f">={needed[1]}.{needed[2]}"


def test_the_hooks_run_what_the_test_command_runs() -> None:
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (repository,) = configuration["repos"]
    # The front end's hooks need its packages; tests/browser runs what they run.
    hooks = {
        hook["name"]: hook["entry"] for hook in repository["hooks"] if not hook["entry"].startswith("npm ")
    }
    assert hooks.keys() == _checks().keys()
    for name, command in _checks().items():
        words = [word for word in command if word != "--check"]
        assert hooks[name].removesuffix(" --fix") == " ".join([".venv/bin/python", "-m", *words])
    # Files that are named to ruff are not spared by its own settings.
    spared = re.compile(configuration["exclude"])
    assert spared.search("stagelens")
    assert spared.search("src/stagelens/buildkit/proto/buildkit_pb2.py")
    assert not spared.search("src/stagelens/cli/__init__.py")


def test_every_requirement_has_a_lower_bound_or_a_version() -> None:
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    assert [line for requirements in lists for line in requirements if not re.search(r">=|==", line)] == []
