"""Processes of this machine, from /proc: what belongs to an engine that is gone."""

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


def arguments(pid: int) -> list[str]:
    """A process's command line; empty where there is no such process, or it is a zombie."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(part) for part in raw.split(b"\0")[:-1]]


def helpers_of(run: Path, namespace: str) -> Iterator[int]:
    """containerd and shims that work for the engine with this run folder or containerd namespace."""
    inside = f"{run}/exec/"
    for pid in _all():
        command = arguments(pid)
        if command and Path(command[0]).name in _HELPERS:
            ours = any(part.startswith(inside) for part in command)
            if ours or ("-namespace", namespace) in pairwise(command):
                yield pid


def end(pids: Iterable[int]) -> None:
    """Kill processes and all that they started, and wait until they are gone, for 5 seconds at least."""
    doomed = list(_with_children(set(pids)))
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for _ in poll(5.0, 0.02):
        if not any(arguments(pid) for pid in doomed):
            break


def keep_to(pids: Iterable[int], cores: Iterable[int]) -> None:
    """Let processes, and what they start from now on, run on these cores alone, if the system allows it."""
    wanted = set(cores)
    for pid in pids:
        # A thread that was not moved yet may begin another one meanwhile.
        for _ in range(_ROUNDS):
            for thread in _threads(pid):
                with suppress(OSError):
                    os.sched_setaffinity(thread, wanted)


def _threads(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    return []


def _all() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _parent(pid: int) -> int:
    try:
        # The name in parentheses may hold anything; the parent is the second field after its end (proc(5)).
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _with_children(pids: set[int]) -> set[int]:
    parents = {pid: _parent(pid) for pid in _all()}
    found, fresh = set(pids), set(pids)
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found
