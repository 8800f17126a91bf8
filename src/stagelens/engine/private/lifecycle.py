"""Starting and stopping a private engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

from stagelens import timeouts
from stagelens.concurrency import defer_signals
from stagelens.engine.client import Candidate, probe
from stagelens.engine.errors import EngineStartFailed
from stagelens.engine.model import ProgressCallback, RejectedCandidate
from stagelens.engine.private import diagnosis, dockerd, limits, mounts, network, processes
from stagelens.engine.private.model import PrivateEngine, private_engine


def start_blocker(limited: bool = False) -> str | None:
    """Return why no private engine can be started here, or None if one can.

    Parameters
    ----------
    limited
        Whether the engine needs limits, as a grading engine does.

    Returns
    -------
    str or None
        The reason, such as "not installed: dockerd".
    """
    if sys.platform != "linux":
        return "a private engine needs Linux"
    if os.geteuid() != 0:
        return "a private engine needs root"
    missing = [name for name in ("dockerd", "iptables", "ip") if network.find_program(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return limits.limits_blocker() if limited else None


def start_private(
    report: ProgressCallback | None = None, engine: PrivateEngine | None = None
) -> PrivateEngine:
    """Start a private engine if it does not run, and wait until it answers.

    Two concurrent calls start one engine. A running engine gets the limits of this call.

    Parameters
    ----------
    report
        Called with a line of text while the engine starts.
    engine
        The engine to start; by default the user's private engine.

    Returns
    -------
    PrivateEngine
        The engine, which answers now.

    Raises
    ------
    EngineStartFailed
        If the engine cannot be started; the error quotes the error lines of its log.
    """
    engine = engine or private_engine()
    if blocker := start_blocker(engine.limits is not None):
        raise EngineStartFailed(
            "No private engine can be started here.",
            why=blocker,
            remedy="find out which other engine could be used, and what is missing: stagelens doctor",
        )
    with _lock(engine):
        if engine.pid() is not None:
            _wait_until_ready(engine, None, report)
            if engine.limits is not None:
                limits.update(engine.name, engine.folder, engine.limits)
            _pin_to_cores(engine)
            return engine
        process: subprocess.Popen[bytes] | None = None
        try:
            # An interrupt inside could leave a running dockerd that nothing refers to.
            with defer_signals():
                process = _launch(engine)
            _wait_until_ready(engine, process, report)
            _pin_to_cores(engine)
        except BaseException as error:
            # Whatever ends the start, Ctrl-C included, no part of an engine may stay behind.
            with defer_signals():
                if process is not None:
                    process.terminate()
                    _wait_for_exit(process.pid)
                _clean_up(engine, ())
            if isinstance(error, OSError):
                raise _system_error(engine, error) from error
            raise
    return engine


def stop_private(engine: PrivateEngine | None = None) -> bool:
    """Stop a private engine and wait until it has ended.

    Whatever a killed engine left behind (containerd, shims, mounts, its bridge) is removed too.

    Parameters
    ----------
    engine
        The engine to stop; by default the user's private engine.

    Returns
    -------
    bool
        Whether the engine was running.
    """
    engine = engine or private_engine()
    if not engine.folder.is_dir():
        return False
    with _lock(engine), defer_signals():
        pid = engine.pid()
        bridges = _user_bridges(engine) if pid is not None else ()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            _wait_for_exit(pid)
        _clean_up(engine, bridges)
        return pid is not None


@contextmanager
def _lock(engine: PrivateEngine) -> Generator[None]:
    # filelock imports asyncio, which no other use of an engine needs.
    from filelock import FileLock, Timeout

    engine.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    waits = timeouts.current
    lock = FileLock(engine.folder / "start.lock")
    try:
        lock.acquire(timeout=waits.private_engine_start + waits.private_engine_stop)
    except Timeout as error:
        raise EngineStartFailed(
            "Another stagelens process has been starting or stopping the engine for more than a minute.",
            where=str(engine.folder / "start.lock"),
            remedy="stagelens engine status",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _launch(engine: PrivateEngine) -> subprocess.Popen[bytes]:
    program = network.find_program("dockerd")
    assert program is not None, "start_blocker() has checked this"
    _clean_up(engine, ())
    engine.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine.temp_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_network_records(engine)
    if engine.limits is not None:
        limits.set_up(engine.name, engine.folder, engine.limits)
    pool = network.choose_pool(network.routed_networks())
    network.set_up(engine.name, pool)
    engine.config_file.write_text(json.dumps(dockerd.configuration(engine, pool), indent=2))
    if engine.log_file.exists():
        engine.log_file.replace(engine.log_file.with_suffix(".log.1"))
    with engine.log_file.open("wb") as log:
        return subprocess.Popen(
            [program, *dockerd.command_options(engine)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=dockerd.environment(engine),
        )


def _remove_network_records(engine: PrivateEngine) -> None:
    """Remove dockerd's record of networks before it starts.

    If there are address pools and a recorded `bridge` network, dockerd deletes the interface docker0, even
    that of a system engine, whose containers would lose their network (initNetworkController calls
    removeDefaultBridgeInterface; seen with 20.10). So networks that users create last until the engine stops.
    """
    # dockerd itself reports best what else is wrong with the data folder.
    with suppress(NotADirectoryError):
        (engine.folder / "data/network/files/local-kv.db").unlink(missing_ok=True)


def _wait_until_ready(
    engine: PrivateEngine, process: subprocess.Popen[bytes] | None, report: ProgressCallback | None
) -> None:
    """Wait until the engine answers; `process` is its dockerd if this program started it."""
    start = time.monotonic()
    while time.monotonic() - start < timeouts.current.private_engine_start:
        if not isinstance(probe(Candidate(engine.address, "private engine")), RejectedCandidate):
            return
        if process.poll() is not None if process is not None else engine.pid() is None:
            break
        if report is not None:
            report(f"starting a private engine ({time.monotonic() - start:.0f} s)")
        time.sleep(0.1)
    raise EngineStartFailed(
        "The private engine did not start.",
        where=str(engine.log_file),
        why=diagnosis.error_lines(engine.log_file),
        remedy=diagnosis.log_remedy(engine.log_file),
    )


def _pin_to_cores(engine: PrivateEngine) -> None:
    """Pin the engine's programs to the cores of its limits; build steps and containers inherit that."""
    if engine.limits is None:
        return
    pids = [*processes.helper_processes(engine.run_dir, engine.name)]
    if (pid := engine.pid()) is not None:
        pids.append(pid)
    processes.pin_to_cores(pids, engine.limits.cores or os.sched_getaffinity(0))


