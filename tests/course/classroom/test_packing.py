"""Archives and folders that are packed, and those that are rejected with a reason."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stagelens_course.classroom.intake import (
    ArchiveLimits,
    PackedSubmission,
    Submission,
    SubmissionRejected,
    pack_submission,
    unpack_submission,
)
from stagelens_course.classroom.intake.rules import check_symlink, normalize_path

DOCKERFILE = b"FROM scratch\n"
LIMITS = ArchiveLimits(
    max_entries=50, max_bytes=200_000, max_archive_bytes=300_000, max_ratio=20, ratio_exempt_bytes=10_000
)


def submission(path: Path) -> Submission:
    return Submission("jane", "Jane", path)


def packed_files(packed: PackedSubmission, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    unpack_submission(packed, folder)
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def make_tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return body.getvalue()


def make_zip(files: dict[str, bytes], modes: dict[str, int] | None = None, stored: bool = False) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return body.getvalue()


PROJECT = make_tar(entry("Dockerfile", DOCKERFILE), entry("web/main.go", b"package main\n", mode=0o755))


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("plain.tar", PROJECT),
        ("old.tar.gz", gzip.compress(PROJECT)),
        ("tight.tar.xz", lzma.compress(PROJECT)),
        ("new.tar.zst", zstandard.compress(PROJECT)),
        ("rare.tar.bz2", bz2.compress(PROJECT)),
        (
            "usual.zip",
            make_zip({"Dockerfile": DOCKERFILE, "web/main.go": b"package main\n"}, {"web/main.go": 0o100755}),
        ),
        (
            "misnamed.dat",
            make_zip({"Dockerfile": DOCKERFILE, "web/main.go": b"package main\n"}, {"web/main.go": 0o100755}),
        ),
        (
            "wrapped.zip",
            make_zip(
                {
                    "my project/": b"",
                    "my project/Dockerfile": DOCKERFILE,
                    "my project/web/main.go": b"package main\n",
                    "my project/.DS_Store": b"x",
                    "__MACOSX/my project/._Dockerfile": b"x",
                },
                {"my project/": 0o40755, "my project/web/main.go": 0o100755},
            ),
        ),
        (
            "windows.zip",
            make_zip(
                {"work\\Dockerfile": DOCKERFILE, "work\\web\\main.go": b"package main\n"},
                {"work\\web\\main.go": 0o100755},
            ),
        ),
    ],
)
def test_archive_format_does_not_change_the_digest(tmp_path: Path, name: str, archive: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(archive)
    packed = pack_submission(submission(path))
    assert packed_files(packed, tmp_path / "out") == {
        "Dockerfile": DOCKERFILE,
        "web/main.go": b"package main\n",
    }
    assert os.access(tmp_path / "out/web/main.go", os.X_OK)
    reference = tmp_path / "reference.tar"
    reference.write_bytes(PROJECT)
    assert packed.digest == pack_submission(submission(reference)).digest


def test_folder_has_the_digest_of_its_archive_until_its_content_changes(tmp_path: Path) -> None:
    folder = tmp_path / "jane"
    (folder / "web").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("x")
    (folder / "Dockerfile").write_bytes(DOCKERFILE)
    (folder / "web" / "main.go").write_bytes(b"package main\n")
    (folder / "web" / "main.go").chmod(0o755)
    archive = tmp_path / "a.tar"
    archive.write_bytes(PROJECT)
    first = pack_submission(submission(folder))
    assert first.digest == pack_submission(submission(archive)).digest
    (folder / "Dockerfile").write_bytes(DOCKERFILE + b"# more\n")
    assert pack_submission(submission(folder)).digest != first.digest


def test_symlink_inside_the_project_is_preserved(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    link = entry("conf/page", kind=tarfile.SYMTYPE, linkname="../index.html")
    path.write_bytes(make_tar(entry("Dockerfile", DOCKERFILE), entry("index.html", b"hello"), link))
    files = packed_files(pack_submission(submission(path)), tmp_path / "out")
    assert files["conf/page"] == b"hello"
    assert (tmp_path / "out/conf/page").readlink() == Path("../index.html")


def bomb(size: int) -> bytes:
    return make_zip({"Dockerfile": DOCKERFILE, "zeros": bytes(size)})


def encrypted() -> bytes:
    """Return a zip whose only member is marked as encrypted in both headers."""
    body = bytearray(make_zip({"Dockerfile": DOCKERFILE}))
    body[6] |= 1
    body[body.index(b"PK\x01\x02") + 8] |= 1
    return bytes(body)


def overlapping() -> bytes:
    """Return a zip with many directory entries for the same bytes, as zip bombs have them."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("Dockerfile", bytes(9_000))
        for count in range(40):
            again = zipfile.ZipInfo(f"more{count}")
            again.file_size = again.compress_size = 9_000
            again.CRC = archive.infolist()[0].CRC
            again.header_offset = 0
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
    return body.getvalue()


