"""Layers on one another: the files that an image has at each, and what is stored in vain."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stagelens_testing.tars import FIRST, index, member, tar

from stagelens.snapshot import layer_stack
from stagelens.snapshot.layers import ImageLayers, Layer
from stagelens.snapshot.saved_image import LayerFiles
from stagelens.snapshot.table import Entry, FileTable


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
    """How many lines of layer_stack.py run: a measure of work that no busy machine changes."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., object] | None:
        nonlocal count
        if frame.f_code.co_filename != layer_stack.__file__:
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


# --- hard links across layers ---------------------------------------------------------------------------


def linked(*layers: bytes) -> ImageLayers:
    return image(*layer_stack.resolve_links(map(index, layers)))


def hard_link(name: str, target: str) -> tuple:
    return member(name, tarfile.LNKTYPE, link=target)


LOWER = tar(member("bin/tool", content=b"x" * 1000))


def test_link_to_a_file_of_a_lower_layer_has_its_facts_and_stores_nothing() -> None:
    whole = linked(LOWER, tar(hard_link("opt/tool", "bin/tool"), hard_link("opt/again", "opt/tool")))
    target = whole.files_at(0).get("bin/tool")
    assert target is not None
    for files in (whole.layers[1].table, whole.files_at(1)):
        for path in ("opt/tool", "opt/again"):
            assert files.get(path) == replace(target, path=path)
    assert [layer.size for layer in whole.layers] == [1000, 0]
    assert (whole.wasted, whole.efficiency) == (0, 1.0)


def test_link_stays_when_its_target_is_removed_or_replaced() -> None:
    removed = tar(hard_link("b", "bin/tool"), member("bin/.wh.tool"))
    replaced = tar(hard_link("b", "bin/tool"), member("bin/tool", content=b"new"))
    for upper in (removed, replaced):
        entry = linked(LOWER, upper).files_at(1).get("b")
        assert entry is not None
        assert entry.size == 1000


def test_link_to_a_file_that_no_layer_has_is_an_empty_file() -> None:
    entry = linked(LOWER, tar(hard_link("b", "nowhere"))).files_at(1).get("b")
    assert entry is not None
    assert (entry.kind, entry.size) == ("file", 0)


def test_file_that_replaces_a_link_is_no_link() -> None:
    whole = linked(LOWER, tar(hard_link("b", "bin/tool"), member("b", content=b"12")))
    assert (whole.layers[1].size, whole.layers[1].links) == (2, ())
    entry = whole.files_at(1).get("b")
    assert entry is not None
    assert entry.size == 2