def _system_error(engine: PrivateEngine, error: OSError) -> EngineStartFailed:
    """Describe a file or process that could not be created; the error of a full disk names no file."""
    return EngineStartFailed(
        "The private engine did not start.",
        where=str(engine.folder),
        why=str(error),
        remedy=diagnosis.known_remedy(str(error)) or "correct that, then start it again",
    )


def _wait_for_exit(pid: int) -> None:
    """Wait until dockerd has ended, which first stops its containers; kill it if that takes too long."""
    deadline = time.monotonic() + timeouts.current.private_engine_stop
    while processes.command_line(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    processes.kill_all([pid] if processes.command_line(pid) else [])
    with suppress(ChildProcessError):
        # If this process started dockerd, dockerd is a zombie until it is waited for.
        os.waitpid(pid, os.WNOHANG)


def _clean_up(engine: PrivateEngine, user_bridges: tuple[str, ...]) -> None:
    """Remove what dockerd leaves behind, also after it was killed."""
    processes.kill_all(processes.helper_processes(engine.run_dir, engine.name))
    mounts.unmount_all(engine.folder / "data", engine.run_dir, engine.folder / "data.img")
    network.tear_down(engine.name, user_bridges)
    if engine.limits is not None:
        limits.tear_down(engine.name)
    engine.pid_file.unlink(missing_ok=True)
    engine.socket.unlink(missing_ok=True)
    # dockerd waits forever for a killed containerd whose process id is in use, by a zombie for example.
    (engine.run_dir / "exec/containerd/containerd.pid").unlink(missing_ok=True)
    shutil.rmtree(engine.temp_dir, ignore_errors=True)
    if engine.run_dir != engine.folder:
        shutil.rmtree(engine.run_dir, ignore_errors=True)


def _user_bridges(engine: PrivateEngine) -> tuple[str, ...]:
    """List the bridges of networks that users created; dockerd leaves them up when it ends."""
    result = probe(Candidate(engine.address, "private engine"), patient=True)
    if isinstance(result, RejectedCandidate):
        return ()
    api = result.open_api()
    try:
        rows = api.networks(filters={"driver": "bridge"})
    finally:
        api.close()
    option = "com.docker.network.bridge.name"
    names = {(row.get("Options") or {}).get(option) or f"br-{row['Id'][:12]}" for row in rows}
    return tuple(sorted(names - {engine.name}))
