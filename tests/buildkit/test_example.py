"""The example in the documentation, run by a process without our settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stagelens.engine import Engine

SCRIPT = Path(__file__).parents[2] / "docs/examples/session_build.py"


def run(engine: Engine, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env=os.environ | {"DOCKER_HOST": engine.address},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.engine
def test_example_builds_with_a_secret_into_a_folder(engine: Engine, tmp_path: Path, unique: str) -> None:
    context, secret = tmp_path / "project", tmp_path / "secret"
    context.mkdir()
    secret.write_text("open sesame")
    (context / "a").write_text("a\n")
    (context / "Dockerfile").write_text(
        "FROM diamol/base AS work\nCOPY a /a\n"
        f"RUN --mount=type=secret,id=pw,required=true wc -c < /run/secrets/pw > /out && : {unique}\n"
        "FROM scratch\nCOPY --from=work /a /out /\n"
    )
    done = run(engine, context, "--secret", f"pw={secret}", "--output", tmp_path / "dist")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dist/a").read_text() == "a\n"
    assert (tmp_path / "dist/out").read_text().strip() == "11"
    assert "COPY a /a" in done.stdout

    (context / "a").write_text("b\n")
    (context / "Dockerfile").write_text("FROM diamol/base\nRUN exit 3\n")
    done = run(engine, context)
    assert done.returncode == 1
    assert "the build failed" in done.stderr


@pytest.mark.engine
def test_example_tags_an_image(engine: Engine, tmp_path: Path, unique: str, clean: object) -> None:
    (tmp_path / "Dockerfile").write_text("FROM diamol/base\nCOPY Dockerfile /\n")
    done = run(engine, tmp_path, "--tag", f"{unique}:x")
    assert done.returncode == 0, done.stderr
    assert engine.api.inspect_image(f"{unique}:x")["Id"] in done.stdout
