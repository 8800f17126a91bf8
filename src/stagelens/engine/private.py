"""A private engine: a dockerd of our own, for machines that have the program but no running engine.

Its data, socket, pid file, log, bridge and containerd namespace are ours alone, and it reads no system
configuration, so that a system engine beside it loses nothing. It is detached from the program that starts
it and lives until `stagelens engine stop`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stagelens.concurrency import defer_signals
from stagelens.engine import diagnose, dockerd, limits, mounts, network, processes
from stagelens.engine.client import Candidate, probe
from stagelens.engine.errors import EngineStartFailed
from stagelens.engine.limits import Limits, sensible
from stagelens.engine.model import Skipped
from stagelens.paths import state_dir

READY_SECONDS = 60.0
_STOP_SECONDS = 30.0
# A unix socket's path holds 107 bytes; the longest below `run` is exec/containerd/containerd.sock.ttrpc.
_LONGEST_FOLDER = 60
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PrivateEngine:
    """Where a private engine's files are, and what holds for it.

    `limits` bound all that it runs; an `offline` one fetches nothing itself, neither images nor what an ADD
    names (its containers and RUN steps are another matter).
    """

    folder: Path
    limits: Limits | None = None
    offline: bool = False

    @property
    def name(self) -> str:
        """Its bridge, firewall chain and containerd namespace: 15 characters, one for each folder."""
        return "stagelens" + hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:6]

    @property
    def run(self) -> Path:
        """The folder of its sockets: its own, or one below /run where that path is too long for a socket."""
        long = len(os.fsencode(self.folder)) > _LONGEST_FOLDER
        return Path("/run") / self.name if long else self.folder

    @property
    def socket(self) -> Path:
        """Its API socket."""
        return self.run / "docker.sock"

    @property
    def address(self) -> str:
        """What DOCKER_HOST would be."""
        return f"unix://{self.socket}"

    @property
    def temporary(self) -> Path:
        """Its own TMPDIR, which goes when it stops: the one of whoever starts it may go earlier.

        Shims make sockets and mounts there, and a containerd that is slow to answer writes its stacks there.
        """
        return self.run / "exec/tmp"

    @property
    def log(self) -> Path:
        """What dockerd prints."""
        return self.folder / "dockerd.log"

    @property
    def pid_file(self) -> Path:
        """Written by dockerd."""
        return self.folder / "dockerd.pid"

    @property
    def config(self) -> Path:
        """Its daemon.json; /etc/docker/daemon.json is the system engine's and is not read."""
        return self.folder / "daemon.json"

    def pid(self) -> int | None:
        """The running dockerd's process id; None where the file is stale or the id is another program's."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if processes.arguments(pid)[1:2] == [f"--config-file={self.config}"] else None


def private_engine() -> PrivateEngine:
    """The one of this user."""
    return PrivateEngine(state_dir() / "engine")


def grading_engine(number: int = 0, cpus: float = 1.0, cores: tuple[int, ...] = ()) -> PrivateEngine:
    """A further one for strangers' builds: limited, and apart from everybody's own images.

    Each `number` is one more, so that workers side by side cannot take each other's processes, disk or
    cores: what runs there has the time of `cpus` of them, and keeps to `cores`, by number, if any are given.
    """
    folder = state_dir() / (f"grading-{number}" if number else "grading")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return PrivateEngine(folder, sensible(folder, memory, cpus, cores), offline=True)


def is_grading_engine(address: str) -> bool:
    """Whether an engine is one that `grading_engine` gives."""
    return any(PrivateEngine(folder).address == address for folder in state_dir().glob("grading*"))


def grading_engines() -> list[PrivateEngine]:
    """Those that were ever started, the first one always among them."""
    numbers = (path.name.rpartition("-")[2] for path in state_dir().glob("grading-*"))
    return [grading_engine(number) for number in (0, *sorted(int(n) for n in numbers if n.isdigit()))]


def can_start(limited: bool = False) -> str | None:
    """None where a private engine can be started here (one with limits, if asked), else why not."""
    if sys.platform != "linux":
        return "a private engine needs Linux"
    if os.geteuid() != 0:
        return "a private engine needs root"
    missing = [name for name in ("dockerd", "iptables", "ip") if network.program(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return limits.missing() if limited else None


def start(report: Report | None = None, engine: PrivateEngine | None = None) -> PrivateEngine:
    """Start the private engine (or the one given) unless it runs, and wait until it answers.

    Two at once start one. One that runs gets the limits that are given now.

    Raises
    ------
    EngineStartFailed: with the telling lines of its log.
    """
    engine = engine or private_engine()
    if reason := can_start(engine.limits is not None):
        raise EngineStartFailed(
            "No private engine can be started here.",
            why=reason,
            remedy="see what else could be used, and what is missing: stagelens doctor",
        )
    with _lock(engine):
        if engine.pid() is not None:
            _wait(engine, None, report)
            if engine.limits is not None:
                limits.change(engine.name, engine.folder, engine.limits)
            _keep_to_cores(engine)
            return engine
        process: subprocess.Popen[bytes] | None = None
        try:
            # An interrupt within could leave a dockerd that nobody knows of.
            with defer_signals():
                process = _launch(engine)
            _wait(engine, process, report)
            _keep_to_cores(engine)
        except BaseException as error:
            # Ctrl-C included: half an engine must not stay behind.
            with defer_signals():
                if process is not None:
                    process.terminate()
                    _wait_for_end(process.pid)
                _sweep(engine, ())
            if isinstance(error, OSError):
                raise _refused(engine, error) from error
            raise
    return engine


def stop(engine: PrivateEngine | None = None) -> bool:
    """Stop the private engine (or the one given) and wait for its end; False where none runs.

    What a killed one left behind (containerd, shims, mounts, its bridge) is removed too.
    """
    engine = engine or private_engine()
    if not engine.folder.is_dir():
        return False
    with _lock(engine), defer_signals():
        pid = engine.pid()
        bridges = _user_bridges(engine) if pid is not None else ()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            _wait_for_end(pid)
        _sweep(engine, bridges)
        return pid is not None


@contextmanager
def _lock(engine: PrivateEngine) -> Generator[None]:
    # It brings asyncio, which no other use of an engine needs.
    from filelock import FileLock, Timeout

    engine.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(engine.folder / "start.lock")
    try:
        lock.acquire(timeout=READY_SECONDS + _STOP_SECONDS)
    except Timeout as error:
        raise EngineStartFailed(
            "Another stagelens has been starting or stopping the engine for more than a minute.",
            where=str(engine.folder / "start.lock"),
            remedy="stagelens engine status",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _launch(engine: PrivateEngine) -> subprocess.Popen[bytes]:
    program = network.program("dockerd")
    assert program is not None, "can_start() looked for it"
    _sweep(engine, ())
    engine.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine.temporary.mkdir(parents=True, exist_ok=True, mode=0o700)
    _forget_networks(engine)
    if engine.limits is not None:
        limits.set_up(engine.name, engine.folder, engine.limits)
    pool = network.choose_pool(network.routes())
    network.set_up(engine.name, pool)
    engine.config.write_text(json.dumps(dockerd.configuration(engine, pool), indent=2))
    if engine.log.exists():
        engine.log.replace(engine.log.with_suffix(".log.1"))
    with engine.log.open("wb") as log:
        return subprocess.Popen(
            [program, *dockerd.options(engine)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=dockerd.environment(engine),
        )


def _forget_networks(engine: PrivateEngine) -> None:
    """Remove dockerd's record of networks before it starts.

    With address pools and a `bridge` network on record, dockerd deletes the interface docker0 whoever owns
    it (initNetworkController calls removeDefaultBridgeInterface; seen with 20.10): a system engine's
    containers would lose their network. Networks that users made thus last until the engine stops.
    """
    # What else is wrong with the data folder, dockerd says best itself.
    with suppress(NotADirectoryError):
        (engine.folder / "data/network/files/local-kv.db").unlink(missing_ok=True)


def _wait(engine: PrivateEngine, process: subprocess.Popen[bytes] | None, report: Report | None) -> None:
    """Wait until it answers; `process` is the dockerd where this call started it."""
    begun = time.monotonic()
    while time.monotonic() - begun < READY_SECONDS:
        if not isinstance(probe(Candidate(engine.address, "private engine")), Skipped):
            return
        if process.poll() is not None if process is not None else engine.pid() is None:
            break
        if report is not None:
            report(f"starting a private engine ({time.monotonic() - begun:.0f} s)")
        time.sleep(0.1)
    raise EngineStartFailed(
        "The private engine did not start.",
        where=str(engine.log),
        why=diagnose.telling_lines(engine.log),
        remedy=diagnose.remedy(engine.log),
    )


def _keep_to_cores(engine: PrivateEngine) -> None:
    """Hold its programs to the cores that its limits name, if any; steps and containers inherit that."""
    if engine.limits is None:
        return
    programs = [*processes.helpers_of(engine.run, engine.name)]
    if (pid := engine.pid()) is not None:
        programs.append(pid)
    processes.keep_to(programs, engine.limits.cores or os.sched_getaffinity(0))


def _refused(engine: PrivateEngine, error: OSError) -> EngineStartFailed:
    """The system did not let us make the engine's files or processes; a full disk names no file itself."""
    return EngineStartFailed(
        "The private engine did not start.",
        where=str(engine.folder),
        why=str(error),
        remedy=diagnose.advice(str(error)) or "mend that, then start it again",
    )