HOSTILE: list[tuple[str, bytes | Callable[[], bytes], str]] = [
    ("traversal.zip", make_zip({"../../etc/cron.d/x": b"x"}), "points outside"),
    ("traversal.tar", make_tar(entry("a/../../x", b"x")), "points outside"),
    ("backslash.zip", make_zip({"..\\..\\x": b"x"}), "points outside"),
    ("absolute.tar", make_tar(entry("/etc/passwd", b"x")), "absolute"),
    ("drive.zip", make_zip({"C:\\x": b"x"}), "absolute"),
    (
        "link.tar",
        make_tar(entry("Dockerfile", kind=tarfile.SYMTYPE, linkname="/etc/passwd")),
        "symlink points outside",
    ),
    (
        "linkup.tar",
        make_tar(entry("a/b", kind=tarfile.SYMTYPE, linkname="../../x"), entry("Dockerfile", DOCKERFILE)),
        "symlink points outside",
    ),
    (
        "link.zip",
        make_zip({"Dockerfile": b"../../etc/passwd"}, {"Dockerfile": stat.S_IFLNK | 0o777}),
        "symlink points outside",
    ),
    (
        "chain.tar",
        make_tar(
            entry("Dockerfile", DOCKERFILE),
            entry("here", kind=tarfile.SYMTYPE, linkname="."),
            entry("out", kind=tarfile.SYMTYPE, linkname="here/../x"),
        ),
        "symlink points outside",
    ),
    (
        "through.tar",
        make_tar(
            entry("Dockerfile", DOCKERFILE),
            entry("d", kind=tarfile.SYMTYPE, linkname="."),
            entry("d/x", b"x"),
        ),
        "goes through a symlink",
    ),
    (
        "hardlink.tar",
        make_tar(entry("Dockerfile", kind=tarfile.LNKTYPE, linkname="/etc/shadow")),
        "hard link",
    ),
    ("device.tar", make_tar(entry("sda", kind=tarfile.BLKTYPE, devmajor=8)), "device"),
    ("null.tar", make_tar(entry("null", kind=tarfile.CHRTYPE)), "device"),
    ("pipe.tar", make_tar(entry("wait", kind=tarfile.FIFOTYPE)), "pipe"),
    ("pipe.zip", make_zip({"wait": b""}, {"wait": stat.S_IFIFO | 0o644}), "pipe"),
    ("setuid.tar", make_tar(entry("su", b"x", mode=0o4755)), "setuid"),
    ("setgid.zip", make_zip({"su": b"x"}, {"su": stat.S_IFREG | 0o2755}), "setuid or setgid"),
    (
        "twice.tar",
        make_tar(entry("Dockerfile", DOCKERFILE), entry("./Dockerfile", b"FROM other\n")),
        "same name",
    ),
    ("latin.tar", make_tar(entry("caf\udce9", b"x")), "not UTF-8"),
    ("control.tar", make_tar(entry("a\nb", b"x")), "control characters"),
    ("nul.zip", make_zip({"a_b": b"x"}).replace(b"a_b", b"a\0b"), "control characters"),
    ("long.tar", make_tar(entry("n" * 300, b"x")), "too long"),
    ("deep.tar", make_tar(entry("d/" * 40 + "x", b"x")), "too deep"),
    ("ratio.zip", lambda: bomb(150_000), "an archive of its size"),
    (
        "ratio.tar.gz",
        lambda: gzip.compress(make_tar(entry("zeros", bytes(150_000)))),
        "an archive of its size",
    ),
    (
        "ratio.tar.xz",
        lambda: lzma.compress(make_tar(entry("zeros", bytes(150_000)))),
        "an archive of its size",
    ),
    (
        "size.tar",
        lambda: make_tar(entry("a", os.urandom(150_000)), entry("b", os.urandom(100_000))),
        "limit for a submission",
    ),
    ("large.tar", lambda: make_tar(entry("a", os.urandom(400_000))), "larger than"),
    ("count.tar", make_tar(*(entry(f"f{n}") for n in range(60))), "more than 50 entries"),
    ("count.zip", make_zip({f"f{n}": b"" for n in range(300)}), "more than 50 entries"),
    ("overlap.zip", overlapping, "damaged or truncated"),
    (
        "nested.zip",
        make_zip({"inner.zip": make_zip({"Dockerfile": DOCKERFILE})}),
        "archive within an archive",
    ),
    ("sparse.tar", make_tar(entry("hole", kind=tarfile.GNUTYPE_SPARSE)), "sparse"),
    ("encrypted.zip", encrypted, "encrypted"),
    ("cut.zip", make_zip({"Dockerfile": DOCKERFILE * 99})[:-40], "damaged or truncated"),
    ("cut.tar", PROJECT[:1024], "damaged or truncated"),
    ("cutmiddle.tar", make_tar(entry("Dockerfile", bytes(5_000)))[:2_000], "damaged or truncated"),
    ("cut.tar.gz", gzip.compress(PROJECT)[:-20], "damaged or truncated"),
    ("cut.tar.xz", lzma.compress(PROJECT)[:-20], "damaged or truncated"),
    (
        "wrongcrc.zip",
        make_zip({"Dockerfile": DOCKERFILE}, stored=True).replace(DOCKERFILE, b"FROM another\n"[:13]),
        "damaged",
    ),
    ("noise.zip", b"PK\x03\x04" + os.urandom(300), "damaged or truncated"),
    ("text.zip", b"I forgot to attach it", "not a zip or tar"),
    ("other.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100), "7z"),
    ("empty.zip", make_zip({}), "no files"),
    ("empty.tar", make_tar(), "no files"),
    ("two.zip", make_zip({"a/Dockerfile": DOCKERFILE, "b/Dockerfile": DOCKERFILE}), "several Dockerfiles"),
]


@pytest.mark.parametrize(("name", "archive", "words"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_hostile_archive_is_rejected_with_a_reason_and_leaves_no_files(
    tmp_path: Path, name: str, archive: bytes | Callable[[], bytes], words: str
) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir()
    path.write_bytes(archive() if callable(archive) else archive)
    with pytest.raises(SubmissionRejected) as rejection:
        pack_submission(submission(path), LIMITS)
    assert words in rejection.value.what
    assert str(tmp_path) not in str(rejection.value)
    assert str(rejection.value).isprintable() or "\n" in str(rejection.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_oversized_header_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 1 << 32
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(SubmissionRejected, match="too large"):
        pack_submission(submission(path))


@pytest.mark.parametrize(
    ("make", "words"), [("fifo", "pipe"), ("link", "symlink points outside"), ("setuid", "setuid")]
)
def test_hostile_folder_is_rejected(tmp_path: Path, make: str, words: str) -> None:
    (tmp_path / "Dockerfile").write_bytes(DOCKERFILE)
    odd = tmp_path / "odd"
    if make == "fifo":
        os.mkfifo(odd)
    elif make == "link":
        odd.symlink_to("/etc/passwd")
    else:
        odd.write_bytes(b"x")
        odd.chmod(0o4755)
    with pytest.raises(SubmissionRejected, match=words):
        pack_submission(submission(tmp_path))


def test_changed_packed_submission_is_not_unpacked(tmp_path: Path) -> None:
    with pytest.raises(SubmissionRejected, match="changed"):
        unpack_submission(PackedSubmission("0" * 64, PROJECT), tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=40))
def test_normalized_path_stays_inside_and_normalizes_to_itself(raw: str) -> None:
    try:
        path = normalize_path(raw, ArchiveLimits())
    except SubmissionRejected:
        return
    assert os.path.normpath("/top/" + path) == ("/top/" + path).rstrip("/")
    assert normalize_path(path, ArchiveLimits()) == path


@given(st.lists(st.sampled_from(["..", ".", "a", "b", "l", ""]), max_size=6), st.integers(0, 3))
def test_accepted_symlink_stays_inside_even_if_every_name_links_to_the_top(
    parts: list[str], depth: int
) -> None:
    target = "/".join(parts)
    try:
        check_symlink("d/" * depth + "l", target)
    except SubmissionRejected:
        return
    # In the worst case, a name is a symlink to the top folder: then `..` after it is outside.
    level, inside = depth, True
    for part in parts:
        level = level - 1 if part == ".." else level if part in ("", ".") else 0
        inside = inside and level >= 0
    assert inside


@given(st.binary(max_size=600))
def test_arbitrary_bytes_are_rejected(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.zip", "a.tar", "a.tar.gz"):
            path = Path(folder) / name
            magic = {"a.zip": b"PK\x03\x04", "a.tar": b"", "a.tar.gz": b"\x1f\x8b\x08\x00"}[name]
            path.write_bytes(magic + content)
            with pytest.raises(SubmissionRejected):
                pack_submission(submission(path), LIMITS)
