"""What the host's own apt knows: the suite it follows, and where it gets packages from."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass

from stagelens.buildkit import Cancel
from stagelens_course.images.errors import ReplicaFailed
from stagelens_course.images.process import PATH, run

_COMPONENTS = frozenset({"main", "universe"})


@dataclass(frozen=True, slots=True)
class AptSource:
    """One suite and component of an archive."""

    uri: str
    suite: str
    component: str

    def line(self) -> str:
        """The source in sources.list(5)'s one-line form."""
        return f"deb {self.uri} {self.suite} {self.component}\n"


def codename() -> str:
    """The suite of the host's release ("bookworm"), or "" where it has none."""
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        return ""


def require_debian(*programs: str) -> None:
    """Say what is missing for a replica, before anything is started.

    Raises
    ------
    ReplicaFailed: not Linux, not Debian or Ubuntu, not root, or a program is not installed.
    """
    elsewhere = "set STAGELENS_REGISTRY_MIRROR to a registry you can reach, then run: stagelens images"
    if sys.platform != "linux" or not shutil.which("apt-get", path=PATH) or not codename():
        raise ReplicaFailed(
            "Local replicas of the base images are made on Debian or Ubuntu only.",
            why="they are put together from the packages of the host's own release",
            remedy=elsewhere,
        )
    if os.geteuid() != 0:
        raise ReplicaFailed(
            "Local replicas of the base images are made by root only.",
            why="their files belong to root",
            remedy=f"sudo stagelens images --source replica   or {elsewhere}",
        )
    lacking = [name for name in programs if not shutil.which(name, path=PATH)]
    if lacking:
        raise ReplicaFailed(
            f"These programs are missing: {', '.join(lacking)}.",
            remedy=f"apt-get install -y --no-install-recommends {' '.join(lacking)}   then run this again",
        )


def apt_sources(cancel: Cancel | None = None) -> list[AptSource]:
    """The host's sources of its own release; those of other vendors are left out.

    `apt-get indextargets` (apt's doc/acquire-additional-files.md) prints apt's own reading of every
    sources file, in either format.

    Raises
    ------
    ReplicaFailed: the release's main component is in no source.
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
    """Get apt's lists of packages where there are none: images for CI leave them out to be small.

    Raises
    ------
    ReplicaFailed: apt could not get them.
    """
    if not _targets():
        run(["apt-get", "update"], cancel=cancel)


def _targets() -> str:
    wanted = ["--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"]
    return run(["apt-get", "indextargets", *wanted])


def parse_targets(text: str, suite: str) -> list[AptSource]:
    """Lines of `uri|suite|component`, kept where the suite is `suite` or one that belongs to it."""
    suites = {suite, f"{suite}-updates", f"{suite}-security"}
    fields = (line.split("|") for line in text.splitlines() if line.count("|") == 2)
    sources = (AptSource(*parts) for parts in fields if parts[1] in suites and parts[2] in _COMPONENTS)
    return list(dict.fromkeys(sources))