def _wait_for_end(pid: int) -> None:
    """Wait until dockerd has ended (it first stops its containers); after 30 s it is killed."""
    deadline = time.monotonic() + _STOP_SECONDS
    while processes.arguments(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    processes.end([pid] if processes.arguments(pid) else [])
    with suppress(ChildProcessError):
        # Where this very process started it, it would stay as a zombie.
        os.waitpid(pid, os.WNOHANG)


def _sweep(engine: PrivateEngine, user_bridges: tuple[str, ...]) -> None:
    """Remove what dockerd leaves, or left when it was killed."""
    processes.end(processes.helpers_of(engine.run, engine.name))
    mounts.take_away(engine.folder / "data", engine.run, engine.folder / "data.img")
    network.tear_down(engine.name, user_bridges)
    if engine.limits is not None:
        limits.tear_down(engine.name)
    engine.pid_file.unlink(missing_ok=True)
    engine.socket.unlink(missing_ok=True)
    # dockerd waits in vain for a killed containerd whose process id is still taken, by a zombie say.
    (engine.run / "exec/containerd/containerd.pid").unlink(missing_ok=True)
    shutil.rmtree(engine.temporary, ignore_errors=True)
    if engine.run != engine.folder:
        shutil.rmtree(engine.run, ignore_errors=True)


def _user_bridges(engine: PrivateEngine) -> tuple[str, ...]:
    """Bridges of networks that users made; dockerd leaves them up when it ends."""
    result = probe(Candidate(engine.address, "private engine"), patient=True)
    if isinstance(result, Skipped):
        return ()
    api, _ = result
    try:
        rows = api.networks(filters={"driver": "bridge"})
    finally:
        api.close()
    option = "com.docker.network.bridge.name"
    names = {(row.get("Options") or {}).get(option) or f"br-{row['Id'][:12]}" for row in rows}
    return tuple(sorted(names - {engine.name}))
