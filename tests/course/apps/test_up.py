"""`up` starts three services and waits for them; `down` removes exactly what `up` made."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from stagelens_testing.resources import PATIENCE

from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.engine import remove_container
from stagelens.paths import cache_dir
from stagelens_course import apps
from stagelens_course.apps import ports

from .conftest import Town

pytestmark = pytest.mark.engine
NAMES = ("iotd", "accesslog", "image-gallery")


def ids(town: Town) -> dict[str, str]:
    rows = town.engine.api.containers(all=True)
    return {row["Names"][0].lstrip("/"): row["Id"] for row in rows if town.namespace in row["Names"][0]}


def test_up_starts_three_services_on_a_network_and_down_removes_them(town: Town) -> None:
    reports: list[str] = []
    app = town.up(report=reports.append)
    assert [service.name for service in app.services] == list(NAMES)
    assert {service.container for service in app.services} == {f"{name}-{town.namespace}" for name in NAMES}
    assert app.healthy
    assert app.network == town.network
    assert town.resources() == sorted([*ids(town), town.network])
    for service in app.services:
        assert service.url is not None
        assert apps.fetch(app, "/health", service=service.name).body == b"well\n"
        bindings = town.engine.api.inspect_container(service.container)["NetworkSettings"]["Ports"]["80/tcp"]
        assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
    # The services reach one another by the applications' names, whatever the containers' names are.
    assert apps.fetch(app, "/cgi-bin/others").status == 200
    assert any(text.startswith("building") for text in reports)
    assert apps.status(town.engine, town.namespace) == app

    removed = town.down()
    assert removed.containers == tuple(sorted(f"{name}-{town.namespace}" for name in NAMES))
    assert removed.network == town.network
    assert removed.skipped == ()
    assert town.resources() == []
    assert {service.state for service in apps.status(town.engine, town.namespace).services} == {"missing"}
    assert town.down() == apps.Removed()


def test_parallel_downs_of_a_namespace_succeed(town: Town) -> None:
    town.up()
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(town.down) for _ in range(4)]
    assert [job.exception() for job in jobs] == [None] * 4
    assert town.resources() == []


def test_up_replaces_only_containers_that_do_not_run_as_wanted(town: Town) -> None:
    first = town.up()
    before = ids(town)
    assert town.up(build=False) == first
    assert ids(town) == before

    town.engine.api.kill(f"accesslog-{town.namespace}")
    changed = replace(town.services[0], environment={"TOWN": "new"})
    assert town.up(build=False, services=(changed, *town.services[1:])).healthy
    after = ids(town)
    same = {name for name in before if before[name] == after[name]}
    assert same == {f"image-gallery-{town.namespace}"}


def test_busy_port_is_replaced_by_the_next_free_one_with_a_note(town: Town) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        service = town.up(ports={"iotd": port}).service("iotd")
    assert service.url is not None
    given = int(service.url.rpartition(":")[2])
    assert given != port
    assert service.note == f"Port {port} is in use by another program, so iotd has port {given}."
    assert apps.status(town.engine, town.namespace).service("iotd").note == service.note


def test_port_that_the_engine_refuses_is_replaced(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_in_use", lambda port: False)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        service = town.up(ports={"iotd": port}).service("iotd")
    assert service.note.startswith(f"Port {port} is in use by another program, so iotd has port ")
    assert len(ids(town)) == 3


def test_public_publishes_on_every_address(town: Town) -> None:
    app = town.up(public=True)
    assert app.healthy
    found = town.engine.api.inspect_container(app.services[0].container)
    assert "0.0.0.0" in {b["HostIp"] for b in found["NetworkSettings"]["Ports"]["80/tcp"]}


def test_foreign_container_of_the_same_name_is_left_alone(town: Town) -> None:
    api, name = town.engine.api, f"accesslog-{town.namespace}"
    api.create_container("diamol/base", ["sleep", "60"], name=name)
    with pytest.raises(apps.NameTaken) as caught:
        town.up()
    assert f"docker rm -f {name}" in str(caught.value)
    assert town.resources() == [name]
    assert f"The container {name} was not made by stagelens: it is left alone." in town.down().skipped
    assert town.resources() == [name]


def test_foreign_network_of_the_same_name_is_used_and_left_alone(town: Town) -> None:
    town.engine.api.create_network(town.network)
    assert town.up().healthy
    removed = town.down()
    assert removed.network is None
    assert removed.skipped == (f"The network {town.network} was not made by stagelens: it is left alone.",)
    assert town.resources() == [town.network]


def test_network_in_use_by_a_foreign_container_is_left_and_reported(town: Town) -> None:
    town.up()
    api, guest = town.engine.api, f"guest-{town.namespace}"
    host = api.create_host_config(network_mode=town.network)
    api.start(api.create_container("diamol/base", ["sleep", "600"], name=guest, host_config=host))
    removed = town.down()
    assert removed.network is None
    assert len(removed.skipped) == 1
    assert town.resources() == sorted([guest, town.network])
    remove_container(api, guest)
    assert town.down().network == town.network


def test_service_that_ends_raises_its_last_log_lines_and_everything_is_removed(town: Town) -> None:
    api = town.engine.api
    tag = town.services[1].image + ":" + town.namespace
    town.up()
    town.down()
    broken = api.create_container(tag, ["sh", "-c", "echo no such luck; exit 3"], name=f"b-{town.namespace}")
    api.commit(broken, repository=f"sltest-broken:{town.namespace}")
    api.remove_container(broken)
    services = (town.services[0], replace(town.services[1], image="sltest-broken", context=None))
    with pytest.raises(apps.ServiceFailed, match="no such luck"):
        town.up(services=services, build=False)
    assert town.resources() == []


def test_missing_image_is_named(town: Town) -> None:
    with pytest.raises(apps.ImageMissing, match=f"sltest-town:{town.namespace}"):
        town.up(build=False)
    assert town.resources() == []


@pytest.mark.parametrize("phase", ["building", "making", "starting image-gallery", "waiting"])
def test_interrupt_leaves_nothing_behind(town: Town, phase: str) -> None:
    # Reports come in the calling thread, where an interrupt arrives, too.
    def interrupt(text: str) -> None:
        if text.startswith(phase):
            raise KeyboardInterrupt

    services = tuple(replace(service, health="/never") for service in town.services)
    with pytest.raises(KeyboardInterrupt):
        town.up(report=interrupt, services=services)
    assert town.resources() == []


def test_interrupt_while_the_worker_thread_starts_leaves_nothing_behind(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    workers: list[threading.Thread] = []

    def started(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith("stagelens-work"):
            workers.append(thread)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(threading.Thread, "start", started)
    with pytest.raises(KeyboardInterrupt):
        town.up()
    assert not [thread for thread in workers if thread.is_alive()]
    assert town.resources() == []


def test_interrupt_leaves_services_that_ran_before(town: Town) -> None:
    town.up()
    remove_container(town.engine.api, f"iotd-{town.namespace}")
    before = town.resources()

    def interrupt(text: str) -> None:
        if text.startswith("starting iotd"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        town.up(report=interrupt)
    assert town.resources() == before


def test_up_can_be_cancelled_from_another_thread(town: Town) -> None:
    cancel = Cancel()
    waiting = threading.Event()
    services = tuple(replace(service, health="/never") for service in town.services)
    thread = threading.Thread(target=lambda: waiting.wait(PATIENCE) and cancel())
    thread.start()
    with pytest.raises(BuildCancelled):
        town.up(
            services=services, cancel=cancel, report=lambda text: text.startswith("waiting") and waiting.set()
        )
    thread.join()
    assert town.resources() == []


SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from stagelens_course import apps
light = {"image": "sltest-town", "context": Path(sys.argv[2]), "health": "/never"}
services = [replace(spec, **light) for spec in apps.APPLICATIONS]
apps.up(namespace=sys.argv[1], services=services, report=lambda text: print(text, flush=True))
"""


@pytest.fixture
def program(town: Town) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SCRIPT, town.namespace, str(town.services[0].context)]
    environment = os.environ | {"DOCKER_HOST": town.engine.address}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.kill()


def test_ctrl_c_in_a_waiting_program_leaves_nothing(town: Town, program: subprocess.Popen[str]) -> None:
    assert program.stdout is not None
    # Earlier, the program may still wait for the engine, without the lock.
    assert any(line.startswith("waiting for iotd") for line in program.stdout)
    with pytest.raises(apps.AlreadyStarting):
        town.up()
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate()
    assert "KeyboardInterrupt" in errors
    assert town.resources() == []
    assert not (cache_dir() / f"up-{town.network}.lock").exists()
