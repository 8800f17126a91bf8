"""The file lister: a small static program that the library sends into the engine (see `lister.c`)."""

from __future__ import annotations

from pathlib import Path

from stagelens.errors import StagelensError

HERE = Path(__file__).parent
# Docker's names of architectures, and those of the kernel that an engine may report instead.
PLATFORMS = {
    "386": "x86-linux-musl",
    "amd64": "x86_64-linux-musl",
    "arm": "arm-linux-musleabi",
    "arm64": "aarch64-linux-musl",
    "ppc64le": "powerpc64le-linux-musl",
    "riscv64": "riscv64-linux-musl",
    "s390x": "s390x-linux-musl",
}
_ALIASES = {
    "aarch64": "arm64",
    "armv7l": "arm",
    "i386": "386",
    "i686": "386",
    "x86_64": "amd64",
}


def binary_path(architecture: str) -> Path:
    """Return the path of the program for one of `PLATFORMS`."""
    return HERE / f"lister-linux-{architecture}"


def load_lister(system: str, architecture: str) -> bytes:
    """Return the program that an engine can run.

    Parameters
    ----------
    system
        The operating system of the engine, as the engine reports it.
    architecture
        The architecture of the engine, by Docker's or by the kernel's name.

    Returns
    -------
    bytes
        A static executable.

    Raises
    ------
    StagelensError
        If there is no program for this platform.
    """
    name = _ALIASES.get(architecture, architecture)
    if system != "linux" or name not in PLATFORMS:
        raise StagelensError(
            "stagelens cannot look into stages on this engine.",
            where=f"the engine's platform is {system or 'unknown'}/{architecture or 'unknown'}",
            why=f"the file lister is built for linux on {', '.join(sorted(PLATFORMS))}",
            remedy="use an engine on one of these platforms: stagelens engine shows what is available",
        )
    return binary_path(name).read_bytes()
