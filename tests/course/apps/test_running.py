"""What lessons and commands left running is found and removed from anywhere, any number of times."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from stagelens.engine import Engine
from stagelens_course import apps

from .conftest import Town

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def user(unique: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user of a JupyterHub, since only the user's own applications count there."""
    monkeypatch.setenv("JUPYTERHUB_USER", f"user-{unique}")
    return f"user-{unique}"


def stagelens(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "stagelens_course", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=os.environ | environment
    )
    return " ".join((done.stdout + done.stderr).split())


def test_every_namespace_is_listed_with_its_notebook_ports_and_age(
    town: Town, engine: Engine, light: tuple[apps.ApplicationSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Town(engine, f"l-{town.namespace}", light)
    with monkeypatch.context() as lesson:
        lesson.setenv("JPY_SESSION_NAME", "/home/learner/04-go-image-gallery.ipynb")
        started = town.up()
    other.up(services=light[:1])
    first, second = apps.find_running(engine)
    assert (first.namespace, first.notebook) == (town.namespace, "04-go-image-gallery")
    assert first.containers == tuple(sorted(service.container for service in started.services))
    assert first.ports == tuple(sorted(int(str(s.url).rsplit(":", 1)[1]) for s in started.services))
    assert (second.namespace, second.notebook, len(second.containers)) == (other.namespace, "", 1)
    assert first.started is not None
    assert second.started is not None
    assert first.started <= second.started

    shown = stagelens("status", "--all")
    assert "04-go-image-gallery" in shown
    assert "stagelens up" in shown
    assert [one["namespace"] for one in json.loads(stagelens("status", "--all", "--json"))] == [
        town.namespace,
        other.namespace,
    ]
    # The user's default namespace is empty: the commands say what else runs.
    assert "stagelens down --all" in stagelens("status")
    assert "stagelens down --all" in stagelens("down")
    assert len(apps.find_running(engine)) == 2

    removed = stagelens("down", "--all")
    for name in (*first.containers, *second.containers, town.network, other.network):
        assert name in removed
    assert apps.find_running(engine) == ()
    assert town.resources() == other.resources() == []
    assert "nothing to remove" in stagelens("down", "--all")
    assert "nothing runs" in stagelens("status", "--all")


def test_a_network_without_containers_is_removed_too(town: Town, engine: Engine) -> None:
    town.up()
    for service in apps.status(engine, town.namespace).services:
        engine.api.remove_container(service.container, force=True)
    (left,) = apps.find_running(engine)
    assert (left.namespace, left.containers, left.started) == (town.namespace, (), None)
    (removed,) = apps.down_all(engine)
    assert removed.network == town.network
    assert apps.find_running(engine) == ()


def test_other_users_applications_are_neither_listed_nor_removed(
    town: Town, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.up()
    monkeypatch.setenv("JUPYTERHUB_USER", "another")
    assert all(one.namespace != town.namespace for one in apps.find_running(engine))
    assert apps.down_all(engine) == ()
    assert apps.status(engine, town.namespace).healthy


def test_all_and_one_namespace_exclude_each_other() -> None:
    assert "--all and --as exclude each other" in stagelens("down", "--all", "--as", "x")
