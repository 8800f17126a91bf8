"""Grading on a real Dask cluster with a scheduler and two worker processes on this machine."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster
from distributed.comm import CommClosedError
from stagelens_testing.classroom import Classroom, grading_task, kernel_pids
from stagelens_testing.resources import PATIENCE, wait_until

from stagelens_course.classroom.runner import ClusterFailed, ClusterScheduler, GradingRun, cluster_scheduler

ENGINES = ("tcp://first.example:2375", "tcp://second.example:2375")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A scheduler with two worker processes; each has one thread and a different engine address."""
    settings = {"temporary-directory": str(tmp_path_factory.mktemp("dask"))}
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address="127.0.0.1:0") as local,
    ):
        usual = local.new_spec
        for count, engine in enumerate(ENGINES, 1):
            environment = {"STAGELENS_ENGINE": engine}
            local.new_spec = {**usual, "options": {**usual["options"], "env": environment}}
            local.scale(count)
            local.wait_for_workers(count, timeout=PATIENCE)
        yield local


@pytest.fixture
def address(local: LocalCluster, set_timeouts: Callable[..., None]) -> str:
    """The scheduler's address, after both workers are ready: an earlier test may have killed one."""
    set_timeouts(cluster_connect=PATIENCE)
    local.wait_for_workers(len(ENGINES), timeout=PATIENCE)
    return local.scheduler_address


def run(classroom: Classroom, address: str) -> None:
    GradingRun(
        classroom.submissions,
        classroom.exercise,
        classroom.out,
        ClusterScheduler(address),
        classroom.notebook,
        seconds=PATIENCE,
    ).run()


def test_tasks_of_a_dead_worker_are_graded_by_another(
    classroom: Classroom, address: str, tmp_path: Path
) -> None:
    before = kernel_pids()
    mark = tmp_path / "mark"
    names = {f"l{count}": "right" if count % 2 else "wrong" for count in range(8)}
    classroom.submit(ann=f"once {mark}", **names)
    classroom.submit(zoe="raise")
    killed: list[int] = []

    class KillingScheduler(ClusterScheduler):
        """Kills the worker that grades ann's submission, after the first result."""

        def run(self, tasks: Any) -> Any:
            with closing(super().run(tasks)) as outcomes:
                for outcome in outcomes:
                    if not killed:
                        wait_until(lambda: mark.exists() and mark.read_text(), "ann's grading")
                        killed.append(int(mark.read_text()))
                        os.kill(killed[0], signal.SIGKILL)
                    yield outcome

    scheduler = KillingScheduler(address)
    found = GradingRun(
        classroom.submissions,
        classroom.exercise,
        classroom.out,
        scheduler,
        classroom.notebook,
        seconds=PATIENCE,
    ).run()
    seen = [result.learner for result in found.results]
    assert len(killed) == 1
    assert sorted(seen) == sorted({"ann", "zoe", *names})
    earned = {name: row["earned"] for name, row in classroom.results().items()}
    assert earned == {
        "ann": 2.0,
        "zoe": None,
        **{name: 2.0 if words == "right" else 0.0 for name, words in names.items()},
    }
    wait_until(lambda: kernel_pids() <= before, "the end of the workers' kernels")


def test_submission_that_kills_every_worker_is_an_error(
    classroom: Classroom, tmp_path: Path, set_timeouts: Callable[..., None]
) -> None:
    set_timeouts(cluster_connect=PATIENCE)
    classroom.submit(ann="kill", bob="right", cid="right")
    # With one worker, the others always wait behind ann, so Dask drops all three.
    settings = {"temporary-directory": str(tmp_path), "distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as one,
    ):
        run(classroom, one.scheduler_address)
    found = classroom.results()
    assert {name: row["earned"] for name, row in found.items()} == {"ann": None, "bob": 2.0, "cid": 2.0}
    assert "every worker that graded it died" in found["ann"]["error"]


