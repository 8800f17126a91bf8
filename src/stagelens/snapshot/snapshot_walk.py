"""The files of many snapshots of one build, each file listed once.

Snapshots are overlays of layers, and what a layer stands on never changes. A folder has the inode of the
uppermost layer that has it, so with the same inode in two snapshots it is the same folder, and so is all
below it. If several layers have a folder, the kernel reports one link; a folder of one layer has two and
more. One case differs: a layer that is mounted as the upper directory gives its merged folders the inodes
that they have below it (ovl_getattr in fs/overlayfs/inode.c). So beside the snapshot before it, a snapshot is
walked only where a layer has changed it, and no cost grows with what a step left unchanged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from stagelens.snapshot.listing import Folder, ListingError, Rows
from stagelens.snapshot.table import FileTable

# One job of the lister for so many folders at most, so that its workers share them.
_FOLDERS_A_JOB = 64


class Lister(Protocol):
    """Lists folders of snapshots, which are identified by numbers; for several threads at once.

    Folders are given by their keys. The keys of rows begin with the snapshot's number as a part.
    """

    def contents(self, folders: Sequence[tuple[int, bytes]]) -> Rows:
        """List what is directly in folders of snapshots."""
        ...

    def trees(self, number: int, folders: Mapping[bytes, Folder | None]) -> Rows:
        """List everything below folders of one snapshot, given with their facts; the root is b""."""
        ...


@dataclass(slots=True)
class SnapshotListing:
    """A listing of one snapshot.

    Attributes
    ----------
    rows
        The files that were listed.
    same
        The keys of folders that are the same as in the snapshot before, with all below them.
    """

    rows: Rows = field(default_factory=Rows)
    same: list[bytes] = field(default_factory=list[bytes])


def walk_snapshots(
    lister: Lister,
    workers: Executor,
    wanted: Mapping[int, int | None],
    uppers: Container[int] = (),
) -> dict[int, SnapshotListing]:
    """List snapshots.

    Parameters
    ----------
    lister
        Lists the folders.
    workers
        Run the listings of whole trees.
    wanted
        For each snapshot to list the snapshot before it, None if that is unknown.
    uppers
        The snapshots that are mounted with their own layer as the upper directory.

    Returns
    -------
    dict
        The listing of each snapshot.

    Raises
    ------
    ListingError
        If a listing is not consistent.
    """
    found = {number: SnapshotListing() for number in wanted}
    jobs: list[tuple[int, Future[Rows]]] = []
    whole = {number: {b"": None} for number, before in wanted.items() if before is None}
    frontier = [(number, b"") for number, before in wanted.items() if before is not None]
    while whole or frontier:
        new, frontier = _step(lister, wanted, found, frontier, uppers) if frontier else ({}, [])
        # After the first round: it may show the lister what it needs to list whole snapshots.
        jobs += _jobs(lister, workers, whole | new)
        whole = {}
    _take_in(found, jobs)
    return found


def make_tables(
    listed: Mapping[int, SnapshotListing], wanted: Mapping[int, int | None], known: Mapping[int, FileTable]
) -> dict[int, FileTable]:
    """Make the tables of snapshots from their listings.

    Parameters
    ----------
    listed
        The listings.
    wanted
        For each snapshot the snapshot before it, which is among `known` or comes earlier here.
    known
        Tables of other snapshots.

    Returns
    -------
    dict
        The table of each snapshot in `wanted`.

    Raises
    ------
    ListingError
        If the listings are not consistent.
    """
    tables = dict(known)
    for number, before in wanted.items():
        table = listed[number].rows.table()
        tables[number] = tables[before].patched(listed[number].same, table) if before is not None else table
    return {number: tables[number] for number in wanted}


def _step(
    lister: Lister,
    wanted: Mapping[int, int | None],
    found: Mapping[int, SnapshotListing],
    frontier: Sequence[tuple[int, bytes]],
    uppers: Container[int],
) -> tuple[dict[int, dict[bytes, Folder | None]], list[tuple[int, bytes]]]:
    """List the folders of `frontier`, each beside itself in the snapshot before.

    Returns the folders below them that are new, and those that are to be compared next.
    """
    beside = [(before, key) for number, key in frontier if (before := wanted[number]) is not None]
    rows = lister.contents(list(dict.fromkeys([*frontier, *beside])))
    contents: defaultdict[tuple[int, bytes], list[tuple[int, bytes]]] = defaultdict(list)
    for row, key in enumerate(rows.keys):
        number, own = _split(key)
        contents[number, own.rpartition(b"\0")[0]].append((row, own))
    new: defaultdict[int, dict[bytes, Folder | None]] = defaultdict(dict)
    merged: list[tuple[int, bytes]] = []
    for number, parent in frontier:
        before = _folders(rows, contents[wanted[number] or 0, parent])
        here = contents[number, parent]
        for row, key in here:
            found[number].rows.add(rows, row, key)
        for key, folder in _folders(rows, here).items():
            if folder == before.get(key) and (folder.links > 1 or number not in uppers):
                found[number].same.append(key)
            elif key in before and folder.links == 1:
                merged.append((number, key))
            else:
                new[number][key] = folder
    return new, merged


def _folders(rows: Rows, contents: Iterable[tuple[int, bytes]]) -> dict[bytes, Folder]:
    return {key: rows.folders[rows.keys[row]] for row, key in contents if rows.keys[row] in rows.folders}


def _jobs(
    lister: Lister, workers: Executor, new: Mapping[int, Mapping[bytes, Folder | None]]
) -> list[tuple[int, Future[Rows]]]:
    """Start jobs that list everything below the folders that are new in each snapshot."""
    jobs: list[tuple[int, Future[Rows]]] = []
    for number, folders in new.items():
        left = iter(folders.items())
        while some := dict(islice(left, _FOLDERS_A_JOB)):
            jobs.append((number, workers.submit(lister.trees, number, some)))
    return jobs


def _take_in(found: Mapping[int, SnapshotListing], jobs: Iterable[tuple[int, Future[Rows]]]) -> None:
    """Add the rows of finished jobs to the listings."""
    for number, job in jobs:
        rows = job.result()
        prefix = b"%d\0" % number
        if not all(key.startswith(prefix) for key in rows.keys):
            raise ListingError("A listing is of another snapshot than was asked for.")
        start = len(prefix)
        rows.keys = [key[start:] for key in rows.keys]
        rows.folders = {}  # nothing is compared with them
        found[number].rows.extend(rows)


def _split(key: bytes) -> tuple[int, bytes]:
    """Split a key into the snapshot's number and the key in it."""
    number, _, own = key.partition(b"\0")
    return int(number), own
