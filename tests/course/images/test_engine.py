"""Provide diamol/base on a real engine, in a separate namespace."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from docker.errors import ImageNotFound
from filelock import FileLock
from stagelens_testing.registry import Registry
from stagelens_testing.resources import PATIENCE, no_leaks, threads, wait_until

from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.engine import Engine
from stagelens.paths import cache_dir
from stagelens_course import images, timeouts
from stagelens_course.images.model import REPLICA_LABEL

pytestmark = pytest.mark.engine
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="replicas are made by root on Debian"
)


@pytest.fixture
def namespace(unique: str, clean: object) -> str:
    return unique


def base(engine: Engine, namespace: str, source: images.ImageSource = "replica") -> images.BaseImage:
    (row,) = images.ensure(engine, ["diamol/base"], source, namespace=namespace)
    return row


def in_container(engine: Engine, image: str, script: str, name: str) -> str:
    container = engine.api.create_container(image, ["sh", "-c", script], name=f"{name}-run")
    engine.api.start(container)
    code = engine.api.wait(container)["StatusCode"]
    output = engine.api.logs(container).decode()
    assert code == 0, output
    return output


def test_describe_reports_missing_images_and_makes_none(engine: Engine, namespace: str) -> None:
    rows = images.describe(engine, namespace=namespace)
    assert [(row.origin, row.image_id, row.size) for row in rows] == [("missing", None, 0)] * 5
    assert images.describe(engine, namespace=namespace) == rows


@needs_root
def test_replica_is_small_labelled_and_reported_as_replica(engine: Engine, namespace: str) -> None:
    row = base(engine, namespace)
    assert row.origin == "replica"
    assert 0 < row.size <= 6_000_000
    config = engine.api.inspect_image(f"{namespace}/base")["Config"]
    assert len(config["Labels"][REPLICA_LABEL]) == 64
    assert config["Cmd"] == ["sh"]
    assert row in images.describe(engine, namespace=namespace)


@needs_root
def test_replica_runs_the_programs_of_a_small_system(engine: Engine, namespace: str) -> None:
    base(engine, namespace)
    script = (
        "id -un && stat -c %a /tmp && echo hi | sed s/hi/ho/ && which wget && test -s /etc/ssl/certs/*.crt"
    )
    assert in_container(engine, f"{namespace}/base", script, namespace).split() == [
        "root",
        "1777",
        "ho",
        "/usr/bin/wget",
    ]


@needs_root
def test_second_call_changes_and_reports_nothing(engine: Engine, namespace: str) -> None:
    first = base(engine, namespace)
    reports: list[str] = []
    second = images.ensure(engine, ["diamol/base"], "auto", reports.append, namespace=namespace)
    assert second == (first,)
    assert reports == []


@needs_root
def test_replica_of_another_recipe_is_replaced(engine: Engine, namespace: str) -> None:
    first = base(engine, namespace)
    relabel(engine, f"{namespace}/base", f"LABEL {REPLICA_LABEL}=0000")
    former = engine.api.inspect_image(f"{namespace}/base")["Id"]
    assert base(engine, namespace).image_id not in (None, first.image_id)
    label = engine.api.inspect_image(f"{namespace}/base")["Config"]["Labels"][REPLICA_LABEL]
    assert label != "0000"
    with pytest.raises(ImageNotFound):
        engine.api.inspect_image(former)


@needs_root
def test_replaced_replica_with_another_name_stays(engine: Engine, namespace: str) -> None:
    base(engine, namespace)
    relabel(engine, f"{namespace}/base", f"LABEL {REPLICA_LABEL}=0000")
    engine.api.tag(f"{namespace}/base", f"{namespace}/mine")
    former = engine.api.inspect_image(f"{namespace}/mine")["Id"]
    base(engine, namespace)
    assert engine.api.inspect_image(f"{namespace}/mine")["Id"] == former


@pytest.mark.parametrize("source", ["auto", "pull", "replica"])
def test_published_image_is_never_replaced(
    engine: Engine, namespace: str, source: images.ImageSource
) -> None:
    engine.api.import_image_from_data(b"\0" * 1024, repository=f"{namespace}/base", tag="latest")
    published = engine.api.inspect_image(f"{namespace}/base")["Id"]
    row = base(engine, namespace, source)
    assert (row.image_id, row.origin) == (published, "published")


def test_silent_registry_is_unreachable(
    engine: Engine, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("STAGELENS_REGISTRY_MIRROR", f"127.0.0.1:{silent.getsockname()[1]}")
        # Checks the deadline instead of the time that passed: a loaded machine takes longer.
        assert timeouts.current.registry_first_event <= 5
        with pytest.raises(images.PullFailed, match="STAGELENS_REGISTRY_MIRROR") as failure:
            base(engine, namespace, "pull")
    assert failure.value.unreachable
    assert images.describe(engine, namespace=namespace)[0].origin == "missing"


@pytest.fixture
def mirror(
    engine: Engine,
    open_registry: Registry,
    unique: str,
    clean: object,
    monkeypatch: pytest.MonkeyPatch,
    set_timeouts: Callable[..., None],
) -> str:
    """Set a mirror that has diamol/base in a separate folder; return the published image's ID."""
    engine.api.import_image_from_data(b"\0" * 1024, repository=f"{unique}-made", tag="latest")
    published = engine.api.inspect_image(f"{unique}-made")["Id"]
    open_registry.push(engine, f"{unique}-made", f"{unique}/diamol/base")
    open_registry.push(engine, f"{unique}-made", f"{unique}/diamol/base:of-before")
    engine.api.remove_image(f"{unique}-made")
    monkeypatch.setenv("STAGELENS_REGISTRY_MIRROR", f"{open_registry.address}/{unique}")
    # A later answer counts as an unreachable registry.
    set_timeouts(registry_first_event=PATIENCE)
    return published


