"""The image stagelens/debian: a minimal system of the host's release, the base of the larger replicas."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from stagelens.buildkit import Cancel
from stagelens.concurrency import poll
from stagelens.paths import cache_dir
from stagelens_course.images import apt
from stagelens_course.images.programs import run_program

NAME = "stagelens/debian"
PACKAGES = ("ca-certificates",)
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_REMOVAL_SECONDS = 10

# Documentation is also left out of packages that are installed later. Without fsync after each file dpkg is
# much faster, and an interrupted build leaves no image anyway (dpkg(1), --force-unsafe-io).
_DPKG = """force-unsafe-io
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/man?/*
path-exclude=/usr/share/locale/*/LC_MESSAGES/*.mo
"""
_APT = """APT::Install-Recommends "false";
Acquire::Languages "none";
"""
FILES = {
    "etc/dpkg/dpkg.cfg.d/stagelens": _DPKG,
    "etc/apt/apt.conf.d/99stagelens": _APT,
}
_UNWANTED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


def provide_tarball(recipe: str, report: Callable[[str], None], cancel: Cancel | None = None) -> Path:
    """Return the system's files as a tar in the cache; debootstrap makes it in half a minute if it is new.

    Parameters
    ----------
    recipe
        The digest of what the system is made from; another recipe makes another tar.
    report
        Called with a line that says what is being done.
    cancel
        Stops the work when it is called.

    Raises
    ------
    ReplicaFailed
        If this host cannot make it, or debootstrap failed.
    """
    target = cache_dir() / f"debian-{recipe[:16]}.tar"
    if target.exists():
        return target
    apt.require_debian("debootstrap", "unshare")
    sources = apt.release_sources(cancel)
    temporary = tempfile.gettempdir()
    # debootstrap accepts no folder whose name has blanks.
    parent = temporary if temporary.split() == [temporary] else "/var/tmp"
    folder = Path(tempfile.mkdtemp(prefix="stagelens-debian-", dir=parent))
    part = target.with_suffix(".part")
    try:
        # From the first report on, an interrupt leaves nothing behind.
        report("making a Debian with debootstrap")
        root = folder / "root"
        _bootstrap(root, sources, cancel)
        configure(root, sources)
        report("packing the Debian")
        pack = ["tar", "--numeric-owner", "-C", str(root), "--exclude=./dev/*", "-cf", str(part), "."]
        run_program(pack, cancel=cancel)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
        _remove(folder)
    for older in cache_dir().glob("debian-*.tar"):
        if older != target:
            with suppress(OSError):
                older.unlink()
    return target


def _remove(folder: Path) -> None:
    """Remove a folder in which killed programs may still finish a write."""
    for _ in poll(_REMOVAL_SECONDS, 0.05):
        if not folder.exists():
            break
        shutil.rmtree(folder, ignore_errors=True)


def _bootstrap(root: Path, sources: Iterable[apt.AptSource], cancel: Cancel | None) -> None:
    suite = apt.codename()
    mirror = next(s.uri for s in sources if s.suite == suite and s.component == "main")
    # In separate namespaces, everything that debootstrap mounts and starts ends with it.
    isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    include = f"--include={','.join(PACKAGES)}"
    debootstrap = ["debootstrap", "--variant=minbase", include, suite, str(root), mirror]
    run_program([*isolated, *debootstrap], cancel=cancel)


def configure(root: Path, sources: Iterable[apt.AptSource]) -> None:
    """Write the host's package sources into the system, and remove what an image does not need."""
    for path in _UNWANTED:
        shutil.rmtree(root / path, ignore_errors=True)
        (root / path).mkdir(parents=True, exist_ok=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    for path, text in FILES.items():
        (root / path).write_text(text)
    (root / "etc/apt/sources.list").write_text("".join(source.line() for source in sources))
    # Installing over TLS needs CAs before the image has any: take those that the host's apt trusts.
    if any(source.uri.startswith("https:") for source in sources) and BUNDLE.is_file():
        shutil.copyfile(BUNDLE, root / BUNDLE.relative_to("/"))
    # Not the host's name and name servers: the engine writes these files at run time.
    for path in ("etc/hostname", "etc/resolv.conf"):
        (root / path).write_text("")
