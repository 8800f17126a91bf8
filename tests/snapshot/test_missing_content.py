"""Images whose layers the engine no longer has, which the containerd image store allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from docker.errors import NotFound
from stagelens_testing.tars import FIRST, SECOND, diff_id, index, member, tar

from stagelens.buildkit import Control
from stagelens.snapshot import layer_cache
from stagelens.snapshot import layers as layers_module
from stagelens.snapshot.layers import LayerError, read_layers

DIFF_IDS = [diff_id(FIRST), diff_id(SECOND)]
HISTORY = [
    {"created_by": "ADD rootfs"},
    {"created_by": "CMD", "empty_layer": True},
    {"created_by": "COPY motd"},
]
CONFIG = json.dumps({"rootfs": {"diff_ids": DIFF_IDS}, "history": HISTORY}).encode()
GONE = "content digest sha256:0123: not found"


class Store:
    """An engine that has one image of the layers FIRST and SECOND, and saves these bytes."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self._chunks, self._error = chunks, error

    def inspect_image(self, image: str) -> dict[str, Any]:
        platform = {"Os": "linux", "Architecture": "arm", "Variant": "v7"}
        return {"Id": "sha256:1", "Size": 1, "RootFS": {"Layers": DIFF_IDS}, **platform}

    def get_image(self, image: str) -> Iterator[bytes]:
        if self._error:
            raise self._error
        yield from self._chunks

    def history(self, image: str) -> list[dict[str, Any]]:
        return [{"CreatedBy": "COPY motd", "Size": 9}, {"CreatedBy": "ADD rootfs", "Size": 9}]


def failure(store: Store, cache: Path | None = None) -> str:
    with pytest.raises(LayerError) as caught:
        read_layers(store, "shop", cache)  # type: ignore[arg-type]
    return str(caught.value)


def saved(*layers: bytes) -> bytes:
    """What the containerd store saves: blobs that it has, and a manifest that names all."""
    names = [f"blobs/sha256/{digit * 64}" for digit in "01"]
    manifest = json.dumps([{"Config": "blobs/config", "Layers": names}]).encode()
    blobs = (member(name, content=layer) for name, layer in zip(names, layers, strict=False) if layer)
    return tar(member("blobs/config", content=CONFIG), *blobs, member("manifest.json", content=manifest))


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The blobs in the engine's content store."""
    blobs: set[str] = set()

    class ContentStore(Control):
        def __init__(self, api: object) -> None: ...
        def close(self) -> None: ...
        def has_content(self, digest: str) -> bool:
            return digest in blobs

    monkeypatch.setattr(layers_module, "Control", ContentStore)
    return blobs


def test_missing_layers_are_named_with_what_made_them(content: set[str]) -> None:
    content.add(f"sha256:{'1' * 64}")
    message = failure(Store(saved(b"", SECOND)))
    assert "no longer has the content of 1 of 2 layers" in message
    assert f"shop: layer 0 ({DIFF_IDS[0]}, ADD rootfs)\n" in message
    assert "COPY motd" not in message


def test_layers_that_the_engine_has_but_did_not_save_are_not_called_lost(content: set[str]) -> None:
    content.add(f"sha256:{'0' * 64}")
    message = failure(Store(saved()))
    assert "no longer has the content of 1 of 2 layers" in message
    assert f"shop: layer 1 ({DIFF_IDS[1]}, COPY motd)\n" in message


def test_layers_are_not_called_lost_by_an_engine_that_does_not_tell() -> None:
    message = failure(Store(tar(member("blobs/config", content=CONFIG), member("blobs/a", content=FIRST))))
    assert "did not save 1 of 2 layers" in message
    assert "layer 1" in message


def test_missing_content_is_restored_by_a_pull_for_the_platform_and_not_by_a_cached_build(
    content: set[str],
) -> None:
    message = failure(Store(saved()))
    assert "2 of 2 layers" in message
    assert "docker pull --platform linux/arm/v7 BASE" in message
    assert "docker build --no-cache" in message


def test_engine_that_refuses_to_save_missing_content_gives_the_same_advice() -> None:
    response = requests.Response()
    message = failure(Store(error=NotFound(GONE, response, GONE)))
    assert GONE in message
    assert "docker pull --platform" in message


@pytest.mark.parametrize("cut", [512 * 3, 512 * 3 + 100, 700])
def test_engine_that_breaks_off_while_it_saves_is_quoted(cut: int) -> None:
    whole = tar(member("blobs/config", content=CONFIG), member("blobs/a", content=FIRST))
    last = json.dumps({"errorDetail": {"message": GONE}, "error": GONE}).encode() + b"\r\n"
    last = last.replace(b": ", b":", 1)
    message = failure(Store(whole[:cut], last[:20], last[20:]))
    assert GONE in message
    assert "docker pull --platform" in message


def test_other_failures_of_the_engine_keep_their_own_advice() -> None:
    message = failure(Store(error=requests.ConnectionError("connection reset")))
    assert "connection reset" in message
    assert "docker pull" not in message


def test_layers_that_were_read_before_are_not_missed(tmp_path: Path) -> None:
    layer_cache.store_layer(tmp_path, index(FIRST))
    broken = Store(tar(member("blobs/config", content=CONFIG), member("blobs/b", content=SECOND)))
    layers = read_layers(broken, "shop", tmp_path).layers  # type: ignore[arg-type]
    assert [layer.created_by for layer in layers] == ["ADD rootfs", "COPY motd"]
