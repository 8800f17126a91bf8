"""Checks, with real builds, that a transport to an engine works."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import stagelens
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds import Backend, LogLine, Vertex
from stagelens.engine import Engine
from stagelens_testing.resources import no_leaks, threads


def check_context_and_secrets(engine: Engine, folder: Path, tag: str) -> None:
    """Check that a build through a session gets 3 MB of context and a secret."""
    (folder / "Dockerfile").write_text(
        "FROM diamol/base\nCOPY big /\nRUN --mount=type=secret,id=word grep -q secret /run/secrets/word\n"
    )
    (folder / "big").write_bytes(os.urandom(3_000_000))
    trace = stagelens.build(folder, tags=[tag], secrets={"word": b"secret"}, engine=engine)
    assert (trace.backend, trace.context_bytes) == ("session", 3_000_000)


def check_cancel(engine: Engine, folder: Path, unique: str, backend: Backend) -> None:
    """Check that a cancelled build in a long RUN ends, and that no thread of it stays."""
    (folder / "Dockerfile").write_text(f"FROM diamol/base\nRUN echo {unique} && sleep 600\n")
    cancel = Cancel()

    def watch(vertex: Vertex, new: tuple[LogLine, ...]) -> None:
        if any(unique in line.text for line in new):
            threading.Thread(target=cancel, name="stagelens-test").start()

    with no_leaks(threads), pytest.raises(BuildCancelled):
        stagelens.build(folder, engine=engine, on_vertex=watch, cancel=cancel, backend=backend)
