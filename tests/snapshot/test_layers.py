"""An image's layers are read from a stream, checked, stacked and kept."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stagelens.engine import Engine
from stagelens.snapshot import archive, layercache, stack
from stagelens.snapshot.archive import LayerError, LayerFiles, index_layer, read_saved
from stagelens.snapshot.entry import Entry
from stagelens.snapshot.layers import ImageLayers, Layer, read_layers
from stagelens.snapshot.table import FileTable

MiB = 1 << 20


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", link: str = "") -> tuple:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mtime = kind, len(content), link, 7
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info, content


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as made:
        for info, content in members:
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def index(data: bytes) -> LayerFiles:
    return index_layer(io.BytesIO(data).read)


def diff_id(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def in_chunks(data: bytes, size: int = 1000) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


FOLDER = tarfile.DIRTYPE
FIRST = tar(member("etc/", FOLDER), member("etc/hosts", content=b"localhost"))
SECOND = tar(member("etc/", FOLDER), member("etc/.wh.hosts"), member("motd", content=b"x" * 3000))
CONFIG = json.dumps({"rootfs": {"diff_ids": [diff_id(FIRST), diff_id(SECOND)]}, "history": []}).encode()


# --- what a layer's tar holds ---------------------------------------------------------------------------


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
    monkeypatch.setattr(archive, "MAX_FILES", 3)
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
        read_saved([tar(member("layer.tar", content=layer))])


def test_a_layer_that_ends_early_is_an_error() -> None:
    layer = tar(member("big", content=b"x" * 9000))[:5000]
    with pytest.raises(LayerError, match="can't be read"):
        read_saved([tar(member("layer.tar", content=layer))])


@pytest.mark.parametrize(
    "data", [b"", b"no tar at all" * 100, tar(member("layer.tar", content=FIRST))[:2000]]
)
def test_a_stream_that_is_no_whole_archive_is_an_error(data: bytes) -> None:
    with pytest.raises(LayerError, match="can't be read"):
        read_saved(in_chunks(data))


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
    saved = read_saved(in_chunks(data, size))
    assert saved.layers == {diff_id(FIRST): index(FIRST), diff_id(SECOND): index(SECOND)}
    assert saved.configs == [json.loads(CONFIG)]


def test_an_empty_layer_is_a_layer() -> None:
    empty = bytes(1024)
    layer = read_saved([oci(empty)]).layers[diff_id(empty)]
    assert (len(layer.table), layer.size) == (0, 0)


def test_progress_counts_every_byte_that_arrives() -> None:
    data, seen = classic(), []
    read_saved(in_chunks(data), seen.append)
    assert sum(seen) == len(data)


# --- layers on one another ------------------------------------------------------------------------------


def image(*layers: LayerFiles) -> ImageLayers:
    made = (
        Layer(f.diff_id, f.size, f.table, f.whiteouts, f.opaque, f.links, index=i, created_by="")
        for i, f in enumerate(layers)
    )
    return ImageLayers("sha256:0", tuple(made))


def overlay(layers: Iterable[LayerFiles]) -> dict[str, Entry]:
    """The rules of the OCI layer format, spelt out path by path."""
    seen: dict[str, Entry] = {}

    def drop_below(path: str) -> None:
        for other in [other for other in seen if other.startswith(path + "/") or (not path and other)]:
            del seen[other]

    for layer in layers:
        for path in layer.whiteouts:
            seen.pop(path, None)
            drop_below(path)
        for path in layer.opaque:
            drop_below(path)
        for entry in layer.table:
            parts = entry.path.split("/")
            for parent in ("/".join(parts[:depth]) for depth in range(1, len(parts))):
                if parent not in seen or seen[parent].kind != "dir":
                    seen[parent] = Entry(parent, "dir", 0o755)
            if entry.kind != "dir":
                drop_below(entry.path)
            seen[entry.path] = entry
    return seen


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
ENTRIES = st.builds(Entry, PATHS, st.sampled_from(["dir", "dir", "file", "symlink"]), size=st.integers(0, 9))
LAYERS = st.builds(
    LayerFiles,
    diff_id=st.just("sha256:1"),
    size=st.just(0),
    table=st.lists(ENTRIES, max_size=8).map(FileTable.from_entries),
    whiteouts=st.lists(PATHS, max_size=3, unique=True).map(tuple),
    opaque=st.lists(PATHS | st.just(""), max_size=2, unique=True).map(tuple),
)


@given(st.lists(LAYERS, min_size=1, max_size=5), st.data())
def test_stacked_layers_equal_the_rules_spelt_out(layers: list[LayerFiles], data: st.DataObject) -> None:
    last = data.draw(st.integers(0, len(layers) - 1))
    expected = FileTable.from_entries(overlay(layers[: last + 1]).values())
    assert image(*layers).files_at(last) == expected


def test_a_layer_that_is_not_there_is_an_index_error() -> None:
    for position in (-1, 1):
        with pytest.raises(IndexError):
            image(index(FIRST)).files_at(position)


def layer_of(*sizes: tuple[str, int], whiteouts: tuple[str, ...] = ()) -> LayerFiles:
    entries = [Entry(path, "file", size=size) for path, size in sizes]
    return LayerFiles("sha256:1", 0, FileTable.from_entries(entries), whiteouts)


def test_nothing_is_wasted_where_no_path_comes_twice() -> None:
    whole = image(layer_of(("a", 10)), layer_of(("b", 5)))
    assert (whole.wasted, whole.efficiency) == (0, 1.0)


def test_a_file_written_twice_counts_with_both_sizes() -> None:
    whole = image(layer_of(("a", 10), ("b", 70)), layer_of(("a", 20)))
    assert (whole.wasted, whole.efficiency) == (30, 80 / 100)


def test_a_removed_file_wastes_its_size() -> None:
    whole = image(layer_of(("a", 10), ("b", 10)), layer_of(whiteouts=("a",)))
    assert (whole.wasted, whole.efficiency) == (10, 10 / 20)


def test_a_removed_folder_counts_with_all_it_held() -> None:
    # The whiteout of `d` is the one place where `d` is a leaf, so its 30 bytes are not among the repeated.
    whole = image(layer_of(("d/a", 10), ("d/b", 20)), layer_of(whiteouts=("d",)), layer_of(("d/a", 1)))
    assert (whole.wasted, whole.efficiency) == (11, (1 + 20 + 30) / (11 + 20 + 30))


def test_an_image_without_bytes_is_efficient() -> None:
    assert image(index(bytes(1024))).efficiency == 1.0


def test_thousands_of_whiteouts_are_no_burden() -> None:
    count = 5000
    names = [f"d/{i}" for i in range(count)]
    whole = image(
        layer_of(*((n, 1) for n in names)), *(layer_of(whiteouts=(n,)) for n in names[: count // 2])
    )
    assert whole.wasted == count // 2
    assert whole.files_at(len(whole.layers) - 1).usage() == (count // 2, count // 2)


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of stack.py run: a measure of work that no busy machine changes."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., object] | None:
        nonlocal count
        if frame.f_code.co_filename != stack.__file__:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("look", [lambda whole: whole.files_at(1), lambda whole: whole.efficiency])
def test_work_grows_with_the_files_and_not_with_files_times_whiteouts(
    look: Callable[[ImageLayers], object],
) -> None:
    def work(count: int) -> int:
        names = [f"d/{number}" for number in range(count)]
        whole = image(layer_of(*((name, 1) for name in names)), layer_of(whiteouts=tuple(names[::2])))
        return lines_run(lambda: look(whole))

    assert work(2000) < 2.1 * work(1000)


# --- kept layers ----------------------------------------------------------------------------------------


def test_a_kept_layer_comes_back_the_same(tmp_path: Path) -> None:
    layer = replace(index(SECOND), opaque=("etc/\udcff",), links=("a",))
    layercache.store(tmp_path / "new", layer)
    assert layercache.load(tmp_path / "new", layer.diff_id) == layer
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    layer = index(SECOND)
    layercache.store(tmp_path, layer)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    for at in range(0, len(good), 7):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            file.write_bytes(bad)
            assert layercache.load(tmp_path, layer.diff_id) is None


def test_another_layers_file_is_as_none(tmp_path: Path) -> None:
    first, second = index(FIRST), index(SECOND)
    layercache.store(tmp_path, first)
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / (second.diff_id.removeprefix("sha256:") + ".layer"))
    assert layercache.load(tmp_path, second.diff_id) is None


def test_layers_used_longest_ago_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [index(tar(member(f"a{number}", content=b"x"))) for number in range(4)]
    for age, layer in zip((30, 20, 10), layers, strict=False):
        layercache.store(tmp_path, layer)
        file = tmp_path / (layer.diff_id.removeprefix("sha256:") + ".layer")
        os.utime(file, (1_000_000_000 - age, 1_000_000_000 - age))
    assert layercache.load(tmp_path, layers[0].diff_id) == layers[0], "now it is the one used last"
    room = sum(file.stat().st_size for file in tmp_path.iterdir())
    monkeypatch.setattr(layercache, "MAX_BYTES", room)
    layercache.store(tmp_path, layers[3])
    assert [layercache.load(tmp_path, layer.diff_id) is not None for layer in layers] == [
        True,
        False,
        True,
        True,
    ]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    layercache.store(tmp_path / "file", index(FIRST))
    assert layercache.load(tmp_path / "file", diff_id(FIRST)) is None


# --- on a real engine -----------------------------------------------------------------------------------

DOCKERFILE = """\
FROM diamol/base
RUN mkdir -p /t/kept /t/gone /t/hidden && echo 1 > /t/kept/a && echo 2 > /t/gone/b && echo 3 > /t/hidden/c
ENV NOTHING=here
RUN ln /t/kept/a /t/kept/hard && ln -s a /t/kept/soft && mkfifo /t/kept/pipe && chmod 4711 /t/kept/a
RUN rm -r /t/gone /t/hidden && mkdir /t/hidden && echo 4 > /t/hidden/d && chown 12:34 /t/hidden/d
WORKDIR /made/by/workdir
RUN rm /t/kept/soft
CMD ["true"]
"""
# What a container has of its own, over the image.
OF_THE_CONTAINER = {"dev", "etc", "proc", "sys", ".dockerenv"}


@pytest.fixture
def built(engine: Engine, unique: str, clean: object) -> str:
    context = tar(member("Dockerfile", content=DOCKERFILE.encode()))
    output = list(
        engine.api.build(fileobj=io.BytesIO(context), custom_context=True, tag=unique, rm=True, decode=True)
    )
    assert not [line for line in output if "error" in line], output
    return unique


def image_files(table: FileTable) -> list[Entry]:
    return [e for e in table if e.path.split("/")[0] not in OF_THE_CONTAINER]


@pytest.mark.engine
def test_the_stacked_layers_are_what_a_container_sees(engine: Engine, built: str) -> None:
    container = engine.api.create_container(built, name=f"{built}-export")
    try:
        exported = index(b"".join(engine.api.export(container["Id"])))
    finally:
        engine.api.remove_container(container["Id"], force=True)
    whole = read_layers(engine.api, built)
    seen = image_files(whole.files_at(len(whole.layers) - 1))
    assert len(seen) > 10
    assert seen == image_files(exported.table)


@pytest.mark.engine
def test_each_layer_says_what_made_it(engine: Engine, built: str) -> None:
    made = [layer.created_by for layer in read_layers(engine.api, built).layers]
    assert ["mkdir -p /t/kept" in made[-5], "mkfifo" in made[-4], "rm -r" in made[-3]] == [True] * 3
    assert ["WORKDIR /made" in made[-2], "rm /t/kept/soft" in made[-1]] == [True] * 2


@pytest.mark.engine
def test_with_all_layers_kept_the_image_is_not_saved_again(
    engine: Engine, built: str, tmp_path: Path
) -> None:
    arrived: list[int] = []
    first = read_layers(engine.api, built, tmp_path, arrived.append)
    assert sum(arrived) > 1000
    arrived.clear()
    assert read_layers(engine.api, built, tmp_path, arrived.append) == first
    assert not arrived


@pytest.mark.engine
def test_a_damaged_kept_layer_is_read_again(engine: Engine, built: str, tmp_path: Path) -> None:
    first = read_layers(engine.api, built, tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert read_layers(engine.api, built, tmp_path) == first
    assert layercache.load(tmp_path, first.layers[0].diff_id) is not None


@pytest.mark.engine
def test_an_image_that_is_not_there_is_named(engine: Engine, unique: str) -> None:
    with pytest.raises(LayerError, match=unique):
        read_layers(engine.api, unique)
