"""The replica of diamol/base: one static busybox, a few files in /etc, and CA certificates."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from stagelens.buildkit import Cancel
from stagelens_course.images import apt
from stagelens_course.images.model import ReplicaFailed
from stagelens_course.images.programs import run_program

_HOST_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_MAX_BUNDLE_BYTES = 1 << 20
_FOLDERS = (
    *("bin", "etc", "etc/ssl/certs", "home", "mnt", "opt", "root", "run", "sbin", "srv"),
    *("usr/bin", "usr/local/bin", "usr/sbin", "var/log", "var/tmp", "dev", "proc", "sys", "tmp"),
)
_STICKY = frozenset({"tmp", "var/tmp"})
FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": b"root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": b"hosts: files dns\n",
}


def root_file_system(certificates: Mapping[str, bytes], cancel: Cancel | None = None) -> bytes:
    """Return the files of diamol/base as a tar.

    Parameters
    ----------
    certificates
        Extra certificate authorities by file name, in PEM form.
    cancel
        Stops a download when it is called.

    Raises
    ------
    ReplicaFailed
        If neither this machine nor its package archive has a static busybox.
    """
    with tempfile.TemporaryDirectory(prefix="stagelens-base-") as folder:
        busybox = _static_busybox(Path(folder), cancel)
        applets = run_program([str(busybox), "--list-full"]).split()
        files = FILES | {"etc/ssl/certs/ca-certificates.crt": ca_bundle(certificates)}
        return pack_root(busybox.read_bytes(), applets, files)


def ca_bundle(certificates: Mapping[str, bytes], host_bundle: Path = _HOST_BUNDLE) -> bytes:
    """Return the host's CA bundle, if it has a small one, and the extra certificates that it lacks."""
    usable = host_bundle.is_file() and host_bundle.stat().st_size <= _MAX_BUNDLE_BYTES
    known = host_bundle.read_bytes() if usable else b""
    return known + b"".join(pem for pem in certificates.values() if pem.strip() not in known)


def pack_root(busybox: bytes, applets: Iterable[str], files: Mapping[str, bytes]) -> bytes:
    """Return a tar with busybox, a symlink to it for each applet, and further files.

    Everything belongs to root, and all times are 0, so that the same input gives the same bytes.

    Parameters
    ----------
    busybox
        The program.
    applets
        Paths as `busybox --list-full` prints them, such as `usr/bin/[`.
    files
        The content of each further file by its path.
    """
    folders = dict.fromkeys(_FOLDERS)
    for path in (*applets, *files):
        folders |= dict.fromkeys(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")
    all_folders = {str(parent) for folder in folders for parent in PurePosixPath(folder).parents} | set(
        folders
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder in sorted(all_folders - {"."}):
            _add(tar, folder, tarfile.DIRTYPE, 0o1777 if folder in _STICKY else 0o755)
        _add(tar, "bin/busybox", tarfile.REGTYPE, 0o755, busybox)
        for path in sorted(set(applets) - {"bin/busybox"}):
            _add(tar, path, tarfile.SYMTYPE, 0o777, link="/bin/busybox")
        for path, content in sorted(files.items()):
            _add(tar, path, tarfile.REGTYPE, 0o644, content)
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile, path: str, kind: bytes, mode: int, content: bytes = b"", *, link: str = ""
) -> None:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.size, member.linkname = kind, mode, len(content), link
    tar.addfile(member, io.BytesIO(content))


def _static_busybox(folder: Path, cancel: Cancel | None) -> Path:
    installed = shutil.which("busybox", path="/usr/bin:/bin")
    if installed and is_static(Path(installed).read_bytes()):
        return Path(installed)
    # apt downloads as the user _apt, who must be able to write here.
    folder.chmod(0o777)
    apt.fetch_lists(cancel)
    run_program(["apt-get", "download", "busybox-static"], cwd=folder, cancel=cancel)
    package = next(folder.glob("busybox-static_*.deb"), None)
    if package is None:
        raise ReplicaFailed(
            "apt-get did not download busybox-static.",
            remedy="apt-get update && apt-get install -y busybox-static   then run this again",
        )
    run_program(["dpkg-deb", "-x", str(package), str(folder / "x")])
    return find_static_busybox(folder / "x")


def find_static_busybox(unpacked: Path) -> Path:
    """Return the program in an unpacked package, which has other files of that name, too.

    Raises
    ------
    ReplicaFailed
        If the package has no static busybox.
    """
    for path in sorted(unpacked.rglob("busybox")):
        if path.is_file() and not path.is_symlink() and is_static(path.read_bytes()):
            return path
    raise ReplicaFailed(
        "The package busybox-static holds no static busybox.",
        remedy="apt-get install -y busybox-static   then run this again",
    )


def is_static(program: bytes) -> bool:
    """Return whether a file is a static ELF program: it has no program header PT_INTERP (3), see elf(5)."""
    if program[:4] != b"\x7fELF":
        return False
    order = "little" if program[5] == 1 else "big"
    wide = program[4] == 2
    offset = int.from_bytes(program[32:40] if wide else program[28:32], order)
    size_at = 54 if wide else 42
    size = int.from_bytes(program[size_at : size_at + 2], order)
    count = int.from_bytes(program[size_at + 2 : size_at + 4], order)
    headers = (program[offset + i * size : offset + i * size + 4] for i in range(count))
    return all(int.from_bytes(kind, order) != 3 for kind in headers)
