"""Limits for all that a private engine runs together: build steps as well as containers.

`POST /build` with BuildKit takes no memory, pids, CPU or disk limit, so they are laid around the engine: a
control group that its containers and RUN steps are born in (daemon.json's cgroup-parent), and a file system
of a fixed size below its data folder.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from stagelens.concurrency import poll
from stagelens.engine import mounts
from stagelens.engine.errors import EngineStartFailed
from stagelens.engine.network import program

CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids", "cpu")
PROGRAMS = ("mkfs.ext4", "mount", "umount")
_SPARE = 2 * 1024**3
_STATE = 0x400 + 0x3A
_PERIOD = 100_000  # microseconds; what the kernel takes unless told


@dataclass(frozen=True, slots=True)
class Limits:
    """What everything on an engine may use together: bytes of memory and disk, processes, cores.

    cpus: how much of their time. cores: those of the machine, by number, that the engine's programs keep to,
    and with them all that they start; empty where they may use any.
    """

    memory: int
    pids: int
    disk: int
    cpus: float = 1.0
    cores: tuple[int, ...] = ()


def sensible(folder: Path, machine_memory: int, cpus: float, cores: tuple[int, ...] = ()) -> Limits:
    """Half of the memory; at most 24 GB of disk, and not the last 2 GB of what is free at `folder`.

    An engine's disk file that is there already keeps its size, since it is not made again.
    """
    free = shutil.disk_usage(folder).free
    return Limits(
        memory=max(machine_memory // 2, 1024**3),
        pids=1024,
        disk=max(min(24 * 1024**3, free - _SPARE), 4 * 1024**3),
        cpus=cpus,
        cores=cores,
    )


def missing() -> str | None:
    """None where limits can be laid around an engine here, else why not."""
    lacking = [name for name in PROGRAMS if program(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    return None if _version() else f"no control groups for {', '.join(CONTROLLERS)} here"


def set_up(name: str, folder: Path, limits: Limits) -> None:
    """Make the control group `name` and mount the disk at `folder/data`.

    Raises
    ------
    EngineStartFailed: the kernel, or a missing right, does not allow it.
    """
    with _told(folder):
        set_up_group(name, limits)
        _mount(folder / "data.img", folder / "data", limits.disk)


def change(name: str, folder: Path, limits: Limits) -> None:
    """Lay other limits around an engine that runs; its disk keeps its size. Raises as `set_up` does."""
    with _told(folder):
        set_up_group(name, limits)


@contextmanager
def _told(folder: Path) -> Generator[None]:
    try:
        yield
    except (OSError, subprocess.CalledProcessError) as error:
        why = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise EngineStartFailed(
            "The limits of the engine cannot be laid.",
            where=str(folder),
            why=why[-500:],
            remedy="run this as root outside of a container, or in one started with --privileged",
        ) from error


def set_up_group(name: str, limits: Limits, root: Path = CGROUPS) -> None:
    """Make the control group `name`, in either version that is mounted at `root`, or lay it anew.

    Raises
    ------
    OSError: the kernel does not allow it.
    """
    for path, value in _files(name, limits, root).items():
        path.parent.mkdir(exist_ok=True)
        # A kernel that does not count swap has no such file.
        with suppress(OSError) if path.name == "memory.swap.max" else nullcontext():
            path.write_text(value)


def tear_down(name: str, root: Path = CGROUPS) -> None:
    """Remove the control group with what an engine left below it; what is not there is no error."""
    # The engine makes folders of that name for every controller of version 1, ours among them.
    for top in (*root.glob(f"*/{name}"), root / name):
        for folder in sorted(top.rglob("*"), key=lambda p: len(p.parts), reverse=True):
            if folder.is_dir():
                _remove(folder)
        _remove(top)


def _files(name: str, limits: Limits, root: Path) -> dict[Path, str]:
    """The files that say the limits, in the order to write them: cgroup-v2 or v1 (kernel documentation)."""
    quota = round(limits.cpus * _PERIOD)
    if _version(root) == 2:
        return {
            root / "cgroup.subtree_control": " ".join(f"+{name}" for name in CONTROLLERS),
            root / name / "memory.max": str(limits.memory),
            root / name / "memory.swap.max": "0",
            root / name / "pids.max": str(limits.pids),
            root / name / "cpu.max": f"{quota} {_PERIOD}",
        }
    return {
        root / "memory" / name / "memory.limit_in_bytes": str(limits.memory),
        root / "pids" / name / "pids.max": str(limits.pids),
        root / "cpu" / name / "cpu.cfs_period_us": str(_PERIOD),
        root / "cpu" / name / "cpu.cfs_quota_us": str(quota),
    }


def _version(root: Path = CGROUPS) -> int | None:
    there = root / "cgroup.controllers"
    if there.is_file():
        return 2 if set(CONTROLLERS) <= set(there.read_text().split()) else None
    return 1 if all((root / name).is_dir() for name in CONTROLLERS) else None


def _mount(image: Path, folder: Path, size: int) -> None:
    """A sparse file with ext4 on it: takes the space that is used, and never more than its size.

    What is there can be made again, and is, after the machine went down with it: so nothing waits until it is
    on the disk for sure, which BuildKit asks for some three hundred times for a submission.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not image.is_file() or _broken_off(image):
        new = image.with_suffix(".new")
        with new.open("wb") as file:
            file.truncate(size)
        _run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1", str(new))
        new.rename(image)
    _run("mount", "-o", "loop,noatime,barrier=0", str(image), str(folder))


def _broken_off(image: Path) -> bool:
    """Whether nobody has it mounted and nobody unmounted it: s_state in ext4's superblock."""
    with image.open("rb") as file:
        file.seek(_STATE)
        unmounted = bool(int.from_bytes(file.read(2), "little") & 1)
    return not unmounted and not mounts.is_attached(image)


def _run(name: str, *arguments: str) -> None:
    path = program(name)
    if path is None:
        raise EngineStartFailed(f"The program {name} is missing.", remedy="apt-get install e2fsprogs mount")
    subprocess.run([path, *arguments], capture_output=True, text=True, check=True)


def _remove(folder: Path) -> None:
    """A control group's folder goes once its last process has gone, which may take a moment."""
    for _ in poll(5.0, 0.05):
        if not folder.is_dir():
            return
        with suppress(OSError):
            folder.rmdir()
            return
