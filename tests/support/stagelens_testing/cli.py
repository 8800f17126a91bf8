"""The docker CLI with buildx, from Debian's packages, for comparisons with builds of stagelens."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from stagelens.engine import Engine
from stagelens_testing import packages


def docker(engine: Engine, config: Path, *arguments: str | Path) -> str:
    """Run the CLI against an engine, with a folder for its configuration, and return its output.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; the error's `stderr` has its messages.
    """
    root = packages.unpack()
    plugins = next(root.glob("usr/lib*/docker/cli-plugins"))
    config.mkdir(exist_ok=True)
    (config / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(plugins)]}))
    environment = os.environ | {"DOCKER_HOST": engine.address, "DOCKER_CONFIG": str(config)}
    command = [root / "usr/bin/docker", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout
