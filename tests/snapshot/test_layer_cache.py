"""Layers that were read are kept, and a damaged one is read again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from stagelens_testing.tars import FIRST, SECOND, diff_id, index, member, tar

from stagelens.snapshot import layer_cache


def test_a_kept_layer_comes_back_the_same(tmp_path: Path) -> None:
    layer = replace(index(SECOND), opaque=("etc/\udcff",), links=("a",))
    layer_cache.store_layer(tmp_path / "new", layer)
    assert layer_cache.load_layer(tmp_path / "new", layer.diff_id) == layer
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    layer = index(SECOND)
    layer_cache.store_layer(tmp_path, layer)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    for at in range(0, len(good), 7):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            file.write_bytes(bad)
            assert layer_cache.load_layer(tmp_path, layer.diff_id) is None


def test_another_layers_file_is_as_none(tmp_path: Path) -> None:
    first, second = index(FIRST), index(SECOND)
    layer_cache.store_layer(tmp_path, first)
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / (second.diff_id.removeprefix("sha256:") + ".layer"))
    assert layer_cache.load_layer(tmp_path, second.diff_id) is None


def test_layers_used_longest_ago_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [index(tar(member(f"a{number}", content=b"x"))) for number in range(4)]
    for age, layer in zip((30, 20, 10), layers, strict=False):
        layer_cache.store_layer(tmp_path, layer)
        file = tmp_path / (layer.diff_id.removeprefix("sha256:") + ".layer")
        os.utime(file, (1_000_000_000 - age, 1_000_000_000 - age))
    assert layer_cache.load_layer(tmp_path, layers[0].diff_id) == layers[0], "now it is the one used last"
    room = sum(file.stat().st_size for file in tmp_path.iterdir())
    monkeypatch.setattr(layer_cache, "MAX_BYTES", room)
    layer_cache.store_layer(tmp_path, layers[3])
    assert [layer_cache.load_layer(tmp_path, layer.diff_id) is not None for layer in layers] == [
        True,
        False,
        True,
        True,
    ]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    layer_cache.store_layer(tmp_path / "file", index(FIRST))
    assert layer_cache.load_layer(tmp_path / "file", diff_id(FIRST)) is None
