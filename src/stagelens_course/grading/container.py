"""A submission's container in isolation: no network, no capabilities, and small temporary folders to write.

A client container starts first, with a loopback interface only. The submission's containers join its network
one after the other, and the client sends the requests. So no network has to be made and removed, no port is
published, and an engine in a virtual machine needs nothing else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import docker
from docker.errors import APIError

from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds.logs import plain_line
from stagelens.concurrency import defer_signals
from stagelens.engine import Engine, remove_container
from stagelens_course.grading.model import SubmissionLimits

CLIENT_IMAGE = "diamol/base"
MAX_BODY = 64 * 1024
MAX_VOLUMES = 20
_REQUEST_SECONDS = 2
_ATTEMPTS = 5
# A shell: process 1 must reap the children that `timeout` leaves.
_IDLE = "while true; do sleep 60; done"
# Requests the page for a second; then the container's state is read, since it may have ended. Debian's
# busybox has no wget -T. The last line on standard error has the number of bytes on standard output.
_REQUEST = """
i=0
while [ $i -lt 10 ]; do
  timeout {seconds} wget -q -O /tmp/body http://127.0.0.1:{port}{path} 2>/tmp/error
  code=$?
  if [ $code -eq 0 ]; then
    cat /proc/net/tcp /proc/net/tcp6 >&2
    head -c {limit} /tmp/body
    printf '\nend %d' $(head -c {limit} /tmp/body | wc -c) >&2
    exit 0
  fi
  # A silent server: return, so that a cancel is noticed.
  [ $code -ge 124 ] && break
  grep -q 'HTTP/' /tmp/error && break
  i=$((i+1)); sleep 0.1
