"""Where engines may be, in the order in which they are tried."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from docker.context import Context, ContextAPI
from docker.errors import DockerException
from docker.utils import kwargs_from_env

from stagelens.engine.client import Candidate

# Where system services have their sockets; macOS has no /run.
SYSTEM_RUN = Path("/var/run")


def named(host: str, origin: str) -> Candidate:
    """A candidate at an address that somebody gave; TLS from DOCKER_TLS_VERIFY and DOCKER_CERT_PATH."""
    if not host.startswith(("tcp://", "https://", "http://")) and "://" in host:
        return Candidate(host, origin)
    try:
        tls = kwargs_from_env().get("tls")
    except DockerException as error:
        return _without_files(host, origin, str(error))
    return Candidate(host, origin, tls=tls)


def _without_files(host: str, origin: str, error: str) -> Candidate:
    folder = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    missing = [name for name in ("ca.pem", "cert.pem", "key.pem") if not (folder / name).is_file()]
    why = f"{folder} has no {', '.join(missing)}" if missing else error
    remedy = "set DOCKER_CERT_PATH to the folder that has them; or, for an engine without TLS: "
    remedy += "unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH"
    return Candidate(host, origin, problem=f"the TLS settings do not work: {why}", remedy=remedy)


def candidates() -> Iterator[Candidate]:
    """Every place, most wanted first: DOCKER_HOST, the current context, then the known sockets."""
    seen: set[str] = set()
    for candidate in (*_from_environment(), *_from_context(), *_well_known()):
        if candidate.address not in seen:
            seen.add(candidate.address)
            yield candidate


def _from_environment() -> Iterator[Candidate]:
    host = os.environ.get("DOCKER_HOST", "").strip()
    if host:
        yield named(host, "DOCKER_HOST")


def _from_context() -> Iterator[Candidate]:
    """The context that `docker context use` or DOCKER_CONTEXT chose; `default` means the known sockets."""
    name = os.environ.get("DOCKER_CONTEXT") or None
    origin = "DOCKER_CONTEXT" if name else "docker context"
    try:
        context = cast("Context | None", ContextAPI.get_context(name))
    # docker-py raises bare Exception for a metadata file it cannot read.
    except Exception as error:
        yield Candidate(f"context {name or '(current)'}", origin, problem=str(error)[:300])
        return
    if context is None:
        problem = "no context of that name (docker context ls)"
        yield Candidate(f"context {name or '(current)'}", origin, problem=problem)
    elif context.name != "default" and context.Host:
        origin = origin if name else f"docker context {context.name}"
        yield Candidate(context.Host, origin, tls=context.TLSConfig)


def _well_known() -> Iterator[Candidate]:
    places = _pipes() if sys.platform == "win32" else _sockets()
    for address, origin in places:
        yield Candidate(address, origin)


def _pipes() -> Iterator[tuple[str, str]]:
    yield "npipe:////./pipe/dockerDesktopLinuxEngine", "Docker Desktop's pipe"
    yield "npipe:////./pipe/docker_engine", "the default pipe"
    yield "npipe:////./pipe/podman-machine-default", "Podman machine's pipe"


def _sockets() -> Iterator[tuple[str, str]]:
    home = Path.home()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))
    places: list[tuple[Path, str]] = [
        (home / ".docker/run/docker.sock", "Docker Desktop's socket"),
        (home / ".docker/desktop/docker.sock", "Docker Desktop's socket"),
    ]
    if runtime:
        places.append((Path(runtime) / "docker.sock", "the rootless socket"))
    places += [
        (home / ".docker/run/rootless.sock", "the rootless socket"),
        (SYSTEM_RUN / "docker.sock", "the default socket"),
        (home / ".colima/default/docker.sock", "Colima's socket"),
        (home / ".orbstack/run/docker.sock", "OrbStack's socket"),
        (home / ".rd/docker.sock", "Rancher Desktop's socket"),
    ]
    if runtime:
        places.append((Path(runtime) / "podman/podman.sock", "Podman's rootless socket"))
    places += [
        (SYSTEM_RUN / "podman/podman.sock", "Podman's socket"),
        (home / ".local/share/containers/podman/machine/podman.sock", "Podman machine's socket"),
        (temporary / "podman/podman-machine-default-api.sock", "Podman machine's socket"),
    ]
    for path, origin in places:
        yield f"unix://{path}", origin
