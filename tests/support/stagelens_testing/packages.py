"""Programs of Debian, unpacked into the cache and not installed: the machine stays as it is.

They come through apt from the machine's own sources. A second run needs no network. For engines the
release's name is replaced: Debian 13's dockerd and containerd run on Debian 12, with the machine's own runc.
The SSH server is that of the machine's release; installed, it would be started for all the world.
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
# What is unpacked into the folder of that name.
PACKAGES = {
    SUITE: ("containerd", "docker-buildx", "docker-cli", "docker-registry", "docker.io"),
    "sshd": ("libwrap0", "openssh-server"),
}


def lacking() -> str | None:
    """None where the programs can be had here, else what is missing, in words."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "further engines need root on Linux"
    if (cache_dir() / SUITE).is_dir():
        return None
    if platform.freedesktop_os_release().get("ID") != "debian":
        names = ", ".join(PACKAGES[SUITE])
        return f"further engines are unpacked from Debian's packages ({names}): needs Debian"
    programs = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    return f"not installed: {', '.join(programs)}" if programs else None


def unpacked(name: str = SUITE) -> Path:
    """The folder with the files of `PACKAGES[name]`, `usr/bin` and so on; fetched on first use (80 MB, 1 MB).

    Raises
    ------
    subprocess.CalledProcessError: apt could not get them; its words are on standard error.
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
    """apt with lists, cache and sources of its own; keys, proxies and logins stay the machine's."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    wanted = SUITE if name == SUITE else release
    parts = work / "sources"
    for folder in (parts, work / "state/lists/partial", work / "cache/archives/partial"):
        folder.mkdir(parents=True)
    (work / "status").touch()
    own = Path("/etc/apt")
    for source in [own / "sources.list", *own.glob("sources.list.d/*")]:
        # Other vendors' sources have no release of Debian's, or none of these packages.
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
    # An index that fails does no harm where the packages are in another one.
    subprocess.run([*command, "update"], cwd=work, stdin=subprocess.DEVNULL, check=False)
    subprocess.run([*command, "download", *PACKAGES[name]], cwd=work, stdin=subprocess.DEVNULL, check=True)