done
cat /tmp/error >&2
printf '\nend 0' >&2
exit 1
"""


@dataclass(frozen=True, slots=True)
class ContainerResponse:
    """A container's response to an HTTP request.

    Attributes
    ----------
    body
        The body of the response; None without a response.
    why
        Why there is no response.
    local_only
        Whether the port is open only inside the container.
    ended
        Whether the container did not start, or ended.
    """

    body: str | None
    why: str = ""
    local_only: bool = False
    ended: bool = False


@contextmanager
def client_container(engine: Engine, labels: Mapping[str, str]) -> Generator[str]:
    """Run a container that sends requests, and remove it when the block ends.

    Parameters
    ----------
    engine
        The engine.
    labels
        The labels of the container.

    Yields
    ------
    str
        The name of the container.
    """
    api = engine.api
    host = api.create_host_config(
        network_mode="none",
        mem_limit=64 * 1024**2,
        pids_limit=128,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs={"/tmp": "size=1m"},
        # All ports are unprivileged: a submission needs no capability to serve on port 80.
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0"},
    )
    with _container_name(engine) as name:
        _create(
            engine,
            CLIENT_IMAGE,
            ["sh", "-c", _IDLE],
            name=name,
            host_config=host,
            labels=dict(labels),
            stop_signal="SIGKILL",
        )
        api.start(name)
        yield name


def request_page(
    engine: Engine,
    client: str,
    image: str,
    *,
    limits: SubmissionLimits,
    labels: Mapping[str, str],
    port: int = 80,
    path: str = "/",
    environment: Mapping[str, str] | None = None,
    cancel: Cancel | None = None,
) -> ContainerResponse:
    """Start an image in the network of a client container, request a page until it answers, and remove it.

    Parameters
    ----------
    engine
        The engine.
    client
        The name of the client container.
    image
        The image to start.
    limits
        The resources that the container may use, and the time until it must answer.
    labels
        The labels of the container.
    port
        The port to request.
    path
        The path to request.
    environment
        Further environment variables of the container.
    cancel
        Stops the requests when it is called.

    Raises
    ------
    BuildCancelled
        If `cancel` was called.
    """
    api = engine.api
    volumes = (api.inspect_image(image).get("Config") or {}).get("Volumes") or {}
    if len(volumes) > MAX_VOLUMES:
        return ContainerResponse(None, f"more than {MAX_VOLUMES} volumes", ended=True)
    with _container_name(engine) as name:
        try:
            _create(
                engine,
                image,
                name=name,
                environment=dict(environment or {}),
                labels=dict(labels),
                host_config=_host_config(engine, client, limits, list(volumes)),
                # Otherwise the engine runs the image's HEALTHCHECK in the container.
                healthcheck={"test": ["NONE"]},
            )
            api.start(name)
        except APIError as error:
            return ContainerResponse(
                None, plain_line(str(error.explanation or error).replace("\n", " "))[:500], ended=True
            )
        return _poll_page(engine, client, name, port, path, limits, cancel)


@contextmanager
def _container_name(engine: Engine) -> Generator[str]:
    """Yield a name for a container, and remove the container when the block ends."""
    name = f"stagelens-grade-{secrets.token_hex(10)}"
    try:
        yield name
    finally:
        # If the engine refuses, the next grader removes it by its label.
        with defer_signals(), suppress(APIError):
            remove_container(engine.api, name)


def _create(engine: Engine, image: str, command: list[str] | None = None, **settings: Any) -> None:
    # Otherwise the engine could create it after its removal.
    with defer_signals():
        engine.api.create_container(image, command, **settings)


def _host_config(engine: Engine, client: str, limits: SubmissionLimits, volumes: list[str]) -> dict[str, Any]:
    tmpfs = dict.fromkeys(("/tmp", "/run", *volumes), f"size={limits.disk}")
    config = engine.api.create_host_config(
        network_mode=f"container:{client}",
        mem_limit=limits.memory,
        memswap_limit=limits.memory,
        pids_limit=limits.pids,
        # The engine refuses more cores than it has.
        nano_cpus=round(min(limits.cpus, engine.info.cpus or limits.cpus) * 1e9),
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        # A VOLUME would be a folder on the engine's disk without a limit.
        tmpfs=tmpfs,
        log_config={"type": "json-file", "config": {"max-size": "1m", "max-file": "1"}},
    )
    return cast(dict[str, Any], config)


def _poll_page(
    engine: Engine,
    client: str,
    container: str,
    port: int,
    path: str,
    limits: SubmissionLimits,
    cancel: Cancel | None,
) -> ContainerResponse:
    api = engine.api
    script = _REQUEST.format(seconds=_REQUEST_SECONDS, port=port, path=path, limit=MAX_BODY)
    deadline = time.monotonic() + limits.answer
    while True:
        answered, body, notes = _run_script(api, client, script)
        if answered:
            return ContainerResponse(body, local_only=_is_local_only(notes, port))
        if cancel is not None and cancel.requested:
            raise BuildCancelled("The check was cancelled.")
        problem = plain_line(notes.strip().replace("\n", " "))[:300]
        state = api.inspect_container(container)["State"]
        if not state["Running"]:
            return ContainerResponse(None, _describe_end(engine, container, state), ended=True)
        if "HTTP/" in problem or time.monotonic() > deadline:
            if "refused" in problem or not problem:
                problem = f"nothing answers on port {port} within {limits.answer:g} s"
            return ContainerResponse(None, problem)


def _run_script(api: docker.APIClient, client: str, script: str) -> tuple[bool, str, str]:
    """Run a script in the client container; return whether it got a response, the body, and its errors.

    A busy engine loses output that it has not read two seconds after the end of a program; then the script
    runs again.
    """
    answered, out, notes = False, b"", b""
    for _ in range(_ATTEMPTS):
        job = api.exec_create(client, ["sh", "-c", script])
        out, err = (stream or b"" for stream in api.exec_start(job["Id"], demux=True))
        answered = api.exec_inspect(job["Id"])["ExitCode"] == 0
        notes, _, last = err.rpartition(b"\n")
        if last == b"end %d" % len(out):
            break
    return answered, out.decode("utf-8", "replace"), notes.decode("utf-8", "replace")


def _describe_end(engine: Engine, container: str, state: Mapping[str, Any]) -> str:
    if state.get("OOMKilled"):
        return "the container ended: it exceeded its memory limit"
    with suppress(APIError):
        lines = engine.api.logs(container, tail=5).decode("utf-8", "replace").splitlines()
        last = " / ".join(plain_line(line) for line in lines)[-500:]
        return f"the container ended with exit code {state.get('ExitCode')}" + (f": {last}" if last else "")
    return "the container ended"


def _is_local_only(table: str, port: int) -> bool:
    """Return whether all sockets that listen at `port` have loopback addresses, see proc_net_tcp(5)."""
    addresses: list[str] = []
    for line in table.splitlines():
        fields = line.split()
        # State 0A is LISTEN; addresses are hexadecimal, IPv4's least byte first.
        if len(fields) > 3 and fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
            addresses.append(fields[1].partition(":")[0])
    loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
    return bool(addresses) and all(address in loopback for address in addresses)
