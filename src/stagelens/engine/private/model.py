"""A private engine's files and settings, and which private engines there are."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from stagelens.engine.private import processes
from stagelens.engine.private.limits import EngineLimits, default_limits
from stagelens.paths import state_dir

# A Unix socket's path has at most 107 bytes; the longest one is
# run_dir/exec/containerd/containerd.sock.ttrpc.
_LONGEST_FOLDER = 60


@dataclass(frozen=True, slots=True)
class PrivateEngine:
    """The files and settings of a private engine.

    Attributes
    ----------
    folder
        The folder of its data, log and configuration.
    limits
        What everything on the engine may use together, or None.
    offline
        Whether the engine itself fetches nothing: no images, and no URLs that an ADD names. Its containers
        and RUN steps are not affected.
    """

    folder: Path
    limits: EngineLimits | None = None
    offline: bool = False

    @property
    def name(self) -> str:
        """The name of its bridge, firewall chain and containerd namespace: 15 characters, one per folder."""
        return "stagelens" + hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:6]

    @property
    def run_dir(self) -> Path:
        """The folder of its sockets: `folder`, or one below /run if that path is too long for a socket."""
        long = len(os.fsencode(self.folder)) > _LONGEST_FOLDER
        return Path("/run") / self.name if long else self.folder

    @property
    def socket(self) -> Path:
        """The socket of its API."""
        return self.run_dir / "docker.sock"

    @property
    def address(self) -> str:
        """The address, as in DOCKER_HOST."""
        return f"unix://{self.socket}"

    @property
    def temp_dir(self) -> Path:
        """Its TMPDIR, removed when it stops; the TMPDIR of the program that starts it may go earlier.

        Shims create sockets and mounts there, and a containerd that answers slowly writes its stacks there.
        """
        return self.run_dir / "exec/tmp"

    @property
    def log_file(self) -> Path:
        """The output of dockerd."""
        return self.folder / "dockerd.log"

    @property
    def pid_file(self) -> Path:
        """The file to which dockerd writes its process id."""
        return self.folder / "dockerd.pid"

    @property
    def config_file(self) -> Path:
        """The daemon.json of this engine; the system engine's /etc/docker/daemon.json is not read."""
        return self.folder / "daemon.json"

    def pid(self) -> int | None:
        """Return the process id of the running dockerd, or None if it does not run.

        A stale pid file, whose id may be another program's by now, counts as not running.
        """
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        option = f"--config-file={self.config_file}"
        return pid if processes.command_line(pid)[1:2] == [option] else None


def private_engine() -> PrivateEngine:
    """Return the current user's private engine."""
    return PrivateEngine(state_dir() / "engine")


def grading_engine(number: int = 0, cpus: float = 1.0, cores: tuple[int, ...] = ()) -> PrivateEngine:
    """Return a limited, offline engine for untrusted builds, apart from the user's images.

    Workers that grade side by side use engines with different numbers, so they cannot take each other's
    processes, disk or cores.

    Parameters
    ----------
    number
        The number of the engine.
    cpus
        How many cores' time the engine may use.
    cores
        The numbers of the machine's cores that the engine is pinned to; empty for all.

    Returns
    -------
    PrivateEngine
        The engine, running or not.
    """
    folder = state_dir() / (f"grading-{number}" if number else "grading")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return PrivateEngine(folder, default_limits(folder, memory, cpus, cores), offline=True)


def is_grading_engine(address: str) -> bool:
    """Return whether an address is that of a `grading_engine`."""
    return any(PrivateEngine(folder).address == address for folder in state_dir().glob("grading*"))


def grading_engines() -> list[PrivateEngine]:
    """List the grading engines that were ever started, and always the first one."""
    numbers = (path.name.rpartition("-")[2] for path in state_dir().glob("grading-*"))
    return [grading_engine(number) for number in (0, *sorted(int(n) for n in numbers if n.isdigit()))]
