"""What a layer's tar holds, and what the archive of `docker save` does."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator

import pytest
import zstandard
from stagelens_testing.tars import FIRST, FOLDER, SECOND, diff_id, index, member, tar

from stagelens.snapshot import saved_image
from stagelens.snapshot.saved_image import LayerError, read_saved_image
from stagelens.snapshot.table import Entry

MiB = 1 << 20
CONFIG = json.dumps({"rootfs": {"diff_ids": [diff_id(FIRST), diff_id(SECOND)]}, "history": []}).encode()


def in_chunks(data: bytes, size: int = 1000) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def test_every_kind_of_file_is_listed_with_what_is_known_of_it() -> None:
    layer = index(
        tar(
            member("d/", FOLDER),
            member("d/f", content=b"12345"),
            member("d/s", tarfile.SYMTYPE, link="../x"),
            member("d/c", tarfile.CHRTYPE),
            member("d/b", tarfile.BLKTYPE),
            member("d/p", tarfile.FIFOTYPE),
        )
    )
    assert [(e.path, e.kind, e.size, e.link_target) for e in layer.table] == [
        ("d", "dir", 0, None),
        ("d/b", "block", 0, None),
        ("d/c", "char", 0, None),
        ("d/f", "file", 5, None),
        ("d/p", "fifo", 0, None),
        ("d/s", "symlink", 4, "../x"),
    ]
    assert layer.table.get("d/f") == Entry("d/f", "file", 0o644, size=5, mtime=7)


def test_a_hard_link_has_the_size_of_its_file_and_is_stored_once() -> None:
    layer = index(tar(member("a", content=b"12345"), member("b", tarfile.LNKTYPE, link="a")))
    assert layer.table.get("b") == Entry("b", "file", 0o644, size=5, mtime=7)
    assert (layer.links, layer.size) == (("b",), 5)


def test_whiteouts_and_opaque_folders_are_told_apart_from_files() -> None:
    layer = index(
        tar(member("d/.wh.gone"), member("d/o/.wh..wh..opq"), member("d/.wh..wh.plnk"), member("d/.whole"))
    )
    assert (layer.whiteouts, layer.opaque) == (("d/gone",), ("d/o",))
    assert [entry.path for entry in layer.table] == ["d/.whole"]


def test_the_diff_id_is_the_sha256_of_all_bytes_even_after_the_end_mark() -> None:
    data = FIRST + b"\0" * 7000
    assert index(data).diff_id == diff_id(data)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_odd_names_survive(form: int) -> None:
    names = ["x" * 90 + "/" + "y" * 200, "new\nline", "ünï", "*[", "\x1b[31m"]
    table = index(tar(*(member(name) for name in names), form=form)).table
    assert {entry.path for entry in table} == set(names)


def test_a_name_that_is_not_utf8_survives() -> None:
    assert [e.path for e in index(tar(member("a\udcff"))).table] == ["a\udcff"]


# --- hostile layers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/../out", "a/.wh...", "a/.wh..", "a/.wh."])
def test_a_name_that_leads_out_of_the_image_is_refused(name: str) -> None:
    with pytest.raises(LayerError, match="out of the image"):
        index(tar(member(name)))


def test_an_absolute_name_stays_inside_the_image() -> None:
    assert [entry.path for entry in index(tar(member("/etc//./hosts"))).table] == ["etc/hosts"]


def test_of_two_members_with_one_name_the_later_counts() -> None:
    layer = index(tar(member("a", content=b"1"), member("a", content=b"22")))
    assert ([entry.size for entry in layer.table], layer.size) == ([2], 2)


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_image, "MAX_FILES", 3)
    with pytest.raises(LayerError, match="more than 3"):
        index(tar(*(member(str(i)) for i in range(4))))


def test_a_name_beyond_the_bound_is_refused() -> None:
    with pytest.raises(LayerError, match="longer than"):
        index(tar(member("x/" * 3000)))


@pytest.mark.parametrize(
    ("kind", "content"),
    [(tarfile.XHDTYPE, b"a" * (3 * MiB)), (tarfile.GNUTYPE_LONGNAME, b"a" * (3 * MiB)),
     (tarfile.XHDTYPE, b"29 mtime=999999999999999e999\n"), (tarfile.XHDTYPE, b"9" * 9000 + b" a=b\n")],
    ids=["huge pax header", "huge long name", "infinite time", "endless number"],
)  # fmt: skip
def test_a_hostile_header_is_an_error_and_not_a_crash(kind: bytes, content: bytes) -> None:
    layer = tar(member("header", kind, content), member("a"))
    with pytest.raises(LayerError):
        read_saved_image([tar(member("layer.tar", content=layer))])


def test_a_layer_that_ends_early_is_an_error() -> None:
    layer = tar(member("big", content=b"x" * 9000))[:5000]
    with pytest.raises(LayerError, match="cannot be read"):
        read_saved_image([tar(member("layer.tar", content=layer))])


@pytest.mark.parametrize(
    "data", [b"", b"no tar at all" * 100, tar(member("layer.tar", content=FIRST))[:2000]]
)
def test_a_stream_that_is_no_whole_archive_is_an_error(data: bytes) -> None:
    with pytest.raises(LayerError, match="cannot be read"):
        read_saved_image(in_chunks(data))


# --- the archive of `docker save` -----------------------------------------------------------------------


def classic() -> bytes:
    return tar(
        member("1/", FOLDER),
        member("1/VERSION", content=b"1.0"),
        member("1/json", content=b'{"id": "1"}'),
        member("1/layer.tar", content=FIRST),
        member("2/layer.tar", tarfile.SYMTYPE, link="../1/layer.tar"),
        member("3/layer.tar", content=SECOND),
        member("abc.json", content=CONFIG),
        member("manifest.json", content=b"[]"),
    )


def oci(*blobs: bytes) -> bytes:
    named = ((f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob) for blob in (*blobs, CONFIG))
    return tar(*(member(name, content=blob) for name, blob in named), member("index.json", content=b"{}"))


@pytest.mark.parametrize(
    "data",
    [
        classic(),
        oci(FIRST, SECOND),
        oci(gzip.compress(FIRST), gzip.compress(SECOND[:512]) + gzip.compress(SECOND[512:])),
        oci(zstandard.compress(FIRST), zstandard.compress(SECOND[:1024]) + zstandard.compress(SECOND[1024:])),
    ],
    ids=["classic", "oci", "oci gzip", "oci zstd"],
)
@pytest.mark.parametrize("size", [1, 511, 1 << 30])
def test_both_layouts_give_the_same_layers(data: bytes, size: int) -> None:
    saved = read_saved_image(in_chunks(data, size))
    assert saved.layers == {diff_id(FIRST): index(FIRST), diff_id(SECOND): index(SECOND)}
    assert saved.configs == [json.loads(CONFIG)]


def test_an_empty_layer_is_a_layer() -> None:
    empty = bytes(1024)
    layer = read_saved_image([oci(empty)]).layers[diff_id(empty)]
    assert (len(layer.table), layer.size) == (0, 0)


def test_progress_counts_every_byte_that_arrives() -> None:
    data, seen = classic(), []
    read_saved_image(in_chunks(data), seen.append)
    assert sum(seen) == len(data)