def test_pulls_use_the_mirror_and_replace_only_replicas(
    engine: Engine, open_registry: Registry, mirror: str, namespace: str, unique: str
) -> None:
    if os.geteuid() == 0:
        assert base(engine, namespace, "replica").origin == "replica"
    pulled = base(engine, namespace, "pull")
    assert (pulled.origin, pulled.image_id) == ("published", mirror)
    ours = f"/v2/{unique}/diamol/base/"
    wait_until(lambda: any(f"GET {ours}blobs/" in line for line in open_registry.requests()), "the pull")
    # Only the tag latest is pulled, and the mirror's name for the image is removed.
    tags = engine.api.inspect_image(f"{namespace}/base")["RepoTags"]
    assert tags == [f"{namespace}/base:latest"]
    # A pull begins with a manifest; the blobs of the one above may still be on their way into the log.
    before = [line for line in open_registry.requests() if f"{ours}manifests/" in line]
    assert base(engine, namespace, "pull") == base(engine, namespace, "replica") == pulled
    assert [line for line in open_registry.requests() if f"{ours}manifests/" in line] == before


def test_image_missing_in_the_mirror_does_not_mean_unreachable(
    engine: Engine, mirror: str, namespace: str
) -> None:
    with pytest.raises(images.PullFailed) as failure:
        images.ensure(engine, ["diamol/node"], "pull", namespace=namespace)
    assert not failure.value.unreachable


@needs_root
def test_cancelled_replica_leaves_no_tag_and_no_folder(
    engine: Engine, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cancel = Cancel()

    def report(line: str) -> None:
        if line.startswith(f"building {namespace}/golang"):
            assert list(tmp_path.iterdir())
            cancel()

    with no_leaks(threads), pytest.raises(BuildCancelled):
        images.ensure(engine, ["diamol/golang"], "replica", report, namespace=namespace, cancel=cancel)
    assert not list(tmp_path.iterdir())
    assert not engine.api.images(name=f"{namespace}/golang")


@needs_root
def test_cancelled_program_leaves_no_temporary_files(
    engine: Engine, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The program is pip or uv, which unpack thousands of files there before they move them."""
    (tmp_path / "uv").write_text(f"#!/bin/sh\nmktemp -d > {tmp_path}/made\nsleep 600\n")
    (tmp_path / "uv").chmod(0o755)
    (tmp_path / "tmp").mkdir()
    for name, value in {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "tmp")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", None)
    cancel = Cancel()

    def stop() -> None:
        wait_until(lambda: (tmp_path / "made").exists() and (tmp_path / "made").read_text(), "its folder")
        cancel()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(BuildCancelled):
        images.ensure(engine, ["diamol/node"], "replica", namespace=namespace, cancel=cancel)
    thread.join()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_waiting_for_the_lock_can_be_cancelled(
    engine: Engine, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path))
    cancel = Cancel()
    with FileLock(cache_dir() / "images.lock"):
        threading.Timer(0.5, cancel).start()
        with pytest.raises(BuildCancelled):
            images.ensure(engine, ["diamol/base"], namespace=namespace, cancel=cancel)


def test_unknown_name_is_refused(engine: Engine) -> None:
    with pytest.raises(images.ImagesError, match="diamol/base"):
        images.ensure(engine, ["diamol/nothing"])


def relabel(engine: Engine, name: str, change: str) -> None:
    container = engine.api.create_container(name, ["true"], name=f"{name.replace('/', '-')}-relabel")
    engine.api.commit(container, repository=name, tag="latest", changes=[change])
    engine.api.remove_container(container)


def test_interrupt_in_a_notebook_shows_two_lines(engine: Engine, namespace: str) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        images.ensure(engine, ["diamol/base"], report=stop, namespace=namespace)
    assert "Stopped" in vars(caught.value)["_render_traceback_"]()[-1]
    assert images.describe(engine, namespace=namespace)[0].origin == "missing"