def test_result_that_is_lost_with_its_worker_is_computed_again(
    classroom: Classroom, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    completed, killed = cluster_scheduler._completed, list[int]()

    def kill_first_holder(client: Client, *arguments: Any) -> Iterator[Any]:
        """Kill the worker that has the first result before the result is transferred."""
        for future, task in completed(client, *arguments):
            if not killed:
                (worker,) = client.who_has([future])[future.key]
                killed.append(client.run(os.getpid, workers=[worker])[worker])
                os.kill(killed[0], signal.SIGKILL)
                wait_until(lambda f=future: f.status != "finished", "the loss of the result")
            yield future, task

    monkeypatch.setattr(cluster_scheduler, "_completed", kill_first_holder)
    classroom.submit(ann="right")
    run(classroom, address)
    assert classroom.results()["ann"]["earned"] == 2.0
    assert len(killed) == 1


def test_cluster_results_are_reused_by_a_second_run(classroom: Classroom, address: str) -> None:
    classroom.submit(ann="right", bob="wrong", cid="crash")
    run(classroom, address)
    first = classroom.results()
    assert {name: row["status"] for name, row in first.items()} == {
        "ann": "graded",
        "bob": "graded",
        "cid": "error",
    }
    run(classroom, address)
    assert classroom.results()["ann"] == first["ann"]


def test_each_worker_uses_the_engine_of_its_environment(
    classroom: Classroom, address: str, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    classroom.submit(ann=f"engine {here}", bob=f"engine {here}")
    tasks = [grading_task(classroom, name) for name in ("ann", "bob")]
    with closing(ClusterScheduler(address).run(tasks)) as outcomes:
        reports = [outcome.report for outcome in outcomes]
    assert {report.checks[0].seen for report in reports if report} == {f"engine {name}" for name in ENGINES}


def test_named_engine_is_used_by_all_workers(classroom: Classroom, address: str) -> None:
    classroom.submit(ann="engine", bob="engine")
    tasks = [
        replace(grading_task(classroom, name), engine="tcp://third.example:1") for name in ("ann", "bob")
    ]
    with closing(ClusterScheduler(address).run(tasks)) as outcomes:
        seen = {outcome.report.checks[0].seen for outcome in outcomes if outcome.report}
    assert seen == {"engine tcp://third.example:1"}


def test_closing_a_cluster_run_interrupts_its_tasks(
    classroom: Classroom, address: str, tmp_path: Path
) -> None:
    before = kernel_pids()
    mark = tmp_path / "mark"
    classroom.submit(ann="right", bob=f"wait {mark}")
    tasks = [grading_task(classroom, "ann"), grading_task(classroom, "bob")]
    with closing(ClusterScheduler(address).run(tasks)) as outcomes:
        assert next(outcomes).learner == "ann"
        wait_until(mark.exists, "bob's grading")
    wait_until(lambda: mark.read_text() == "cleaned", "the interrupt")
    wait_until(lambda: kernel_pids() <= before, "the end of the workers' kernels")


def test_runs_on_one_cluster_do_not_end_each_others_kernels(classroom: Classroom, address: str) -> None:
    names = [f"l{count}" for count in range(6)]
    classroom.submit(**dict.fromkeys(names, "right"))
    tasks = [grading_task(classroom, name) for name in names]
    with closing(ClusterScheduler(address).run(tasks)) as first:
        outcomes = [next(first)]
        with closing(ClusterScheduler(address).run(tasks[:1])) as second:
            assert [outcome.error for outcome in second] == [None]
        outcomes += first
    assert {outcome.learner: outcome.error for outcome in outcomes} == dict.fromkeys(names)


def test_worker_shutdown_at_the_end_of_a_run_does_not_affect_results(
    classroom: Classroom, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unregister, unregistered = Client.unregister_worker_plugin, list[str]()

    def unregister_and_fail(client: Client, name: str) -> None:
        unregister(client, name)
        unregistered.append(name)
        raise CommClosedError("a worker's connection is closed")

    monkeypatch.setattr(Client, "unregister_worker_plugin", unregister_and_fail)
    classroom.submit(ann="right")
    run(classroom, address)
    assert (classroom.results()["ann"]["earned"], len(unregistered)) == (2.0, 1)


def test_missing_scheduler_is_reported_with_the_command_to_start_one(
    classroom: Classroom, set_timeouts: Callable[..., None]
) -> None:
    set_timeouts(cluster_connect=1.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        unused = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        classroom.submit(ann="right")
        with pytest.raises(ClusterFailed, match="does not answer") as failure:
            run(classroom, unused)
    assert "dask scheduler" in str(failure.value)


def test_silent_server_is_reported_as_not_answering(
    classroom: Classroom, set_timeouts: Callable[..., None]
) -> None:
    set_timeouts(cluster_connect=1.0)
    classroom.submit(ann="right")
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ClusterFailed, match="does not answer"),
    ):
        run(classroom, f"tcp://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("address", ["foo", "tcp://", "docker://host:8786", "tcp://host:port"])
def test_invalid_scheduler_address_is_reported_at_once(
    classroom: Classroom, address: str, set_timeouts: Callable[..., None]
) -> None:
    # The address must be rejected before any connection attempt, which would fail with another error.
    set_timeouts(cluster_connect=-1.0)
    classroom.submit(ann="right")
    with pytest.raises(ClusterFailed, match="not one of a Dask scheduler"):
        run(classroom, address)
