"""The host's apt: its release, and the sources that it installs packages from."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass

from stagelens.buildkit import Cancel
from stagelens_course.images.model import ReplicaFailed
from stagelens_course.images.programs import PATH, run_program

_COMPONENTS = frozenset({"main", "universe"})


@dataclass(frozen=True, slots=True)
class AptSource:
    """A suite and component of a package archive."""

    uri: str
    suite: str
    component: str

    def line(self) -> str:
        """Return the source in the one-line form of sources.list(5)."""
        return f"deb {self.uri} {self.suite} {self.component}\n"


def codename() -> str:
    """Return the suite of the host's release, such as "bookworm", or "" where it has none."""
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        return ""


def require_debian(*programs: str) -> None:
    """Refuse a host that cannot make replicas, before anything is started.

    Raises
    ------
    ReplicaFailed
        If this is not Debian or Ubuntu, the user is not root, or one of the programs is not installed.
    """
    elsewhere = "set STAGELENS_REGISTRY_MIRROR to a registry you can reach, then run: stagelens images"
    if sys.platform != "linux" or not shutil.which("apt-get", path=PATH) or not codename():
        raise ReplicaFailed(
            "Local replicas of the base images can only be made on Debian or Ubuntu.",
            why="they are made from the packages of the host's release",
            remedy=elsewhere,
        )
    if os.geteuid() != 0:
        raise ReplicaFailed(
            "Only root can make local replicas of the base images.",
            why="their files belong to root",
            remedy=f"sudo stagelens images --source replica   or {elsewhere}",
        )
    missing = [name for name in programs if not shutil.which(name, path=PATH)]
    if missing:
        raise ReplicaFailed(
            f"These programs are missing: {', '.join(missing)}.",
            remedy=f"apt-get install -y --no-install-recommends {' '.join(missing)}   then run this again",
        )


def release_sources(cancel: Cancel | None = None) -> list[AptSource]:
    """Return the host's package sources of its release, without those of other vendors.

    `apt-get indextargets` (apt's doc/acquire-additional-files.md) prints how apt reads every sources file, in
    either format.

    Raises
    ------
    ReplicaFailed
        If no source has the release's main component.
    """
    fetch_lists(cancel)
    sources = parse_targets(_targets(), codename())
    if not any(s.suite == codename() and s.component == "main" for s in sources):
        raise ReplicaFailed(
            "apt has no source for this release's main component.",
            where="/etc/apt/sources.list and /etc/apt/sources.list.d",
            remedy="add the source, run: apt-get update   then run this again",
        )
    return sources


def fetch_lists(cancel: Cancel | None = None) -> None:
    """Download apt's package lists if there are none, as in small images for CI.

    Raises
    ------
    ReplicaFailed
        If apt could not download them.
    """
    if not _targets():
        run_program(["apt-get", "update"], cancel=cancel)


def _targets() -> str:
    wanted = ["--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"]
    return run_program(["apt-get", "indextargets", *wanted])


def parse_targets(text: str, suite: str) -> list[AptSource]:
    """Parse lines of `uri|suite|component`; keep the suite, its updates and its security updates."""
    suites = {suite, f"{suite}-updates", f"{suite}-security"}
    fields = (line.split("|") for line in text.splitlines() if line.count("|") == 2)
    sources = (AptSource(*parts) for parts in fields if parts[1] in suites and parts[2] in _COMPONENTS)
    return list(dict.fromkeys(sources))
