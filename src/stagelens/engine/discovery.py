"""Finding an engine: the addresses where one may listen, and the order in which they are tried."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from stagelens.engine.client import Candidate, probe
from stagelens.engine.errors import EngineNotFound
from stagelens.engine.model import Engine, ProgressCallback, RejectedCandidate
from stagelens.engine.private.leases import release
from stagelens.engine.private.model import private_engine
from stagelens.errors import short_traceback_on_interrupt

if TYPE_CHECKING:
    from docker.context import Context

PRIVATE_ORIGIN = "private engine"
# Where system services have their sockets; macOS has no /run.
SYSTEM_RUN = Path("/var/run")


@short_traceback_on_interrupt()
def connect(host: str | None = None, start: bool = True, report: ProgressCallback | None = None) -> Engine:
    """Find an engine that answers, in the order of `candidates`.

    If DOCKER_HOST or DOCKER_CONTEXT names an engine, no other one is used, as with the docker command: a
    build on another engine would be a surprise.

    Parameters
    ----------
    host
        An address (`unix://`, `tcp://`, `ssh://`, `npipe://`) to use, and no other.
    start
        Whether to start a private engine if none answers. This needs Linux, root and an installed dockerd.
    report
        Called with a line of text when something takes a while: an engine that is slow, or one that starts.

    Returns
    -------
    Engine
        A connected engine.

    Raises
    ------
    EngineNotFound
        If no engine answers; the error lists each address and why it was rejected.
    EngineStartFailed
        If a private engine was started and did not come up.
    """
    rejected: list[RejectedCandidate] = []
    private = Candidate(private_engine().address, PRIVATE_ORIGIN)
    timed_out: list[tuple[Candidate, RejectedCandidate]] = []
    for candidate in [candidate_at(host, "the address given")] if host else [*candidates(), private]:
        if candidate is private:
            release()
        found = _try(candidate, rejected)
        if found is None and rejected[-1].timed_out:
            if host or rejected[-1].exclusive:
                found = _retry(candidate, rejected[-1], rejected, report)
            else:
                timed_out.append((candidate, rejected[-1]))
        if found is not None:
            return found
        if rejected[-1].exclusive:
            raise EngineNotFound(
                rejected,
                what=f"The engine that {candidate.origin} names does not answer.",
                remedy=f"{_start_command(candidate)}, or: unset {candidate.origin}   then run this again",
            )
    for candidate, rejection in timed_out:
        # A slow engine is better than a second one beside it, or none.
        if found := _retry(candidate, rejection, rejected, report):
            return found
    if host is None and start:
        from stagelens.engine.private.lifecycle import start_blocker, start_private

        blocker = start_blocker()
        if blocker is None:
            start_private(report)
            found = _try(private, rejected)
            if found is not None:
                return found
        else:
            rejected.append(RejectedCandidate(private.address, PRIVATE_ORIGIN, blocker))
    raise EngineNotFound(rejected, remedy="start it, or give another address" if host else _remedy())


def candidate_at(host: str, origin: str) -> Candidate:
    """Return the candidate at an address, with TLS from DOCKER_TLS_VERIFY and DOCKER_CERT_PATH.

    Parameters
    ----------
    host
        The address, as in DOCKER_HOST.
    origin
        Where the address comes from.

    Returns
    -------
    Candidate
        The candidate; its `problem` is set if the TLS settings cannot be used.
    """
    if not host.startswith(("tcp://", "https://", "http://")) and "://" in host:
        return Candidate(host, origin)
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    try:
        tls = kwargs_from_env().get("tls")
    except DockerException as error:
        return _tls_problem(host, origin, str(error))
    return Candidate(host, origin, tls=tls)


def candidates() -> Iterator[Candidate]:
    """List every address once: DOCKER_HOST, the current Docker context, then the usual sockets."""
    seen: set[str] = set()
    for candidate in (*_from_environment(), *_from_context(), *_usual_addresses()):
        if candidate.address not in seen:
            seen.add(candidate.address)
            yield candidate


def _try(candidate: Candidate, rejected: list[RejectedCandidate], patient: bool = False) -> Engine | None:
    """Connect to a candidate, or return None and add it to `rejected`."""
    result = probe(candidate, patient)
    if isinstance(result, RejectedCandidate):
        rejected.append(result)
        return None
    return Engine(
        result.open_api, candidate.address, candidate.origin, result.info, tuple(rejected), result.socket
    )


def _retry(
    candidate: Candidate,
    rejection: RejectedCandidate,
    rejected: list[RejectedCandidate],
    report: ProgressCallback | None,
) -> Engine | None:
    """Try a candidate that timed out again, with more patience."""
    if report is not None:
        report(f"waiting for the engine at {rejection.address}")
    rejected.remove(rejection)
    return _try(candidate, rejected, patient=True)


def _start_command(candidate: Candidate) -> str:
    """Say how to start an engine that a variable names; `stagelens lab` sets it to the private engine."""
    return "stagelens engine start" if candidate.address == private_engine().address else "start it"


def _remedy() -> str:
    """Say what to install or start on this system, and what to run then."""
    if sys.platform != "linux":
        return "install Docker Desktop or Podman, start it, then run this again"
    as_root = "run this as root, which starts a private engine"
    if "microsoft" in platform.release().lower():
        integration = "turn on Docker Desktop's WSL integration for this distribution, then run this again"
        return f"{integration}   (or {as_root})"
    if os.geteuid() != 0:
        group = "sudo usermod -aG docker $USER, log out and in, then run this again"
        return f"install Docker, then: sudo systemctl start docker, {group}   (or {as_root})"
    return "stagelens doctor --fix"


def _tls_problem(host: str, origin: str, error: str) -> Candidate:
    folder = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    missing = [name for name in ("ca.pem", "cert.pem", "key.pem") if not (folder / name).is_file()]
    why = f"{folder} has no {', '.join(missing)}" if missing else error
    remedy = "set DOCKER_CERT_PATH to the folder that has them; or, for an engine without TLS: "
    remedy += "unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH"
    return Candidate(host, origin, problem=f"the TLS settings do not work: {why}", remedy=remedy)


def _from_environment() -> Iterator[Candidate]:
    host = os.environ.get("DOCKER_HOST", "").strip()
    if host:
        yield candidate_at(host, "DOCKER_HOST")


def _from_context() -> Iterator[Candidate]:
    """Yield the context that `docker context use` or DOCKER_CONTEXT chose; `default` is the usual sockets."""
    name = os.environ.get("DOCKER_CONTEXT") or None
    if name is None and not _configured_context():
        return
    from docker.context import ContextAPI

    origin = "DOCKER_CONTEXT" if name else "docker context"
    try:
        context = cast("Context | None", ContextAPI.get_context(name))
    # docker-py raises a bare Exception for a metadata file that it cannot read.
    except Exception as error:
        yield Candidate(f"context {name or '(current)'}", origin, problem=str(error)[:300])
        return
    if context is None:
        problem = "no context of that name (docker context ls)"
        yield Candidate(f"context {name or '(current)'}", origin, problem=problem)
    elif context.name != "default" and context.Host:
        origin = origin if name else f"docker context {context.name}"
        yield Candidate(context.Host, origin, tls=context.TLSConfig)


def _configured_context() -> bool:
    """Return whether Docker's config file may name a context; to read it, docker-py is imported."""
    paths = [Path.home() / ".docker/config.json", Path.home() / ".dockercfg"]
    if folder := os.environ.get("DOCKER_CONFIG"):
        paths.append(Path(folder) / "config.json")
    for path in paths:
        with suppress(OSError):
            if b"currentContext" in path.read_bytes():
                return True
    return False


