"""Processes of this machine that belong to an engine, found in /proc."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from stagelens.concurrency import poll

_ROUNDS = 3
_HELPERS = frozenset({"containerd", "containerd-shim", "containerd-shim-runc-v2", "docker-proxy"})


def command_line(pid: int) -> list[str]:
    """Return a process's command line; empty if the process does not exist or is a zombie."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(part) for part in raw.split(b"\0")[:-1]]


def helper_processes(run_dir: Path, namespace: str) -> Iterator[int]:
    """Find containerd, shims and proxies of an engine.

    Parameters
    ----------
    run_dir
        The folder of the engine's sockets.
    namespace
        Its containerd namespace.

    Yields
    ------
    int
        Process ids.
    """
    inside = f"{run_dir}/exec/"
    for pid in _all_pids():
        command = command_line(pid)
        if command and Path(command[0]).name in _HELPERS:
            matches = any(part.startswith(inside) for part in command)
            if matches or ("-namespace", namespace) in pairwise(command):
                yield pid


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes and their descendants, and wait at least 5 seconds until they are gone."""
    doomed = list(_with_descendants(set(pids)))
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for _ in poll(5.0, 0.02):
        if not any(command_line(pid) for pid in doomed):
            break


def pin_to_cores(pids: Iterable[int], cores: Iterable[int]) -> None:
    """Restrict processes, and what they start from now on, to some cores, if the system allows it.

    Parameters
    ----------
    pids
        The processes, with all their threads.
    cores
        The numbers of the cores.
    """
    wanted = set(cores)
    for pid in pids:
        # A thread that is not pinned yet may start another one meanwhile.
        for _ in range(_ROUNDS):
            for thread in _threads(pid):
                with suppress(OSError):
                    os.sched_setaffinity(thread, wanted)


def _threads(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    return []


def _all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _parent(pid: int) -> int:
    try:
        # The name in parentheses may contain anything; the parent is the second field after it (proc(5)).
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _with_descendants(pids: set[int]) -> set[int]:
    parents = {pid: _parent(pid) for pid in _all_pids()}
    found, fresh = set(pids), set(pids)
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found
