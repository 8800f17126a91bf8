"""Parts of the private engine that need no engine: free subnets, limits and the log's error lines."""

from __future__ import annotations

import os
import shutil
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from stagelens_testing.resources import wait_until

from stagelens.engine import EngineLimits, start_blocker
from stagelens.engine.errors import EngineStartFailed
from stagelens.engine.private import limits, mounts
from stagelens.engine.private.diagnosis import error_lines, log_remedy
from stagelens.engine.private.network import choose_pool


def test_first_pool_without_an_overlapping_route() -> None:
    assert choose_pool([]) == IPv4Network("172.30.0.0/20")
    assert choose_pool([IPv4Network("172.30.3.0/24")]) == IPv4Network("172.30.16.0/20")
    assert choose_pool([IPv4Network("172.16.0.0/12")]) == IPv4Network("10.213.0.0/20")


def test_no_free_pool() -> None:
    taken = [IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    with pytest.raises(EngineStartFailed, match=r"172\.16\.0\.0/12"):
        choose_pool(taken)


def test_error_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('level=info msg="starting"\n' * 9 + 'level=error msg="the cause"\nlevel=info msg="bye"\n')
    assert error_lines(log) == 'level=error msg="the cause"'


def test_last_lines_of_a_log_without_errors(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\ntwo\nthree\nfour\n")
    assert error_lines(log, count=2) == "three\nfour"


def test_missing_log(tmp_path: Path) -> None:
    assert error_lines(tmp_path / "none") == ""
    assert log_remedy(tmp_path / "none") == "stagelens engine logs"


def test_control_characters_and_long_lines_are_removed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"failed \x1b[31m" + b"x" * 200_000 + b"\xff\nfailed again\n")
    text = error_lines(log)
    assert "\x1b" not in text
    assert len(text) < 2000


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("failed to start daemon: error initializing graphdriver: driver not supported", "overlay"),
        ("level=error msg=\"write /x: no space left on device\"", "disk"),
        ("failed to start daemon: Devices cgroup isn't mounted", "cgroup"),
        ("failed to mount overlay: operation not permitted", "--privileged"),
    ],
)  # fmt: skip
def test_known_causes_have_a_log_remedy(tmp_path: Path, line: str, word: str) -> None:
    log = tmp_path / "log"
    log.write_text(line + "\n")
    assert word in log_remedy(log)


def test_limits_in_both_versions_of_control_groups(tmp_path: Path) -> None:
    wanted = EngineLimits(memory=1024, pids=7, disk=4096, cpus=1.5)
    for version, files in {
        1: {
            "memory/x/memory.limit_in_bytes": "1024",
            "pids/x/pids.max": "7",
            "cpu/x/cpu.cfs_quota_us": "150000",
        },
        2: {
            "x/memory.max": "1024",
            "x/memory.swap.max": "0",
            "x/pids.max": "7",
            "x/cpu.max": "150000 100000",
        },
    }.items():
        root = tmp_path / str(version)
        for folder in ("memory", "pids", "cpu") if version == 1 else (".",):
            (root / folder).mkdir(parents=True)
        if version == 2:
            (root / "cgroup.controllers").write_text("memory pids cpu")
        limits.set_up_cgroup("x", wanted, root)
        assert {name: (root / name).read_text() for name in files} == files
    assert (tmp_path / "2/cgroup.subtree_control").read_text() == "+memory +pids +cpu"


@pytest.mark.skipif(
    start_blocker(limited=True) is not None, reason=f"no limited engine here: {start_blocker(limited=True)}"
)
def test_disk_is_created_again_after_a_crash(tmp_path: Path, unique: str) -> None:
    wanted = EngineLimits(memory=1 << 30, pids=10, disk=64 << 20)
    data, disk = tmp_path / "data", tmp_path / "data.img"

    def unmount() -> None:
        mounts.unmount_all(data, tmp_path / "run", disk)
        wait_until(lambda: not mounts.is_attached(disk), "the disk's unmount")

    try:
        limits.set_up(unique, tmp_path, wanted)
        (data / "stored").touch()
        # A copy of the mounted file is what a power cut leaves.
        os.sync()
        cut_short = shutil.copyfile(disk, tmp_path / "cut-short")
        unmount()
        limits.set_up(unique, tmp_path, wanted)
        assert (data / "stored").exists()
        unmount()
        cut_short.replace(disk)
        limits.set_up(unique, tmp_path, wanted)
        assert [entry.name for entry in data.iterdir()] == ["lost+found"]
    finally:
        unmount()
        limits.tear_down(unique)
