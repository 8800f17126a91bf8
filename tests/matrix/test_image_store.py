"""Images in both image stores: their size means the same, and content that is gone is noticed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import stagelens
from stagelens.buildkit import Control
from stagelens.engine import Engine
from stagelens.snapshot.layers import read_layers, unpacked_size

pytestmark = pytest.mark.engine
# Repeated text, which compresses well, and noise, which does not.
TEXT, NOISE = 3_000_000, 200_000


def test_unpacked_size_counts_the_bytes_of_all_layers_on_every_store(
    engine: Engine, unique: str, clean: object, tmp_path: Path
) -> None:
    (tmp_path / "text").write_bytes(b"text\n" * (TEXT // 5))
    (tmp_path / "noise").write_bytes(random.Random(1).randbytes(NOISE))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY text a\nCOPY noise b\nCOPY noise a\n")
    stagelens.build(tmp_path, tags=[f"{unique}:sizes"], engine=engine)
    assert unpacked_size(engine, f"{unique}:sizes") == TEXT + 2 * NOISE


def test_unpacked_size_of_a_base_image_is_that_of_its_files(engine: Engine, tmp_path: Path) -> None:
    layers = read_layers(engine.api, "diamol/base", tmp_path).layers
    size = sum(layer.size for layer in layers)
    # Docker's overlay2 store counts the targets of symlinks, too.
    assert unpacked_size(engine, "diamol/base", tmp_path) == pytest.approx(size, rel=0.01)


def test_content_store_tells_which_blobs_it_has(engine: Engine) -> None:
    if not engine.info.containerd_store:
        pytest.skip("this engine has no content store")
    with Control(engine.api) as control:
        assert control.has_content(engine.api.inspect_image("diamol/base")["Id"])
        assert not control.has_content(f"sha256:{'0' * 64}")
