"""Programs of the operating system that stagelens needs, named and, as root on Debian, installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from stagelens.cli.console import err, working
from stagelens.errors import StagelensError

_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"

_LOCK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the Debian package that brings it."""

    name: str
    package: str


ENGINE = (Program("dockerd", "docker.io"), Program("iptables", "iptables"), Program("ip", "iproute2"))
LIMITS = (Program("mkfs.ext4", "e2fsprogs"), Program("mount", "mount"), Program("umount", "mount"))


def missing(programs: tuple[Program, ...]) -> tuple[Program, ...]:
    """Those of `programs` that are not there."""
    return tuple(program for program in programs if shutil.which(program.name, path=_PATH) is None)


def provide(programs: tuple[Program, ...]) -> None:
    """Install what is missing.

    Raises
    ------
    StagelensError: it cannot be installed from here; the remedy is the command that does it.
    """
    lacking = missing(programs)
    if not lacking:
        return
    packages = [program.package for program in lacking]
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if sys.platform != "linux":
        raise StagelensError(
            "A container engine is needed.",
            remedy="install and start Docker Desktop (or Podman), then run this again",
        )
    if shutil.which("apt-get") is None:
        raise StagelensError(
            f"These programs are missing: {', '.join(p.name for p in lacking)}.",
            remedy="install Docker with your system's package manager, start it, then run this again",
        )
    if os.geteuid() != 0:
        raise StagelensError(
            f"These programs are missing: {', '.join(p.name for p in lacking)}.",
            remedy=f"sudo {' '.join(command)}   then run this again",
        )
    err.print(f"missing: {', '.join(program.name for program in lacking)}", markup=False)
    with working(f"installing {', '.join(packages)}"):
        # What an update could not do, the installation tells where it matters.
        _apt(["apt-get", "update"])
        done = _apt(command)
    if done.returncode:
        raise StagelensError(
            f"{' '.join(command[:2])} failed.",
            why="\n".join(done.stderr.splitlines()[-8:]),
            remedy=f"mend what it says, then run: apt-get update && {' '.join(command)}",
        )


def _apt(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run apt-get; while another program has its locks, as on a machine that has just started, it waits."""
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
