"""Which mounts below a private engine's folder are its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagelens.engine import mounts

ROOT = "27 1 254:0 / / rw - ext4 /dev/vda rw"
ITSELF = "42 27 254:0 /e/data /e/data rw shared:1 - ext4 /dev/vda rw"
MERGED = "92 42 0:45 / /e/data/overlay2/id/merged rw - overlay overlay rw"
NETNS = "149 27 0:4 net:[1] /e/exec/netns/1 rw - nsfs nsfs rw"
OTHER = "50 27 0:9 / /elsewhere rw - tmpfs tmpfs rw"


def own(*lines: str) -> list[str]:
    found = mounts.own(
        mounts.read("\n".join([ROOT, OTHER, *lines])), Path("/e/data"), Path("/e"), Path("/e/x")
    )
    return [mount.point for mount in found]


def test_all_that_dockerd_mounted_is_its_own_the_innermost_first() -> None:
    assert own(ITSELF, MERGED, NETNS) == ["/e/exec/netns/1", "/e/data/overlay2/id/merged", "/e/data"]


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
def test_a_disk_that_somebody_mounted_stays(line: str) -> None:
    assert own(line) == []


def test_of_two_at_one_place_dockerds_goes() -> None:
    disk = "60 27 8:16 / /e/data rw - ext4 /dev/sdb rw"
    itself = "61 60 8:16 / /e/data rw - ext4 /dev/sdb rw"
    assert own(disk, itself, MERGED.replace("92 42", "92 61")) == ["/e/data/overlay2/id/merged", "/e/data"]


def test_what_holds_somebodys_disk_is_not_taken_from_below_it() -> None:
    volume = "93 42 8:16 / /e/data/volumes/v/_data rw - ext4 /dev/sdb rw"
    assert own(ITSELF, MERGED, volume) == ["/e/data/overlay2/id/merged"]


def test_a_name_with_blanks_is_found() -> None:
    (_, _, mount) = mounts.read(
        "\n".join([ROOT, OTHER, r"70 27 0:9 /a\040b /c\134d\012e rw - tmpfs t\011m rw"])
    )
    assert (mount.root, mount.point, mount.source) == ("/a b", "/c\\d\ne", "t\tm")
