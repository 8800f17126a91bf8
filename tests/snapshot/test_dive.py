"""Wasted bytes and efficiency are those that dive itself tells of the same images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import stagelens
from stagelens.engine import Engine
from stagelens.paths import cache_dir
from stagelens.snapshot.layers import read_layers

pytestmark = [pytest.mark.engine, pytest.mark.network]

ROOT = Path(__file__).parents[2]
# Files that are stored again, removed as files and as a folder, changed in mode alone, and linked.
WASTEFUL = r"""FROM diamol/base
RUN mkdir -p /opt/app/data && head -c 300000 /dev/zero > /opt/app/data/big && echo v1 > /opt/app/version
RUN rm /opt/app/data/big && echo v22 > /opt/app/version && ln /bin/busybox /opt/busybox
RUN chmod 600 /opt/app/version && mkdir /opt/tmp && head -c 5000 /dev/zero > /opt/tmp/a && touch /opt/tmp/b
RUN rm -r /opt/tmp && echo more >> /etc/passwd
"""


@pytest.fixture(scope="module")
def dive() -> Path:
    """dive, built from its module and kept; it is not packaged otherwise."""
    program = cache_dir() / "dive" / "dive"
    go = shutil.which("go")
    if not program.exists():
        if go is None:
            pytest.skip("dive is built with Go, which is not here")
        module = "github.com/wagoodman/dive/cmd/dive@latest"
        environment = os.environ | {"GOBIN": str(program.parent)}
        subprocess.run([go, "install", module], env=environment, check=True, capture_output=True)
    return program


def figures(dive: Path, engine: Engine, image: str, folder: Path) -> dict[str, Any]:
    out = folder / "dive.json"
    environment = os.environ | {"DOCKER_HOST": engine.address}
    command = [str(dive), "--json", str(out), image]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return json.loads(out.read_bytes())["image"]


@pytest.mark.parametrize("project", ["chapter", "wasteful", "diamol/golang"])
def test_dive_tells_the_same(
    project: str, dive: Path, engine: Engine, unique: str, clean: object, tmp_path: Path
) -> None:
    image = project
    if "/" not in project:
        (tmp_path / "Dockerfile").write_text(WASTEFUL)
        context = ROOT / "ch04/exercises/multi-stage" if project == "chapter" else tmp_path
        image = f"{unique}-{project}"
        stagelens.build(context, tags=[image], engine=engine)
    told = figures(dive, engine, image, tmp_path)
    ours = read_layers(engine.api, image, cache_dir() / "layers")
    assert ours.wasted == told["inefficientBytes"]
    assert ours.efficiency == pytest.approx(told["efficiencyScore"], abs=1e-12)
    assert sum(layer.size for layer in ours.layers) == told["sizeBytes"]
    repeated = {f"/{waste.path}": (waste.times, waste.size) for waste in ours.waste if waste.size}
    listed = {row["file"]: (row["count"], row["sizeBytes"]) for row in told["fileReference"]}
    assert repeated == {path: row for path, row in listed.items() if row[1]}
