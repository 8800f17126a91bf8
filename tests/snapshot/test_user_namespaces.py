"""Files have the owners of the image, also where the engine maps them to other users."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from stagelens_testing import packages
from stagelens_testing.engines import copy_image, engine_26

import stagelens
from stagelens.engine import Engine


@pytest.fixture(scope="module")
def remapped(engine: Engine) -> Iterator[Engine]:
    """An engine with `userns-remap`, which Engine 26 does not have with containerd's store."""
    if reason := packages.unavailable_reason():
        pytest.skip(reason)
    with engine_26(containerd=False, remap=True) as found:
        copy_image(engine, found, "diamol/base")
        yield found


@pytest.mark.engine
@pytest.mark.skipif(not Path("/etc/subuid").exists(), reason="/etc/subuid, which the package passwd has")
def test_owners_are_those_of_the_image(remapped: Engine, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1")
    (tmp_path / "Dockerfile").write_text(
        "FROM diamol/base\nRUN mkdir -p /made/deep && echo 1 >/made/deep/g\n"
        "COPY --chown=7:8 f /copied/f\nRUN touch /made/last\n"
    )
    assert os.geteuid() == 0, "only root can read the layers, which is what this test is about"
    explored = stagelens.explore(tmp_path, engine=remapped, cache_folder=tmp_path / "cache")
    stage = explored.stages[0]
    owners = {path: stage.final.get(path) for path in ("made", "made/deep/g", "made/last", "copied/f", "bin")}
    assert {path: (entry.uid, entry.gid) for path, entry in owners.items() if entry} == {
        "made": (0, 0),
        "made/deep/g": (0, 0),
        "made/last": (0, 0),
        "copied/f": (7, 8),
        "bin": (0, 0),
    }
