"""Clients of docker-py, which are created here only.

Importing docker-py takes longer than a cached build, so this module is imported when a client is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast

import docker
import requests
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool

from stagelens import timeouts
from stagelens.engine.client import Candidate, without_password
from stagelens.engine.connection_failures import describe_disconnect
from stagelens.engine.ssh import SshSocket, dial_command
from stagelens.errors import StagelensError, short_traceback_on_interrupt


def open_client(candidate: Candidate, timeout: int, version: str = "auto") -> docker.APIClient:
    """Return a client for an engine.

    Parameters
    ----------
    candidate
        The engine's address.
    timeout
        Seconds to wait for each part of an answer.
    version
        The version of the Engine API; "auto" asks the engine.
    """
    # On Windows no program can use a socket as its standard input.
    if candidate.address.startswith("ssh://") and sys.platform != "win32":
        return _SshClient(candidate.address, timeout)
    return _Client(candidate.address, version, timeout=timeout, tls=candidate.tls or False)


def use_client(api: docker.APIClient, candidate: Candidate) -> None:
    """Give a client the time limit and the error messages of an engine that has answered."""
    api.timeout = timeouts.current.engine_read
    cast(_Client, api).candidate = candidate


class EngineLost(StagelensError, requests.ConnectionError):
    """An engine that answered before no longer answers.

    It is docker-py's own error as well, for code that catches requests.ConnectionError.
    """


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
                where=without_password(address),
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


class SshAdapter(UnixHTTPAdapter):
    """docker-py's adapter for a Unix socket, with a separate `ssh` process for each connection."""

    def __init__(self, address: str, timeout: int) -> None:
        self._command = dial_command(address)
        super().__init__("http+unix://ssh", timeout)
        self.socket_path = address  # for error messages; no socket has this path

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        """Return one pool for all paths: a connection costs more here than with a local socket."""
        pools = cast(Any, self.pools)
        with pools.lock:
            pool = pools.get("ssh")
            if pool is None:
                pool = pools["ssh"] = _Pool("ssh", "ssh", self.timeout)
                pool.program = self._command
        return pool


class _Pool(UnixHTTPConnectionPool):
    program: list[str]

    def _new_conn(self) -> Any:
        return _Connection(self.program, self.timeout)


class _Connection(UnixHTTPConnection):
    def __init__(self, program: list[str], timeout: Any) -> None:
        super().__init__("ssh", "ssh", timeout)
        self._program = program

    def connect(self) -> None:
        self.sock = SshSocket(self._program)
        self.sock.settimeout(self.timeout)
