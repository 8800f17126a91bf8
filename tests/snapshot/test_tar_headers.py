"""Headers of tars, held against Python's tarfile; what only Go's archive/tar says is spelled out."""

from __future__ import annotations

import io
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stagelens_testing.tars import member, tar

from stagelens.snapshot.tar_headers import MAX_EXTENDED, TarHeader, parse_pax, read_headers

NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=150)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3).map("/".join)
OWNERS = st.integers(0, 2**31)


@st.composite
def infos(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(PATHS))
    info.type = draw(st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE]))
    info.mode, info.uid, info.gid = draw(st.integers(0, 0o7777)), draw(OWNERS), draw(OWNERS)
    info.mtime = draw(st.integers(-(2**33), 2**40))
    content = draw(st.binary(max_size=1200)) if info.type == tarfile.REGTYPE else b""
    info.linkname = draw(PATHS) if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    info.size = len(content)
    return info, content


def headers(data: bytes) -> list[TarHeader]:
    return list(read_headers(io.BytesIO(data).read))


@given(st.lists(infos(), max_size=4), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_headers_are_those_that_were_written(members: list[tuple[tarfile.TarInfo, bytes]], form: int) -> None:
    expected = [
        TarHeader(i.name.encode(), i.type, i.mode, i.uid, i.gid, i.size, int(i.mtime), i.linkname.encode())
        for i, _ in members
    ]
    found = [each._replace(name=each.name.rstrip(b"/")) for each in headers(tar(*members, form=form))]
    assert found == expected


def test_long_name_of_ustar_is_joined_from_its_two_fields() -> None:
    name = "d" * 120 + "/" + "f" * 90
    assert headers(tar(member(name), form=tarfile.USTAR_FORMAT))[0].name == name.encode()


def pax(**records: bytes) -> bytes:
    lines = b""
    for key, value in records.items():
        body = b" " + key.replace("_", ".").encode() + b"=" + value + b"\n"
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        lines += str(length).encode() + body
    return lines


def test_pax_header_of_large_attributes_is_read_in_linear_time() -> None:
    digits = b"7" * (MAX_EXTENDED - 1000)
    extended = member(
        "pax", tarfile.XHDTYPE, pax(SCHILY_xattr_user_a=digits, path=b"long/name", mtime=b"9.75")
    )
    started = time.process_time()
    (found,) = headers(tar(extended, member("short", content=b"12345")))
    assert (found.name, found.size, found.mtime) == (b"long/name", 5, 9)
    assert time.process_time() - started < 1


def test_binary_value_of_an_attribute_does_not_end_the_record() -> None:
    records = parse_pax(pax(SCHILY_xattr_security_capability=b"\1\0\0\2\n12 path=x\n", path=b"right"))
    assert records[b"path"] == b"right"


@pytest.mark.parametrize(("mtime", "seconds"), [(b"1.5", 1), (b"-1.5", -2), (b"-1.0", -1), (b"-0.5", -1)])
def test_pax_time_is_rounded_down_as_the_kernel_does(mtime: bytes, seconds: int) -> None:
    (found,) = headers(tar(member("pax", tarfile.XHDTYPE, pax(mtime=mtime)), member("a")))
    assert found.mtime == seconds


@pytest.mark.parametrize(
    "extended",
    [
        member("x", tarfile.XHDTYPE, b"a" * (MAX_EXTENDED + 1)),
        member("x", tarfile.GNUTYPE_LONGNAME, b"a" * (MAX_EXTENDED + 1)),
        member("x", tarfile.XHDTYPE, b"99 path=a\n"),
        member("x", tarfile.XHDTYPE, b"9 pathxx\n"),
        member("x", tarfile.XHDTYPE, pax(path=b"a\0b")),
        member("x", tarfile.XHDTYPE, pax(mtime=b"9" * 30)),
        member("x", tarfile.XHDTYPE, pax(size=b"-512")),
    ],
    ids=["huge pax", "huge name", "length", "no value", "NUL", "number", "negative size"],
)
def test_invalid_extended_header_is_refused(extended: tuple[tarfile.TarInfo, bytes]) -> None:
    with pytest.raises(ValueError, match=r"header|negative|pax"):
        headers(tar(extended, member("a")))


def test_global_header_is_left_out_as_the_engine_does() -> None:
    found = headers(tar(member("pax", tarfile.XGLTYPE, pax(path=b"other")), member("a")))
    assert [each.name for each in found] == [b"a"]


def test_sparse_file_has_its_real_size_and_the_next_member_is_found() -> None:
    sparse = pax(GNU_sparse_major=b"1", GNU_sparse_name=b"disk", GNU_sparse_realsize=b"1000000")
    data = tar(
        member("x", tarfile.XHDTYPE, sparse), member("GNUSparseFile.0/disk", content=b"map"), member("b")
    )
    assert [(each.name, each.size) for each in headers(data)] == [(b"disk", 1_000_000), (b"b", 0)]


def test_damaged_or_truncated_header_is_an_error() -> None:
    data = tar(member("a", content=b"x" * 600), member("b"))
    for broken in (data[:3] + b"!" + data[4:], data[:700], data[:1700]):
        with pytest.raises(ValueError, match=r"damaged|cut short"):
            headers(broken)
