"""Programs from Debian packages, unpacked into the cache instead of installed, so the machine is not changed.

apt downloads them from the machine's sources; a second run needs no network. For engines the name of the
release is replaced: Debian 13's dockerd and containerd run on Debian 12, with the machine's runc. The SSH
server is that of the machine's release; an installed one would start as a service.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from stagelens.paths import cache_dir

SUITE = "trixie"
# Folder in the cache -> packages unpacked into it.
PACKAGES = {
    SUITE: ("containerd", "docker-buildx", "docker-cli", "docker-registry", "docker.io"),
    "sshd": ("libwrap0", "openssh-server"),
}


def unavailable_reason() -> str | None:
    """Return why the programs cannot be provided here, or None if they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "further engines need root on Linux"
    if (cache_dir() / SUITE).is_dir():
        return None
    if platform.freedesktop_os_release().get("ID") != "debian":
        names = ", ".join(PACKAGES[SUITE])
        return f"further engines are unpacked from Debian's packages ({names}): needs Debian"
    programs = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    return f"not installed: {', '.join(programs)}" if programs else None


def unpack(name: str = SUITE) -> Path:
    """Return the folder with the files of `PACKAGES[name]`, downloaded on first use (80 MB, 1 MB).

    Raises
    ------
    subprocess.CalledProcessError
        If apt cannot download them; its messages are on standard error.
    """
    target = cache_dir() / name
    with FileLock(cache_dir() / f"{name}.lock"):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=cache_dir()) as folder:
                work = Path(folder)
                _download(work, name)
                for package in work.glob("*.deb"):
                    subprocess.run(["dpkg-deb", "-x", package, work / "root"], check=True)
                (work / "root").rename(target)
    return target


def _download(work: Path, name: str) -> None:
    """Download with apt, with separate lists, cache and sources, and the machine's keys and proxies."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    wanted = SUITE if name == SUITE else release
    parts = work / "sources"
    for folder in (parts, work / "state/lists/partial", work / "cache/archives/partial"):
        folder.mkdir(parents=True)
    (work / "status").touch()
    etc = Path("/etc/apt")
    for source in [etc / "sources.list", *etc.glob("sources.list.d/*")]:
        # Sources of other vendors have no Debian release, or none of these packages.
        if source.suffix in (".list", ".sources") and source.is_file():
            text = source.read_text()
            if "debian" in text and release in text:
                (parts / source.name).write_text(text.replace(release, wanted))
    options = {
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Dir::Etc::sourcelist": "-",
        "Dir::Etc::sourceparts": parts,
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    command = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    # A failing index does not matter if the packages are in another one.
    subprocess.run([*command, "update"], cwd=work, stdin=subprocess.DEVNULL, check=False)
    subprocess.run([*command, "download", *PACKAGES[name]], cwd=work, stdin=subprocess.DEVNULL, check=True)
