"""stagelens/debian: a minimal system of the host's own release, which the larger replicas stand on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from stagelens.buildkit import Cancel
from stagelens.concurrency import poll
from stagelens.paths import cache_dir
from stagelens_course.images import host
from stagelens_course.images.process import run

NAME = "stagelens/debian"
PACKAGES = ("ca-certificates",)
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_END_SECONDS = 10

# Documents are left out of what is installed later too; without fsync after each file dpkg is much
# faster, and a build that is cut off leaves no image anyway (dpkg(1), --force-unsafe-io).
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


def tarball(recipe: str, report: Callable[[str], None], cancel: Cancel | None = None) -> Path:
    """The system's files as a tar in the cache, made where it is not there yet (debootstrap, half a minute).

    Raises
    ------
    ReplicaFailed: this host cannot make it, or debootstrap failed.
    """
    target = cache_dir() / f"debian-{recipe[:16]}.tar"
    if target.exists():
        return target
    host.require_debian("debootstrap", "unshare")
    sources = host.apt_sources(cancel)
    temporary = tempfile.gettempdir()
    # debootstrap takes no folder whose name has blanks.
    place = temporary if temporary.split() == [temporary] else "/var/tmp"
    folder = Path(tempfile.mkdtemp(prefix="stagelens-debian-", dir=place))
    part = target.with_suffix(".part")
    try:
        # Whoever reads this may interrupt us: from here on that leaves nothing.
        report("making a Debian with debootstrap")
        root = folder / "root"
        _bootstrap(root, sources, cancel)
        settle(root, sources)
        report("packing the Debian")
        pack = ["tar", "--numeric-owner", "-C", str(root), "--exclude=./dev/*", "-cf", str(part), "."]
        run(pack, cancel=cancel)
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
    """Remove a folder in which killed programs may be at their last write yet."""
    for _ in poll(_END_SECONDS, 0.05):
        if not folder.exists():
            break
        shutil.rmtree(folder, ignore_errors=True)


def _bootstrap(root: Path, sources: Iterable[host.AptSource], cancel: Cancel | None) -> None:
    suite = host.codename()
    mirror = next(s.uri for s in sources if s.suite == suite and s.component == "main")
    # In namespaces of its own, what debootstrap mounts and starts ends with it, however it ends.
    isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    include = f"--include={','.join(PACKAGES)}"
    debootstrap = ["debootstrap", "--variant=minbase", include, suite, str(root), mirror]
    run([*isolated, *debootstrap], cancel=cancel)


def settle(root: Path, sources: Iterable[host.AptSource]) -> None:
    """Give the system the host's own sources, and take out what an image does not need."""
    for path in _UNWANTED:
        shutil.rmtree(root / path, ignore_errors=True)
        (root / path).mkdir(parents=True, exist_ok=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    for path, text in FILES.items():
        (root / path).write_text(text)
    (root / "etc/apt/sources.list").write_text("".join(source.line() for source in sources))
    # Installing over TLS needs the CAs before the image has its own: what the host's apt trusts will do.
    if any(source.uri.startswith("https:") for source in sources) and BUNDLE.is_file():
        shutil.copyfile(BUNDLE, root / BUNDLE.relative_to("/"))
    # The host's own name and name servers are not the image's; the engine writes these at run time.
    for path in ("etc/hostname", "etc/resolv.conf"):
        (root / path).write_text("")
