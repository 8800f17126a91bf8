"""Limits for everything that a private engine runs: build steps and containers together.

With BuildKit, `POST /build` accepts no memory, pids, CPU or disk limit, so the limits apply to the engine:
its containers and RUN steps start in a control group (daemon.json's cgroup-parent), and its data folder is a
file system of a fixed size.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from stagelens.concurrency import poll
from stagelens.engine.errors import EngineStartFailed
from stagelens.engine.private import mounts
from stagelens.engine.private.network import find_program

CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids", "cpu")
PROGRAMS = ("mkfs.ext4", "mount", "umount")
_RESERVED_BYTES = 2 * 1024**3
_EXT4_STATE_OFFSET = 0x400 + 0x3A
_PERIOD = 100_000  # microseconds, the kernel's default


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What everything on an engine may use together.

    Attributes
    ----------
    memory
        Bytes of memory.
    pids
        The number of processes and threads.
    disk
        Bytes of disk.
    cpus
        How many cores' time.
    cores
        The numbers of the machine's cores that the engine, and all that it starts, is pinned to; empty for
        all.
    """

    memory: int
    pids: int
    disk: int
    cpus: float = 1.0
    cores: tuple[int, ...] = ()


def default_limits(
    folder: Path, machine_memory: int, cpus: float, cores: tuple[int, ...] = ()
) -> EngineLimits:
    """Return half of the memory and at most 24 GB of disk, leaving 2 GB of free space.

    An engine's existing disk file keeps its size, since it is not created again.

    Parameters
    ----------
    folder
        The engine's folder.
    machine_memory
        The machine's memory in bytes.
    cpus
        How many cores' time the engine may use.
    cores
        The cores that the engine is pinned to.

    Returns
    -------
    EngineLimits
        The limits.
    """
    free = shutil.disk_usage(folder).free
    return EngineLimits(
        memory=max(machine_memory // 2, 1024**3),
        pids=1024,
        disk=max(min(24 * 1024**3, free - _RESERVED_BYTES), 4 * 1024**3),
        cpus=cpus,
        cores=cores,
    )


def limits_blocker() -> str | None:
    """Return why an engine cannot be limited here, or None if it can."""
    lacking = [name for name in PROGRAMS if find_program(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    return None if _version() else f"no control groups for {', '.join(CONTROLLERS)} here"


def set_up(name: str, folder: Path, limits: EngineLimits) -> None:
    """Create the control group and mount the disk at `folder/data`.

    Parameters
    ----------
    name
        The name of the control group.
    folder
        The engine's folder.
    limits
        The limits.

    Raises
    ------
    EngineStartFailed
        If the kernel refuses, or permissions are missing.
    """
    with _start_errors(folder):
        set_up_cgroup(name, limits)
        _mount(folder / "data.img", folder / "data", limits.disk)


def update(name: str, folder: Path, limits: EngineLimits) -> None:
    """Change the limits of a running engine; its disk keeps its size.

    Parameters
    ----------
    name
        The name of the control group.
    folder
        The engine's folder.
    limits
        The new limits.

    Raises
    ------
    EngineStartFailed
        If the kernel refuses, or permissions are missing.
    """
    with _start_errors(folder):
        set_up_cgroup(name, limits)


@contextmanager
def _start_errors(folder: Path) -> Generator[None]:
    try:
        yield
    except (OSError, subprocess.CalledProcessError) as error:
        why = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise EngineStartFailed(
            "The limits of the engine cannot be set.",
            where=str(folder),
            why=why[-500:],
            remedy="run this as root outside of a container, or in one started with --privileged",
        ) from error


def set_up_cgroup(name: str, limits: EngineLimits, root: Path = CGROUPS) -> None:
    """Create a control group, or change the limits of an existing one.

    Parameters
    ----------
    name
        The name of the control group.
    limits
        The limits.
    root
        Where control groups of version 1 or 2 are mounted.

    Raises
    ------
    OSError
        If the kernel refuses.
    """
    for path, value in _files(name, limits, root).items():
        path.parent.mkdir(exist_ok=True)
        # A kernel without swap accounting has no such file.
        with suppress(OSError) if path.name == "memory.swap.max" else nullcontext():
            path.write_text(value)


def tear_down(name: str, root: Path = CGROUPS) -> None:
    """Remove a control group with what an engine left below it; a missing one is no error.

    Parameters
    ----------
    name
        The name of the control group.
    root
        Where control groups are mounted.
    """
    # With version 1, the engine creates folders of that name for all controllers, not only for CONTROLLERS.
    for top in (*root.glob(f"*/{name}"), root / name):
        for folder in sorted(top.rglob("*"), key=lambda p: len(p.parts), reverse=True):
            if folder.is_dir():
                _remove(folder)
        _remove(top)


def _files(name: str, limits: EngineLimits, root: Path) -> dict[Path, str]:
    """Return the files that set the limits, in writing order (kernel documentation: cgroup-v2, cgroup-v1)."""
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
    controllers = root / "cgroup.controllers"
    if controllers.is_file():
        return 2 if set(CONTROLLERS) <= set(controllers.read_text().split()) else None
    return 1 if all((root / name).is_dir() for name in CONTROLLERS) else None


def _mount(image: Path, folder: Path, size: int) -> None:
    """Mount a sparse file with ext4, which takes the space in use, and never more than its size.

    Its content can be created again, and is after a crash of the machine. So writes do not wait until the
    data is on the disk for certain, which BuildKit requests some three hundred times for a submission.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not image.is_file() or _is_unclean(image):
        new = image.with_suffix(".new")
        with new.open("wb") as file:
            file.truncate(size)
        _run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1", str(new))
        new.rename(image)
    _run("mount", "-o", "loop,noatime,barrier=0", str(image), str(folder))


def _is_unclean(image: Path) -> bool:
    """Return whether the file system is not mounted and was not unmounted (s_state in ext4's superblock)."""
    with image.open("rb") as file:
        file.seek(_EXT4_STATE_OFFSET)
        unmounted = bool(int.from_bytes(file.read(2), "little") & 1)
    return not unmounted and not mounts.is_attached(image)


def _run(name: str, *arguments: str) -> None:
    path = find_program(name)
    if path is None:
        raise EngineStartFailed(f"The program {name} is missing.", remedy="apt-get install e2fsprogs mount")
    subprocess.run([path, *arguments], capture_output=True, text=True, check=True)


def _remove(folder: Path) -> None:
    """Remove a control group's folder, which is possible once its last process has gone."""
    for _ in poll(5.0, 0.05):
        if not folder.is_dir():
            return
        with suppress(OSError):
            folder.rmdir()
            return
