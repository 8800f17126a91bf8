"""diamol/base: a root file system of one static busybox, a few files of /etc, and CA certificates."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from stagelens.buildkit import Cancel
from stagelens_course.images import host
from stagelens_course.images.errors import ReplicaFailed
from stagelens_course.images.process import run

_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_MOST_BUNDLE_BYTES = 1 << 20
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
    """The image's files as a tar.

    Raises
    ------
    ReplicaFailed: no static busybox, neither here nor from the host's package archive.
    """
    with tempfile.TemporaryDirectory(prefix="stagelens-base-") as folder:
        program = _static_busybox(Path(folder), cancel)
        applets = run([str(program), "--list-full"]).split()
        files = FILES | {"etc/ssl/certs/ca-certificates.crt": bundle(certificates)}
        return pack(program.read_bytes(), applets, files)


def bundle(certificates: Mapping[str, bytes], host: Path = _BUNDLE) -> bytes:
    """The host's CA bundle where it is there and small, followed by the extra certificates it lacks."""
    known = host.read_bytes() if host.is_file() and host.stat().st_size <= _MOST_BUNDLE_BYTES else b""
    return known + b"".join(pem for pem in certificates.values() if pem.strip() not in known)


def pack(busybox: bytes, applets: Iterable[str], files: Mapping[str, bytes]) -> bytes:
    """A tar with busybox, a link to it for each applet, and `files`; owned by root, times at 0.

    `applets` are paths as `busybox --list-full` prints them, such as `usr/bin/[`.
    """
    folders = dict.fromkeys(_FOLDERS)
    for path in (*applets, *files):
        folders |= dict.fromkeys(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")
    whole = {str(parent) for folder in folders for parent in PurePosixPath(folder).parents} | set(folders)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder in sorted(whole - {"."}):
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
    own = shutil.which("busybox", path="/usr/bin:/bin")
    if own and is_static(Path(own).read_bytes()):
        return Path(own)
    # apt drops its rights to the user _apt for a download, who must be able to write here.
    folder.chmod(0o777)
    host.fetch_lists(cancel)
    run(["apt-get", "download", "busybox-static"], cwd=folder, cancel=cancel)
    package = next(folder.glob("busybox-static_*.deb"), None)
    if package is None:
        raise ReplicaFailed(
            "apt-get downloaded no busybox-static.",
            remedy="apt-get update && apt-get install -y busybox-static   then run this again",
        )
    run(["dpkg-deb", "-x", str(package), str(folder / "x")])
    return program(folder / "x")


def program(unpacked: Path) -> Path:
    """The program in an unpacked package: other files, a hook of the initramfs say, bear its name too."""
    for path in sorted(unpacked.rglob("busybox")):
        if path.is_file() and not path.is_symlink() and is_static(path.read_bytes()):
            return path
    raise ReplicaFailed(
        "The package busybox-static holds no static busybox.",
        remedy="apt-get install -y busybox-static   then run this again",
    )


def is_static(program: bytes) -> bool:
    """Whether an ELF file names no interpreter: no program header of type PT_INTERP (3), by elf(5)."""
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
