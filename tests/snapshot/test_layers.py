"""The layers of real images, held against what a container sees."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from stagelens_testing.tars import index, member, tar

from stagelens.engine import Engine
from stagelens.snapshot import layer_cache
from stagelens.snapshot.layers import read_layers
from stagelens.snapshot.saved_image import LayerError
from stagelens.snapshot.table import Entry, FileTable

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
    assert layer_cache.load_layer(tmp_path, first.layers[0].diff_id) is not None


@pytest.mark.engine
def test_an_image_that_is_not_there_is_named(engine: Engine, unique: str) -> None:
    with pytest.raises(LayerError, match=unique):
        read_layers(engine.api, unique)
