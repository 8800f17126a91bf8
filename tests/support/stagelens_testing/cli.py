"""The docker CLI with buildx, from Debian's packages: what our builds are held against."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from stagelens.engine import Engine
from stagelens_testing import packages


def docker(engine: Engine, config: Path, *arguments: str | Path) -> str:
    """Run the CLI against an engine; `config` is a folder for its files. Returns what it prints.

    Raises
    ------
    subprocess.CalledProcessError: it failed; its words are in the error's `stderr`.
    """
    root = packages.unpacked()
    plugins = next(root.glob("usr/lib*/docker/cli-plugins"))
    config.mkdir(exist_ok=True)
    (config / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(plugins)]}))
    environment = os.environ | {"DOCKER_HOST": engine.address, "DOCKER_CONFIG": str(config)}
    command = [root / "usr/bin/docker", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout
