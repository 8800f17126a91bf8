"""Ask an address whether an engine answers there, with a deadline."""

from __future__ import annotations

import http.client
import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from stagelens import timeouts
from stagelens.engine.connection_failures import ConnectionFailure, describe_failure
from stagelens.engine.model import EngineInfo, RejectedCandidate
from stagelens.engine_socket import EngineSocket

if TYPE_CHECKING:
    import docker
    from docker.tls import TLSConfig

_PASSWORD = re.compile(r"(?<=://)[^/]*:[^/]*(?=@)")
# Fields of `GET /info` -> the environment variables with the same meaning.
_PROXIES = {"HttpProxy": "HTTP_PROXY", "HttpsProxy": "HTTPS_PROXY", "NoProxy": "NO_PROXY"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address where an engine may listen.

    Attributes
    ----------
    address
        The address, as in DOCKER_HOST.
    origin
        Where the address comes from, such as "DOCKER_HOST".
    tls
        The TLS settings, if the engine uses TLS.
    problem
        Why the address cannot be tried at all.
    remedy
        What the user can do about `problem`.
    """

    address: str
    origin: str
    tls: TLSConfig | None = None
    problem: str | None = None
    remedy: str | None = None


class ProbedEngine(NamedTuple):
    """An engine that answered: what it reports, how to open a docker-py client, and its Unix socket."""

    info: EngineInfo
    open_api: Callable[[], docker.APIClient]
    socket: EngineSocket | None = None


def probe(candidate: Candidate, patient: bool = False) -> ProbedEngine | RejectedCandidate:
    """Ask a candidate for its version, with a short deadline.

    Parameters
    ----------
    candidate
        The address to ask.
    patient
        Whether the deadline is a longer one.

    Returns
    -------
    ProbedEngine or RejectedCandidate
        What the engine reports, or why the candidate was rejected.
    """
    if candidate.problem is not None:
        return _rejected(candidate, ConnectionFailure(candidate.problem, candidate.remedy))
    limits = timeouts.current
    quick = limits.engine_probe_ssh if candidate.address.startswith("ssh://") else limits.engine_probe
    seconds = limits.engine_probe_patient if patient else quick
    answer: list[ProbedEngine | Exception] = []

    def ask() -> None:
        try:
            answer.append(_ask_socket(candidate, seconds) or _ask_docker_py(candidate, seconds))
        except Exception as error:
            answer.append(error)

    # The deadline is for the whole request. A server that sends single bytes, or an ssh that waits for a
    # password, never exceeds a socket's own timeout.
    thread = threading.Thread(target=ask, daemon=True, name="stagelens-probe")
    thread.start()
    thread.join(seconds)
    if not answer:
        return _rejected(candidate, ConnectionFailure.timeout(seconds))
    result = answer[0]
    if isinstance(result, Exception):
        return _rejected(candidate, describe_failure(result, candidate.address, candidate.tls, seconds))
    return result


def _ask_socket(candidate: Candidate, seconds: float) -> ProbedEngine | None:
    """Ask an engine on a Unix socket; None if this is no such engine, which docker-py can tell in words."""
    if not EngineSocket.supports(candidate.address):
        return None
    try:
        unversioned = EngineSocket(candidate.address)
        version = unversioned.get("/version", seconds)
        engine = EngineSocket(candidate.address, str(version["ApiVersion"]))
        info = _describe(version, engine.get("/info", seconds), engine.api_version)
    except (FileNotFoundError, PermissionError, ConnectionRefusedError, TimeoutError):
        raise
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, AttributeError):
        return None

    def open_api() -> docker.APIClient:
        from stagelens.engine.docker_client import open_client, use_client

        api = open_client(candidate, timeouts.current.engine_read, engine.api_version)
        use_client(api, candidate)
        return api

    return ProbedEngine(info, open_api, engine)


def _ask_docker_py(candidate: Candidate, seconds: float) -> ProbedEngine:
    from stagelens.engine.docker_client import open_client, use_client

    api = open_client(candidate, math.ceil(seconds))
    try:
        info = _describe(api.version(), api.info(), api.api_version)
    except BaseException:
        api.close()
        raise
    use_client(api, candidate)
    return ProbedEngine(info, lambda: api)


def _rejected(candidate: Candidate, failure: ConnectionFailure) -> RejectedCandidate:
    """Describe a rejected candidate, without the password in its address."""
    return RejectedCandidate(without_password(candidate.address), candidate.origin, *failure)


def without_password(address: str) -> str:
    """Return an address with its password replaced."""
    return _PASSWORD.sub("***", address)


def _describe(version: Mapping[str, Any], info: Mapping[str, Any], api_version: str) -> EngineInfo:
    components = [str(part.get("Name", "")) for part in version.get("Components") or []]
    podman = any("podman" in name.lower() for name in components)
    status = {str(row[0]): str(row[1]) for row in info.get("DriverStatus") or [] if len(row) == 2}
    system = str(info.get("OSType") or version.get("Os") or "")
    # BuildKit answers /build?version=2 without the experimental flag since API 1.39 (Engine 18.09).
    buildkit = not podman and system == "linux" and _numbers(api_version) >= (1, 39)
    return EngineInfo(
        version=str(version.get("Version", "")),
        api_version=api_version,
        buildkit=buildkit,
        podman=podman,
        storage_driver=str(info.get("Driver", "")),
        containerd_store="containerd.snapshotter" in status.get("driver-type", ""),
        os=system,
        architecture=str(version.get("Arch") or info.get("Architecture") or ""),
        cpus=int(info.get("NCPU") or 0),
        memory=int(info.get("MemTotal") or 0),
        root_dir=str(info.get("DockerRootDir") or ""),
        id=_engine_id(info, podman),
        proxies=tuple((name, str(info[key])) for key, name in _PROXIES.items() if info.get(key)),
        mirrors=tuple(str(each) for each in (info.get("RegistryConfig") or {}).get("Mirrors") or ()),
    )


def _numbers(version: str) -> tuple[int, ...]:
    """Return an API version as numbers, which compare as versions do."""
    return tuple(int(part) for part in version.split("."))


def _engine_id(info: Mapping[str, Any], podman: bool) -> str:
    """Return an identifier that stays; Podman's own changes with every request."""
    if podman:
        machine, folder = info.get("Name"), info.get("DockerRootDir")
        return f"podman:{machine}:{folder}" if machine and folder else ""
    return str(info.get("ID") or "")
