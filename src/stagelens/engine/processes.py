"""Processes and mounts of this machine, from /proc: what belongs to an engine that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from stagelens.engine.network import program

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


def end(pids: Iterable[int], seconds: float = 5.0) -> None:
    """Kill processes and all that they started, and wait until they are gone."""
    doomed = list(_with_children(set(pids)))
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + seconds
    while any(arguments(pid) for pid in doomed) and time.monotonic() < deadline:
        time.sleep(0.02)


def unmount_below(folder: Path) -> None:
    """Take away every mount below a folder, innermost first; a busy one goes when its last user does."""
    umount = program("umount")
    points = [_unescape(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    below = [point for point in points if Path(point).is_relative_to(folder)]
    for point in sorted(below, key=len, reverse=True):
        if umount:
            subprocess.run([umount, "--lazy", point], capture_output=True, check=False)


def _unescape(field: str) -> str:
    """Blank, tab, newline and backslash are octal in /proc/mounts (proc(5), fstab(5))."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


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
