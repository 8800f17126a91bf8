"""The same builds on every engine: the running one, and Engine 26 with either image store."""

from __future__ import annotations

from pathlib import Path

import pytest

import stagelens
from stagelens.engine import Engine

pytestmark = pytest.mark.engine


def project(folder: Path, dockerfile: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_a_second_build_sends_nothing_and_one_edited_file_is_sent_alone(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    files = {f"file{number}": f"{unique} {number}" for number in range(20)}
    context = project(
        tmp_path,
        "FROM diamol/base AS work\nCOPY . /in\nRUN cat /in/file* > /out\n"
        "FROM diamol/base\nCOPY --from=work /out /out\n",
        **files,
    )
    tag = f"{unique}:x"
    first = stagelens.build(context, engine=engine, tags=[tag])
    assert first.backend == "session"
    assert first.context_bytes >= sum(map(len, files.values()))
    assert engine.api.inspect_image(tag)["Id"] == first.image_id

    second = stagelens.build(context, engine=engine, tags=[tag])
    assert second.context_bytes == 0
    steps = [(0, 1), (0, 2), (1, 1)]
    assert all((vertex := second.vertex(*step)) and vertex.cached for step in steps)

    (context / "file7").write_text("edited")
    third = stagelens.build(context, engine=engine, tags=[tag])
    assert third.context_bytes == len("edited")
    assert third.image_id != first.image_id