def _usual_addresses() -> Iterator[Candidate]:
    for address, origin in _pipes() if sys.platform == "win32" else _sockets():
        yield Candidate(address, origin)


def _pipes() -> Iterator[tuple[str, str]]:
    yield "npipe:////./pipe/dockerDesktopLinuxEngine", "Docker Desktop's pipe"
    yield "npipe:////./pipe/docker_engine", "the default pipe"
    yield "npipe:////./pipe/podman-machine-default", "Podman machine's pipe"


def _sockets() -> Iterator[tuple[str, str]]:
    home = Path.home()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))
    sockets: list[tuple[Path, str]] = [
        (home / ".docker/run/docker.sock", "Docker Desktop's socket"),
        (home / ".docker/desktop/docker.sock", "Docker Desktop's socket"),
    ]
    if runtime:
        sockets.append((Path(runtime) / "docker.sock", "the rootless socket"))
    sockets += [
        (home / ".docker/run/rootless.sock", "the rootless socket"),
        (SYSTEM_RUN / "docker.sock", "the default socket"),
        (home / ".colima/default/docker.sock", "Colima's socket"),
        (home / ".orbstack/run/docker.sock", "OrbStack's socket"),
        (home / ".rd/docker.sock", "Rancher Desktop's socket"),
    ]
    if runtime:
        sockets.append((Path(runtime) / "podman/podman.sock", "Podman's rootless socket"))
    sockets += [
        (SYSTEM_RUN / "podman/podman.sock", "Podman's socket"),
        (home / ".local/share/containers/podman/machine/podman.sock", "Podman machine's socket"),
        (temporary / "podman/podman-machine-default-api.sock", "Podman machine's socket"),
    ]
    for path, origin in sockets:
        yield f"unix://{path}", origin
