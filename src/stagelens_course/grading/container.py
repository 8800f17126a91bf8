"""A submission's image at work, shut in: no network, no capability, nothing to write to but a small /tmp.

The container that asks comes first and has no network but its own loopback; the submission's containers
join it, one after the other, and are asked from inside. So neither needs a network that has to be made and
removed, nothing is published, and it works alike where the engine is in a virtual machine.
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
_ASK_SECONDS = 2
_ROUNDS = 5
# A shell, since the first process must take in the children that `timeout` leaves.
_REAP = "while true; do sleep 60; done"
# Tries for a second, then the container's state is looked at: it may have ended. (busybox as Debian builds
# it has no wget -T.) The last word tells how much came before it, on the other stream.
_ASK = """
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
  # A server that says nothing: whether the check was cancelled meanwhile is known outside.
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
    """What came back: `body` is None where nothing did, `why` says then what was seen instead.

    `local_only` is true where the port is open for the container itself and nobody else, `ended` where
    the container did not start or did not stay.
    """

    body: str | None
    why: str = ""
    local_only: bool = False
    ended: bool = False


@contextmanager
def client_container(engine: Engine, labels: Mapping[str, str]) -> Generator[str]:
    """Run a container that can ask, and yield its name. It has a loopback only, and is removed at the end."""
    api = engine.api
    host = api.create_host_config(
        network_mode="none",
        mem_limit=64 * 1024**2,
        pids_limit=128,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs={"/tmp": "size=1m"},
        # Ports below 1024 for everybody: a submission then needs no capability to serve on port 80.
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0"},
    )
    with _named(engine) as name:
        _create(
            engine,
            CLIENT_IMAGE,
            ["sh", "-c", _REAP],
            name=name,
            host_config=host,
            labels=dict(labels),
            stop_signal="SIGKILL",
        )
        api.start(name)
        yield name


def request_page(
    engine: Engine,
    client_id: str,
    image: str,
    *,
    limits: SubmissionLimits,
    labels: Mapping[str, str],
    port: int = 80,
    path: str = "/",
    environment: Mapping[str, str] | None = None,
    cancel: Cancel | None = None,
) -> ContainerResponse:
    """Start the image beside the asker, ask it over HTTP until it answers, and remove it."""
    api = engine.api
    volumes = (api.inspect_image(image).get("Config") or {}).get("Volumes") or {}
    if len(volumes) > MAX_VOLUMES:
        return ContainerResponse(None, f"more than {MAX_VOLUMES} volumes", ended=True)
    with _named(engine) as name:
        try:
            _create(
                engine,
                image,
                name=name,
                environment=dict(environment or {}),
                labels=dict(labels),
                host_config=_host(engine, client_id, limits, list(volumes)),
                # The engine would run the image's own in the container, as often as that says.
                healthcheck={"test": ["NONE"]},
            )
            api.start(name)
        except APIError as error:
            return ContainerResponse(
                None, plain_line(str(error.explanation or error).replace("\n", " "))[:500], ended=True
            )
        return _until_answered(engine, client_id, name, port, path, limits, cancel)


@contextmanager
def _named(engine: Engine) -> Generator[str]:
    """Return a name for a container, which is removed at the end."""
    name = f"stagelens-grade-{secrets.token_hex(10)}"
    try:
        yield name
    finally:
        # What the engine keeps nonetheless has a label, and is swept by the next grader.
        with defer_signals(), suppress(APIError):
            remove_container(engine.api, name)


def _create(engine: Engine, image: str, command: list[str] | None = None, **settings: Any) -> None:
    # Given up, it would come after its removal.
    with defer_signals():
        engine.api.create_container(image, command, **settings)


def _host(engine: Engine, client_id: str, limits: SubmissionLimits, volumes: list[str]) -> dict[str, Any]:
    tmpfs = dict.fromkeys(("/tmp", "/run", *volumes), f"size={limits.disk}")
    made = engine.api.create_host_config(
        network_mode=f"container:{client_id}",
        mem_limit=limits.memory,
        memswap_limit=limits.memory,
        pids_limit=limits.pids,
        # The engine refuses a container that may use more cores than there are.
        nano_cpus=round(min(limits.cpus, engine.info.cpus or limits.cpus) * 1e9),
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        # What a VOLUME names would be a folder on the engine's disk, without a limit.
        tmpfs=tmpfs,
        log_config={"type": "json-file", "config": {"max-size": "1m", "max-file": "1"}},
    )
    return cast(dict[str, Any], made)


def _until_answered(
    engine: Engine,
    client_id: str,
    container: str,
    port: int,
    path: str,
    limits: SubmissionLimits,
    cancel: Cancel | None,
) -> ContainerResponse:
    api = engine.api
    script = _ASK.format(seconds=_ASK_SECONDS, port=port, path=path, limit=MAX_BODY)
    deadline = time.monotonic() + limits.answer
    while True:
        answered, body, notes = _asked(api, client_id, script)
        if answered:
            return ContainerResponse(body, local_only=_is_local_only(notes, port))
        if cancel is not None and cancel.requested:
            raise BuildCancelled("The check was cancelled.")
        said = plain_line(notes.strip().replace("\n", " "))[:300]
        state = api.inspect_container(container)["State"]
        if not state["Running"]:
            return ContainerResponse(None, _ended(engine, container, state), ended=True)
        if "HTTP/" in said or time.monotonic() > deadline:
            if "refused" in said or not said:
                said = f"nothing answers on port {port} within {limits.answer:g} s"
            return ContainerResponse(None, said)


def _asked(api: docker.APIClient, client_id: str, script: str) -> tuple[bool, str, str]:
    """Run the script in the asker: whether it got an answer, the body, and what else it said.

    A busy engine loses output that it has not read two seconds after a program's end (or all of it): then
    the script is run again.
    """
    answered, out, notes = False, b"", b""
    for _ in range(_ROUNDS):
        made = api.exec_create(client_id, ["sh", "-c", script])
        out, err = (said or b"" for said in api.exec_start(made["Id"], demux=True))
        answered = api.exec_inspect(made["Id"])["ExitCode"] == 0
        notes, _, last = err.rpartition(b"\n")
        if last == b"end %d" % len(out):
            break
    return answered, out.decode("utf-8", "replace"), notes.decode("utf-8", "replace")


def _ended(engine: Engine, container: str, state: Mapping[str, Any]) -> str:
    if state.get("OOMKilled"):
        return "the container ended: it needed more memory than it may have"
    with suppress(APIError):
        lines = engine.api.logs(container, tail=5).decode("utf-8", "replace").splitlines()
        said = " / ".join(plain_line(line) for line in lines)[-500:]
        return f"the container ended with exit code {state.get('ExitCode')}" + (f": {said}" if said else "")
    return "the container ended"


def _is_local_only(table: str, port: int) -> bool:
    """Whether every listening socket at `port` has a loopback address, in the words of proc_net_tcp(5)."""
    addresses: list[str] = []
    for line in table.splitlines():
        fields = line.split()
        # State 0A is LISTEN; addresses are hexadecimal, IPv4's least byte first.
        if len(fields) > 3 and fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
            addresses.append(fields[1].partition(":")[0])
    loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
    return bool(addresses) and all(address in loopback for address in addresses)
