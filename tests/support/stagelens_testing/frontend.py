"""A real frontend for `# syntax=`: BuildKit's own for Dockerfiles, built from its module and kept."""

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

# Knows here-documents and COPY --link, which Engine 20.10's own frontend does not; by the tags below COPY's
# --parents and --exclude as well, which Engine 26's does not. `go install` takes no much later version.
MODULE, VERSION = "github.com/moby/buildkit/frontend/dockerfile/cmd/dockerfile-frontend", "v0.16.0"
# Without optimisation it is built in half of the time: 50 s of two cores, with nothing cached.
_FLAGS = (
    "-trimpath",
    "-ldflags=-s -w",
    "-gcflags=all=-N -l -dwarf=false",
    "-tags=netgo,osusergo,static_build,dfparents,dfexcludepatterns",
)
# What an engine wants to know of a frontend: see frontend/dockerfile/cmd/dockerfile-frontend/Dockerfile.
_CHANGES = [
    "LABEL moby.buildkit.frontend.network.none=true",
    "LABEL moby.buildkit.frontend.caps=moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests",
    'ENTRYPOINT ["/dockerfile-frontend"]',
]


def lacking() -> str | None:
    """None where the frontend can be had here, else what is missing, in words."""
    return None if _place().exists() or shutil.which("go") else "a frontend is built with Go: not installed"


def pushed(registry: Registry, engine: Engine, unique: str) -> str:
    """An image of the frontend that only the registry has; returns its full name.

    It is imported and not built: the engine keeps no layer of it then, and has to pull all.
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


def _place() -> Path:
    return cache_dir() / f"dockerfile-frontend-{VERSION}"


def _program() -> Path:
    place = _place()
    with FileLock(place.with_name(f"{place.name}.lock")):
        if not place.exists():
            with tempfile.TemporaryDirectory(prefix="frontend-", dir=cache_dir()) as name:
                environment = os.environ | {"GOBIN": name, "CGO_ENABLED": "0"}
                command = ["go", "install", *_FLAGS, f"{MODULE}@{VERSION}"]
                subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=True)
                Path(name, "dockerfile-frontend").rename(place)
    return place
