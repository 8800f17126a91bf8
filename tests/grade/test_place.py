"""Engines of the grader's own: started with limits, given the base images, stopped with nothing left."""

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
from stagelens.engine.limits import CGROUPS
from stagelens.grade import place

SCRIPT = """
import json
from stagelens import engine
from stagelens.grade import place
addresses = place.places(["diamol/base"], place.OWN, workers=2)
facts = [engine.connect(a).api.inspect_image("diamol/base")["Id"] for a in addresses]
print(json.dumps([addresses, facts, place.unlimited(addresses)]))
"""


@pytest.mark.engine
@pytest.mark.skipif(
    engines.can_start(limited=True) is not None,
    reason=f"no limited engine can start here: {engines.can_start(limited=True)}",
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
            addresses, found, warning = json.loads(run("-c", SCRIPT).splitlines()[-1])
            assert len(set(addresses)) == 2
            assert found == [engine.api.inspect_image("diamol/base")["Id"]] * 2
            assert warning is None
            folders = [Path(address.removeprefix("unix://")).parent for address in addresses]
            names = [json.loads((f / "daemon.json").read_text())["cgroup-parent"].strip("/") for f in folders]
            limits = [path for name in names for path in CGROUPS.rglob(f"{name}/pids.max")]
            assert [path.read_text().strip() for path in limits] == ["1024"] * 2
        finally:
            run("-m", "stagelens.cli", "engine", "stop", "--grading")
            subprocess.run(["ip", "netns", "delete", unique], check=True)
        assert home not in Path("/proc/self/mounts").read_text()
        assert not [path for name in names for path in CGROUPS.rglob(name)]


@pytest.mark.engine
def test_an_engine_that_is_named_is_used_and_its_lack_of_limits_told(engine: Engine) -> None:
    addresses = place.places(["diamol/base"], engine.address, workers=2)
    assert addresses == (engine.address,) * 2
    assert "no limits" in str(place.unlimited(addresses))
