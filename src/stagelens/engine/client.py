"""The one place where a docker client is made: asked once, with a deadline, then kept."""

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

from stagelens.engine.errors import EngineLost
from stagelens.engine.model import EngineInfo, Skipped
from stagelens.engine.reasons import LATE, explain, lost
from stagelens.engine.ssh import SshAdapter
from stagelens.errors import short_traceback_on_interrupt

PROBE_SECONDS = 3.0
# Where nothing else may be used, or nothing else answers: an engine that builds for a whole class is slow.
PATIENT_SECONDS = 20.0
SSH_PROBE_SECONDS = 15.0
# Between two bytes of an answer, not for a whole one: a commit or a save of a large image may pause long.
READ_SECONDS = 600
_PASSWORD = re.compile(r"(?<=://)[^/]*:[^/]*(?=@)")
# Fields of `GET /info` -> the variables that would set them for a program.
_PROXIES = {"HttpProxy": "HTTP_PROXY", "HttpsProxy": "HTTPS_PROXY", "NoProxy": "NO_PROXY"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """Where an engine may be. `problem` is set where the place cannot even be asked, `remedy` with it."""

    address: str
    origin: str
    tls: TLSConfig | None = None
    problem: str | None = None
    remedy: str | None = None


def probe(candidate: Candidate, patient: bool = False) -> tuple[docker.APIClient, EngineInfo] | Skipped:
    """Ask a candidate for its version within 3 s (ssh: 15 s, `patient`: 20 s); its facts, or why not."""
    if candidate.problem is not None:
        return _skipped(candidate, candidate.problem, candidate.remedy)
    quick = SSH_PROBE_SECONDS if candidate.address.startswith("ssh://") else PROBE_SECONDS
    seconds = PATIENT_SECONDS if patient else quick
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

    # A deadline for the whole question: a server that drips bytes, or an ssh that waits for a password,
    # never trips a socket's own timeout.
    thread = threading.Thread(target=ask, daemon=True, name="stagelens-probe")
    thread.start()
    thread.join(seconds)
    if not answer:
        return _skipped(candidate, f"{LATE} {seconds:g} s")
    result = answer[0]
    if isinstance(result, Exception):
        return _skipped(candidate, *explain(result, candidate.address, candidate.tls, seconds))
    api, info = result
    api.timeout, api.found = READ_SECONDS, candidate
    return api, info


def _skipped(candidate: Candidate, reason: str, remedy: str | None = None) -> Skipped:
    """What is told of a candidate; a password in its address is not."""
    address, late = _PASSWORD.sub("***", candidate.address), reason.startswith(LATE)
    return Skipped(address, candidate.origin, reason, remedy, late)


class _Client(docker.APIClient):
    """docker-py's client; an engine's certificate is held against the CA of its own settings.

    requests lets REQUESTS_CA_BUNDLE, which a company's proxy needs, win over that (psf/requests#3829).
    Its version is asked for once: docker-py asks for it to choose the API's, and engines may start programs
    to answer. Notebooks call it, too: what the stop button or a stopped engine ends is told in a few lines.
    """

    found: Candidate | None = None  # once it has answered
    _answered: Mapping[str, Any] | None = None

    @short_traceback_on_interrupt("this program no longer waits for the engine's answer; run the cell again")
    def send(self, request: Any, **options: Any) -> Any:
        try:
            return super().send(request, **options)
        except requests.ConnectionError as error:
            if self.found is None:
                raise
            raise EngineLost(
                "The container engine does not answer any more.",
                where=_PASSWORD.sub("***", self.found.address),
                why=lost(error, self.found.address, self.found.tls, READ_SECONDS),
                remedy="see what it needs (./stagelens doctor), then run this again",
            ) from error

    def version(self, api_version: bool = True) -> Any:
        if self._answered is None:
            self._answered = super().version(api_version)
        return self._answered

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        own = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, own, cert)


class _SshClient(_Client):
    """The same through `ssh`: docker-py sees a unix socket, since that is what `SshAdapter` gives it."""

    def __init__(self, address: str, timeout: int) -> None:
        # A version that is given keeps docker-py from asking before the adapter is there.
        super().__init__("unix:///ssh", DEFAULT_DOCKER_API_VERSION, timeout=timeout)
        self.mount("http+docker://", SshAdapter(address, timeout))
        self._version = cast(Any, self)._retrieve_server_version()


def _client(candidate: Candidate, timeout: int) -> _Client:
    # Windows has no socket that a program could take as its standard input.
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
        id=str(info.get("ID") or ""),
        proxies=tuple((name, str(info[key])) for key, name in _PROXIES.items() if info.get(key)),
        mirrors=tuple(str(each) for each in (info.get("RegistryConfig") or {}).get("Mirrors") or ()),
    )
