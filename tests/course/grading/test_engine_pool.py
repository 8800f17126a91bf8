"""Dedicated grading engines: they have limits and the base images, and stopping them leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stagelens import engine as engines
from stagelens.engine import Engine
from stagelens.engine.private.limits import CGROUPS
from stagelens_course.grading import engine_pool

SHARE = {"cpu.max": "50000 100000", "cpu.cfs_quota_us": "50000"}
SCRIPT = """
import json, os
from stagelens import engine
from stagelens_course.grading import engine_pool
from stagelens_course.grading.submission_probe import EXPIRY_LABEL, LABEL

def cores():
    pids = {one.address: one.pid() for one in engine.grading_engines()}
    return [sorted(os.sched_getaffinity(pids[address])) for address in addresses]

def seen(address):
    api = engine.connect(address).api
    name = api.create_container("diamol/base", ["grep", "Cpus_allowed_list", "/proc/self/status"])["Id"]
    api.start(name)
    api.wait(name)
    cores = api.logs(name).decode().split()[-1]
    api.remove_container(name)
    return cores

with engine_pool.lease_engines(["diamol/base"], engine_pool.DEDICATED, workers=2, cpus=0.5) as addresses:
    facts = [engine.connect(a).api.inspect_image("diamol/base")["Id"] for a in addresses]
    used = [cores(), [*map(seen, addresses)]]
    with engine_pool.lease_engines(["diamol/base"], engine_pool.DEDICATED) as others:
        pass
api = engine.connect(addresses[0]).api
api.create_container("diamol/base", "true", labels={LABEL: "killed", EXPIRY_LABEL: "99999999999"})
with engine_pool.lease_engines(["diamol/base"], engine_pool.DEDICATED, cpus=0.5) as again:
    left = api.containers(all=True)
    used.append(cores()[0])
print(json.dumps([addresses, facts, engine_pool.isolation_warning(addresses), others, [again, left], used]))
"""


@pytest.mark.engine
@pytest.mark.skipif(
    engines.start_blocker(limited=True) is not None,
    reason=f"no limited engine can start here: {engines.start_blocker(limited=True)}",
)
def test_each_worker_gets_a_limited_engine_with_the_images(engine: Engine, unique: str) -> None:
    subprocess.run(["ip", "netns", "add", unique], check=True)
    with tempfile.TemporaryDirectory(prefix="sl-") as home:
        environment = os.environ | {"STAGELENS_HOME": home, "DOCKER_HOST": engine.address}
        inside = ["nsenter", f"--net=/run/netns/{unique}", sys.executable]

        def run(*arguments: str) -> str:
            done = subprocess.run(
                [*inside, *arguments], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        try:
            printed = json.loads(run("-c", SCRIPT).splitlines()[-1])
            addresses, found, warning, others, after, used = printed
            assert len({*addresses, *others}) == 3, "concurrent graders share no engine"
            assert found == [engine.api.inspect_image("diamol/base")["Id"]] * 2
            assert warning is None
            assert after == [addresses[:1], []], "an engine is reused without what a killed grader left"
            folders = [Path(address.removeprefix("unix://")).parent for address in addresses]
            names = [json.loads((f / "daemon.json").read_text())["cgroup-parent"].strip("/") for f in folders]
            limits = [path for name in names for path in CGROUPS.rglob(f"{name}/pids.max")]
            assert [path.read_text().strip() for path in limits] == ["1024"] * 2
            shares = [p for name in names for p in CGROUPS.rglob(f"{name}/cpu.*") if p.name in SHARE]
            assert [SHARE[path.name] for path in shares] == [path.read_text().strip() for path in shares]
            assert len(shares) == 2
            available = sorted(os.sched_getaffinity(0))
            if len(available) == 2:
                assert used[0] == [available[:1], available[1:]], "each worker's engine uses one core"
                assert used[1] == [str(core) for core in available], "and so do its containers"
            assert used[2] == available, "a single worker's engine uses all cores"
        finally:
            run("-m", "stagelens_course", "engine", "stop", "--grading")
            subprocess.run(["ip", "netns", "delete", unique], check=True)
        assert home not in Path("/proc/self/mounts").read_text()
        assert not [path for name in names for path in CGROUPS.rglob(name)]


@pytest.mark.parametrize(
    ("workers", "cpus", "shares"),
    [
        (1, 1.0, [()]),
        (2, 1.0, [(2, 3), (5, 6, 7)]),
        (3, 1.0, [(2,), (3, 5), (6, 7)]),
        (2, 2.5, [(), ()]),
        (6, 0.5, [()] * 6),
    ],
)
def test_cores_are_divided_if_each_worker_gets_enough(
    monkeypatch: pytest.MonkeyPatch, workers: int, cpus: float, shares: list[tuple[int, ...]]
) -> None:
    def usable(process: int) -> set[int]:
        return {7, 6, 5, 3, 2}

    monkeypatch.setattr(os, "sched_getaffinity", usable)
    assert engine_pool.partition_cores(workers, cpus) == shares


def test_more_workers_than_cores_are_reported() -> None:
    assert engine_pool.oversubscription_warning(2, 1.0, 2) is None
    assert "--workers 1" in str(engine_pool.oversubscription_warning(2, 1.5, 2))


@pytest.mark.engine
def test_given_engine_is_used_with_a_warning_about_its_missing_limits(engine: Engine) -> None:
    with engine_pool.lease_engines(["diamol/base"], engine.address, workers=2) as addresses:
        assert addresses == (engine.address,) * 2
    assert "no limits" in str(engine_pool.isolation_warning(addresses))
