"""Docker clients: created here only, and asked for the engine's version with a deadline."""

from __future__ import annotations

import math
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import docker
import requests
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.tls import TLSConfig
from docker.utils import version_gte

from stagelens import timeouts
from stagelens.engine.connection_failures import ConnectionFailure, describe_disconnect, describe_failure
from stagelens.engine.errors import EngineLost
from stagelens.engine.model import EngineInfo, RejectedCandidate
from stagelens.engine.ssh import SshAdapter
from stagelens.errors import short_traceback_on_interrupt

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


def probe(
    candidate: Candidate, patient: bool = False
) -> tuple[docker.APIClient, EngineInfo] | RejectedCandidate:
    """Ask a candidate for its version, with a short deadline.

    Parameters
    ----------
    candidate
        The address to ask.
    patient
        Whether the deadline is a longer one.

    Returns
    -------
    tuple or RejectedCandidate
        A client and what the engine reports, or why the candidate was rejected.
    """
    if candidate.problem is not None:
        return _rejected(candidate, ConnectionFailure(candidate.problem, candidate.remedy))
    limits = timeouts.current
    quick = limits.engine_probe_ssh if candidate.address.startswith("ssh://") else limits.engine_probe
    seconds = limits.engine_probe_patient if patient else quick
    answer: list[tuple[_Client, EngineInfo] | Exception] = []

    def ask() -> None:
        try:
            api = _client(candidate, math.ceil(seconds))
            try:
                answer.append((api, _describe(api)))
            except BaseException:
                api.close()
                raise
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
    api, info = result
    api.timeout, api.candidate = limits.engine_read, candidate
    return api, info


def _rejected(candidate: Candidate, failure: ConnectionFailure) -> RejectedCandidate:
    """Describe a rejected candidate, without the password in its address."""
    return RejectedCandidate(_without_password(candidate.address), candidate.origin, *failure)


def _without_password(address: str) -> str:
    return _PASSWORD.sub("***", address)


class _Client(docker.APIClient):
    """docker-py's client with short error messages and one request for the version.

    The engine's certificate is checked against the CA of the engine's own settings: requests would prefer
    REQUESTS_CA_BUNDLE, which a company's proxy needs (psf/requests#3829). The version is requested once,
    since docker-py requests it too and an engine may start programs to answer. Notebooks use this client
    directly, so an interrupt or a stopped engine shows a few lines instead of a traceback.
    """

    candidate: Candidate | None = None  # set after the first answer
    _answered: Mapping[str, Any] | None = None

    @short_traceback_on_interrupt("this program no longer waits for the engine's answer; run the cell again")
    def send(self, request: Any, **options: Any) -> Any:
        try:
            return super().send(request, **options)
        except requests.ConnectionError as error:
            if self.candidate is None:
                raise
            address, tls = self.candidate.address, self.candidate.tls
            raise EngineLost(
                "The container engine no longer answers.",
                where=_without_password(address),
                why=describe_disconnect(error, address, tls, timeouts.current.engine_read),
                remedy="find out what it needs (stagelens doctor), then run this again",
            ) from error

    def version(self, api_version: bool = True) -> Any:
        if self._answered is None:
            self._answered = super().version(api_version)
        return self._answered

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        ca = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, ca, cert)


class _SshClient(_Client):
    """A client that reaches the engine through `ssh`; for docker-py, `SshAdapter` is a Unix socket."""

    def __init__(self, address: str, timeout: int) -> None:
        # Without a version, docker-py would send a request before the adapter is mounted.
        super().__init__("unix:///ssh", DEFAULT_DOCKER_API_VERSION, timeout=timeout)
        self.mount("http+docker://", SshAdapter(address, timeout))
        self._version = cast(Any, self)._retrieve_server_version()


def _client(candidate: Candidate, timeout: int) -> _Client:
    # On Windows no program can use a socket as its standard input.
    if candidate.address.startswith("ssh://") and sys.platform != "win32":
        return _SshClient(candidate.address, timeout)
    return _Client(candidate.address, "auto", timeout=timeout, tls=candidate.tls or False)


def _describe(api: docker.APIClient) -> EngineInfo:
    version: Mapping[str, Any] = api.version()
    info: Mapping[str, Any] = api.info()
    components = [str(part.get("Name", "")) for part in version.get("Components") or []]
    podman = any("podman" in name.lower() for name in components)
    status = {str(row[0]): str(row[1]) for row in info.get("DriverStatus") or [] if len(row) == 2}
    system = str(info.get("OSType") or version.get("Os") or "")
    # BuildKit answers /build?version=2 without the experimental flag since API 1.39 (Engine 18.09).
    buildkit = not podman and system == "linux" and version_gte(api.api_version, "1.39")
    return EngineInfo(
        version=str(version.get("Version", "")),
        api_version=api.api_version,
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


def _engine_id(info: Mapping[str, Any], podman: bool) -> str:
    """Return an identifier that stays; Podman's own changes with every request."""
    if podman:
        machine, folder = info.get("Name"), info.get("DockerRootDir")
        return f"podman:{machine}:{folder}" if machine and folder else ""
    return str(info.get("ID") or "")
