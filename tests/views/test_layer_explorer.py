"""The layer explorer without a browser."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stagelens.errors import StagelensError
from stagelens.snapshot import Entry, FileTable
from stagelens.snapshot.layers import ImageLayers, Layer
from stagelens.views import LayerExplorer


def layer(index: int, made_by: str, *entries: Entry, whiteouts: tuple[str, ...] = ()) -> Layer:
    size = sum(entry.size for entry in entries if entry.kind == "file")
    table = FileTable.from_entries(entries)
    return Layer(f"sha256:{index:064}", size, table, whiteouts, index=index, created_by=made_by)


BASE = layer(0, "", Entry("etc", "dir"), Entry("etc/os", "file", size=100))
IMAGE = ImageLayers(
    "sha256:image",
    (
        BASE,
        layer(
            1,
            "RUN /bin/sh -c make <big> # buildkit",
            Entry("app", "dir"),
            Entry("app/big", "file", size=5000),
            Entry("app/conf", "file", size=10),
        ),
        layer(2, "RUN |1 X=y /bin/sh -c rm big", Entry("app", "dir"), Entry("app/conf", "file", size=12),
              whiteouts=("app/big",)),
        layer(3, '/bin/sh -c #(nop) COPY file:ab in /', Entry("\u202ename", "file", size=1)),
    ),
)  # fmt: skip


def ask(view: LayerExplorer, **arguments: object) -> Any:
    answer = view.request("list", **arguments)
    json.dumps(answer)
    return answer


@pytest.fixture
def view() -> LayerExplorer:
    return LayerExplorer(IMAGE, shared={"base:1": ImageLayers("sha256:base", (BASE,))}, name="app:1")


def test_rows_have_instruction_and_sharing_images(view: LayerExplorer) -> None:
    assert [row["text"] for row in view.layers] == ["", "RUN make <big>", "RUN rm big", "COPY file:ab in /"]
    assert [row["shared"] for row in view.layers] == [["base:1"], [], [], []]
    assert [row["whiteouts"] for row in view.layers] == [0, 0, 1, 0]
    assert view.layer == 1


def test_efficiency_and_waste_equal_the_snapshot_package(view: LayerExplorer) -> None:
    assert view.summary["wasted"] == IMAGE.wasted == 5022 - 5000 + 5000
    assert view.wasted == [["app/big", 2, 5000], ["app/conf", 2, 22]]
    assert sum(waste.size for waste in IMAGE.waste) == IMAGE.wasted


def test_layer_shows_stored_and_removed_files(view: LayerExplorer) -> None:
    answer = ask(view, layer=2, mode="layer", paths=None)
    assert [row[:4] for row in answer["folders"][""]["rows"]] == [["app", "dir", 12, ""]]
    marks = {row[0]: row[3] for row in answer["folders"]["app"]["rows"]}
    assert marks == {"big": "removed", "conf": "changed"}


def test_mode_upto_shows_all_files_up_to_a_layer(view: LayerExplorer) -> None:
    answer = ask(view, layer=3, mode="upto", paths=["", "app", "etc"])
    assert [row[0] for row in answer["folders"][""]["rows"]] == ["app", "etc", "\\u{202e}name"]
    assert [row[:4] for row in answer["folders"]["app"]["rows"]] == [["conf", "file", 12, ""]]


@pytest.mark.parametrize("index", [-1, 4])
def test_unknown_layer_is_an_error(view: LayerExplorer, index: int) -> None:
    with pytest.raises(StagelensError, match=r"There is no such layer\."):
        ask(view, layer=index, mode="layer", paths=None)


def test_static_fallback_and_text_show_layers(view: LayerExplorer) -> None:
    html = view._repr_html_()
    assert "RUN make &lt;big&gt;" in html
    assert "shared with base:1" in html
    assert "removes 1 path" in html
    assert "app/big" in html
    assert str(view).splitlines()[0] == "4 layers, 5.12 kB, efficiency 2.2 %, 5.02 kB wasted"
    assert str(LayerExplorer(IMAGE, language="ko")).startswith("레이어 4개")
