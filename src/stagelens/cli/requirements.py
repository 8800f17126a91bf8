"""Programs of the operating system that stagelens needs; root on Debian can install them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from stagelens.cli.console import err, spinner
from stagelens.errors import StagelensError

_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"

_LOCK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the Debian package that contains it."""

    name: str
    package: str


ENGINE = (Program("dockerd", "docker.io"), Program("iptables", "iptables"), Program("ip", "iproute2"))
LIMITS = (Program("mkfs.ext4", "e2fsprogs"), Program("mount", "mount"), Program("umount", "mount"))


def find_missing(programs: tuple[Program, ...]) -> tuple[Program, ...]:
    """Return the programs that are not installed."""
    return tuple(program for program in programs if shutil.which(program.name, path=_PATH) is None)


def ensure_installed(programs: tuple[Program, ...]) -> None:
    """Install the programs that are missing.

    Raises
    ------
    StagelensError
        If this process cannot install them; the remedy is the command that does.
    """
    missing = find_missing(programs)
    if not missing:
        return
    packages = [program.package for program in missing]
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if sys.platform != "linux":
        raise StagelensError(
            "A container engine is needed.",
            remedy="install and start Docker Desktop (or Podman), then run this again",
        )
    if shutil.which("apt-get") is None:
        raise StagelensError(
            f"These programs are missing: {', '.join(p.name for p in missing)}.",
            remedy="install Docker with your system's package manager, start it, then run this again",
        )
    if os.geteuid() != 0:
        raise StagelensError(
            f"These programs are missing: {', '.join(p.name for p in missing)}.",
            remedy=f"sudo {' '.join(command)}   then run this again",
        )
    err.print(f"missing: {', '.join(program.name for program in missing)}", markup=False)
    with spinner(f"installing {', '.join(packages)}"):
        # Errors of the update that matter make the installation fail.
        _apt(["apt-get", "update"])
        done = _apt(command)
    if done.returncode:
        raise StagelensError(
            f"{' '.join(command[:2])} failed.",
            why="\n".join(done.stderr.splitlines()[-8:]),
            remedy=f"fix what the message says, then run: apt-get update && {' '.join(command)}",
        )


def _apt(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run apt-get; wait while another program has its locks, as after the start of a machine."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            check=False,
        )
        if "Could not get lock" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(2)
