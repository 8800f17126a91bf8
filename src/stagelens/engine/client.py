"""The one place where a docker client is made: asked once, with a deadline, then kept."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import DockerException
from docker.tls import TLSConfig
from docker.utils import version_gte

from stagelens.engine.model import EngineInfo, Skipped

PROBE_SECONDS = 3.0
SSH_PROBE_SECONDS = 15.0
# Between two bytes of an answer, not for a whole one: a commit or a save of a large image may pause long.
READ_SECONDS = 600
# Fields of `GET /info` -> the variables that would set them for a program.
_PROXIES = {"HttpProxy": "HTTP_PROXY", "HttpsProxy": "HTTPS_PROXY", "NoProxy": "NO_PROXY"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """Where an engine may be. `problem` is set where the place cannot even be asked."""

    address: str
    origin: str
    tls: TLSConfig | None = None
    problem: str | None = None


def probe(candidate: Candidate) -> tuple[docker.APIClient, EngineInfo] | Skipped:
    """Ask a candidate for its version within 3 s (ssh: 15 s); a client and its facts, or why not."""
    if candidate.problem is not None:
        return Skipped(candidate.address, candidate.origin, candidate.problem)
    seconds = SSH_PROBE_SECONDS if candidate.address.startswith("ssh://") else PROBE_SECONDS
    answer: list[tuple[docker.APIClient, EngineInfo] | Exception] = []

    def ask() -> None:
        try:
            api = _Client(candidate.address, "auto", timeout=int(seconds), tls=candidate.tls or False)
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
        return Skipped(candidate.address, candidate.origin, f"no answer within {seconds:g} s")
    result = answer[0]
    if isinstance(result, Exception):
        reason, remedy = _explain(result, candidate)
        return Skipped(candidate.address, candidate.origin, reason, remedy)
    api, info = result
    api.timeout = READ_SECONDS
    return api, info


class _Client(docker.APIClient):
    """docker-py's client; an engine's certificate is held against the CA of its own settings.

    requests lets REQUESTS_CA_BUNDLE, which a company's proxy needs, win over that (psf/requests#3829).
    Its version is asked for once: docker-py asks for it to choose the API's, and engines may start programs
    to answer.
    """

    _answered: Mapping[str, Any] | None = None

    def version(self, api_version: bool = True) -> Any:
        if self._answered is None:
            self._answered = super().version(api_version)
        return self._answered

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        own = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, own, cert)


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


def _explain(error: Exception, candidate: Candidate) -> tuple[str, str | None]:
    """The innermost cause in words, and a remedy where there is one of its own."""
    text = str(error)
    if "paramiko" in text:
        return "ssh addresses need the paramiko package", "pip install 'stagelens[ssh]'"
    chain = _causes(error)
    if any(isinstance(cause, PermissionError) for cause in chain):
        group = "podman.socket's owner" if "podman" in candidate.address else "the docker group"
        remedy = (
            "run this as that user"
            if "podman" in candidate.address
            else "sudo usermod -aG docker $USER, then log out and in (or run this as root)"
        )
        return f"permission denied: you are not in {group}", remedy
    if any(isinstance(cause, FileNotFoundError) for cause in chain):
        return "no such socket", None
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return "the address is there, but nothing listens on it", None
    if any(isinstance(cause, TimeoutError) for cause in chain) or "timed out" in text.lower():
        return f"no answer within {PROBE_SECONDS:g} s", None
    if not isinstance(error, DockerException | OSError):
        return f"not an engine: {type(error).__name__}: {text[:200]}", None
    return text.removeprefix("Error while fetching server API version: ")[:300], None


def _causes(error: BaseException) -> list[BaseException]:
    """The error, what caused it, and the errors wrapped as arguments (urllib3 and requests do that)."""
    found: list[BaseException] = []
    todo: list[BaseException] = [error]
    while todo and len(found) < 50:
        current = todo.pop()
        if current in found:
            continue
        found.append(current)
        todo += [e for e in (current.__cause__, current.__context__) if e is not None]
        todo += [arg for arg in current.args if isinstance(arg, BaseException)]
    return found
