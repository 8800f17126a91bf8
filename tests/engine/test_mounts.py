"""Which mounts below a private engine's folder belong to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagelens.engine.mountinfo import parse_mountinfo
from stagelens.engine.private import mounts

ROOT = "27 1 254:0 / / rw - ext4 /dev/vda rw"
ITSELF = "42 27 254:0 /e/data /e/data rw shared:1 - ext4 /dev/vda rw"
MERGED = "92 42 0:45 / /e/data/overlay2/id/merged rw - overlay overlay rw"
NETNS = "149 27 0:4 net:[1] /e/exec/netns/1 rw - nsfs nsfs rw"
OTHER = "50 27 0:9 / /elsewhere rw - tmpfs tmpfs rw"


def engine_mounts(*lines: str) -> list[str]:
    found = mounts.engine_mounts(
        parse_mountinfo("\n".join([ROOT, OTHER, *lines])), Path("/e/data"), Path("/e"), Path("/e/x")
    )
    return [mount.point for mount in found]


def test_mounts_of_dockerd_with_the_innermost_first() -> None:
    assert engine_mounts(ITSELF, MERGED, NETNS) == [
        "/e/exec/netns/1",
        "/e/data/overlay2/id/merged",
        "/e/data",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "60 27 8:16 / /e rw - ext4 /dev/sdb rw",
        "60 27 8:16 / /e/data rw - ext4 /dev/sdb rw",
        "60 27 254:0 /big/docker /e/data rw - ext4 /dev/vda rw",
        "60 27 8:16 / /e/data/overlay2 rw - ext4 /dev/sdb rw",
        "60 27 8:16 / /e/data/volumes/v/_data rw - ext4 /dev/sdb rw",
        "60 27 8:16 / /e/database rw - ext4 /dev/sdb rw",
    ],
)
def test_mount_of_somebody_else_stays(line: str) -> None:
    assert engine_mounts(line) == []


def test_last_mount_at_the_same_mountpoint_wins() -> None:
    disk = "60 27 8:16 / /e/data rw - ext4 /dev/sdb rw"
    itself = "61 60 8:16 / /e/data rw - ext4 /dev/sdb rw"
    assert engine_mounts(disk, itself, MERGED.replace("92 42", "92 61")) == [
        "/e/data/overlay2/id/merged",
        "/e/data",
    ]


def test_mount_below_a_mount_of_somebody_else_stays() -> None:
    volume = "93 42 8:16 / /e/data/volumes/v/_data rw - ext4 /dev/sdb rw"
    assert engine_mounts(ITSELF, MERGED, volume) == ["/e/data/overlay2/id/merged"]


def test_escaped_names() -> None:
    (_, _, mount) = parse_mountinfo(
        "\n".join([ROOT, OTHER, r"70 27 0:9 /a\040b /c\134d\012e rw - tmpfs t\011m rw"])
    )
    assert (mount.root, mount.point, mount.source) == ("/a b", "/c\\d\ne", "t\tm")
