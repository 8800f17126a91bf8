"""A real frontend for `# syntax=`: BuildKit's Dockerfile frontend, built from its module and cached."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from filelock import FileLock

from stagelens.engine import Engine
from stagelens.paths import cache_dir
from stagelens_testing.registry import Registry

# It supports here-documents and COPY --link, unlike the frontend in Engine 20.10, and with the tags below
# COPY's --parents and --exclude, unlike the one in Engine 26. `go install` accepts no much later version.
MODULE, VERSION = "github.com/moby/buildkit/frontend/dockerfile/cmd/dockerfile-frontend", "v0.16.0"
# Without optimization the build takes half the time: 50 s on two cores, with nothing cached.
_FLAGS = (
    "-trimpath",
    "-ldflags=-s -w",
    "-gcflags=all=-N -l -dwarf=false",
    "-tags=netgo,osusergo,static_build,dfparents,dfexcludepatterns",
)
# What an engine needs to know about a frontend: see frontend/dockerfile/cmd/dockerfile-frontend/Dockerfile.
_CHANGES = [
    "LABEL moby.buildkit.frontend.network.none=true",
    "LABEL moby.buildkit.frontend.caps=moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests",
    'ENTRYPOINT ["/dockerfile-frontend"]',
]


def unavailable_reason() -> str | None:
    """Return why the frontend cannot be provided here, or None if it can."""
    return None if _path().exists() or shutil.which("go") else "a frontend is built with Go: not installed"


def push(registry: Registry, engine: Engine, unique: str) -> str:
    """Push an image of the frontend that only the registry has, and return its full name.

    It is imported, not built: so the engine stores no layer of it and has to pull all of them.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(_program(), "dockerfile-frontend")
        tar.addfile(tarfile.TarInfo(unique))
    engine.api.import_image_from_data(archive.getvalue(), f"{unique}-frontend", "1", changes=_CHANGES)
    try:
        return registry.push(engine, f"{unique}-frontend:1", f"course/{unique}-frontend:1")
    finally:
        engine.api.remove_image(f"{unique}-frontend:1")


def _path() -> Path:
    return cache_dir() / f"dockerfile-frontend-{VERSION}"


def _program() -> Path:
    path = _path()
    with FileLock(path.with_name(f"{path.name}.lock")):
        if not path.exists():
            with tempfile.TemporaryDirectory(prefix="frontend-", dir=cache_dir()) as name:
                environment = os.environ | {"GOBIN": name, "CGO_ENABLED": "0"}
                command = ["go", "install", *_FLAGS, f"{MODULE}@{VERSION}"]
                subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=True)
                Path(name, "dockerfile-frontend").rename(path)
    return path
