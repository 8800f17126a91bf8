"""The stage explorer without a browser: its first message, answers, and static fallback."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from typing import Any

import pytest

from stagelens.errors import StagelensError
from stagelens.snapshot import Entry, Exploration, FileContent
from stagelens.views import StageExplorer
from stagelens.views.explorer_model import _lines, diff_lines

DOCKERFILE = """\
FROM base AS builder
RUN make <all>
FROM scratch
COPY --from=builder /out/app /
CMD ["/app"]
"""
APP = Entry("out/app", "file", size=1200, mtime=5)
EVIL = Entry("out/<script>\n\u202e", "file", size=1)
FINAL = [Entry("app", "file", size=1200, mtime=5)]


@pytest.fixture(scope="module")
def build(explored: Callable[..., Exploration]) -> Exploration:
    return explored(DOCKERFILE, [[], [APP, EVIL]], [[], FINAL, FINAL])


@pytest.fixture
def view(build: Exploration) -> StageExplorer:
    return StageExplorer(build)


def ask(view: StageExplorer, name: str, **arguments: object) -> Any:
    answer = view.request(name, **arguments)
    json.dumps(answer)
    return answer


def test_first_point_is_the_last_change_of_the_target(view: StageExplorer, build: Exploration) -> None:
    assert view.point == [0, 1, 1]
    assert StageExplorer(build, stage="builder").point == [0, 0, 1]


def test_instruction_is_compared_with_the_previous_one(view: StageExplorer) -> None:
    answer = ask(view, "list", point=[0, 0, 1], against=None, paths=None)
    assert [row[:4] for row in answer["folders"][""]["rows"]] == [["out", "dir", 1201, ""]]
    names = [(row[0], row[3]) for row in answer["folders"]["out"]["rows"]]
    assert names == [("<script>\\u{a}\\u{202e}", "added"), ("app", "added")]


def test_any_two_points_can_be_compared(build: Exploration) -> None:
    view = StageExplorer(build, build, names=("old", "new"))
    answer = ask(view, "list", point=[1, 1, 1], against=[0, 0, 1], paths=[""])
    marks = {row[0]: row[3] for row in answer["folders"][""]["rows"]}
    assert marks == {"app": "added", "out": ""}
    assert str(view).startswith("old:\nbuilder: 2 files")


def test_left_behind_files_have_sizes(view: StageExplorer) -> None:
    answer = ask(view, "list", point=[0, 0, 1], against=None, paths=None, show="left-behind")
    assert answer["totals"] == {"rows": 1, "bytes": 1}


def test_route_has_origin_and_destinations(view: StageExplorer) -> None:
    onward = ask(view, "route", point=[0, 0, 1], path="out/app")
    assert [(s["stage"], s["path"], s["final"]) for s in onward["to"]] == [("stage-1", "app", True)]
    back = ask(view, "route", point=[0, 1, 2], path="app")
    assert [(s["stage"], s["line"]) for s in back["from"]] == [("builder", 2), ("stage-1", 4)]


@pytest.mark.parametrize("point", [[], [0], [0, 9, 0], [0, 0, -1], [0, 0, 9], ["a", 0, 0]])
def test_unknown_point_is_an_error(view: StageExplorer, point: list[Any]) -> None:
    with pytest.raises(StagelensError, match=r"There is no such stage or instruction\."):
        view.request("route", point=point, path="app")


def test_first_message_of_a_large_tree_is_small(explored: Callable[..., Exploration]) -> None:
    many = [Entry(f"d{n % 300}/{n}.txt", "file", size=n) for n in range(100_000)]
    view = StageExplorer(explored(DOCKERFILE, [many, many], [[], FINAL, FINAL]), language="ko")
    assert len(json.dumps(view.get_state(), default=str, ensure_ascii=False).encode()) < 64 * 1024
    assert "100,000개 추가" in str(view)


def test_static_fallback_and_text_show_stages_and_files(view: StageExplorer) -> None:
    bundle, _ = view._repr_mimebundle_()
    html = bundle["text/html"]
    assert "<script" not in html
    assert "&lt;script&gt;\\u{a}\\u{202e}" in html
    assert "final image" in html
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "stage-1: 1 file, 1.2 kB\n" in bundle["text/plain"]
    assert "  COPY --from=builder /out/app /: 1 added (1.2 kB)\n" in bundle["text/plain"]


def test_fallback_and_text_are_translated(build: Exploration) -> None:
    view = StageExplorer(build, language="ko")
    assert "최종 이미지" in view._repr_html_()
    assert "파일 변경 없음" in str(view)
    view.language = "en"
    assert view.strings == {}


def test_changed_text_has_diff_signs() -> None:
    changes = diff_lines(["one", "two", "three"], ["one", "2", "three", "four"])
    assert [sign + line for sign, line in changes] == [" one", "-two", "+2", " three", "+four"]


def test_diff_never_compares_characters_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes minutes where two texts of a thousand lines have nothing in common."""
    compared: list[object] = []
    monkeypatch.setattr(difflib.SequenceMatcher, "ratio", compared.append)
    monkeypatch.setattr(difflib.SequenceMatcher, "quick_ratio", compared.append)
    changes = list(diff_lines([f"before {n}" for n in range(9)], [f"after {n}" for n in range(9)]))
    assert [sign for sign, _ in changes] == ["-"] * 9 + ["+"] * 9
    assert not compared


def test_path_without_a_file_has_no_content(explored: Callable[..., Exploration]) -> None:
    made = [Entry("l", "symlink", link_target="x"), Entry("d", "dir")]
    view = StageExplorer(explored("FROM scratch\nRUN make\n", [[], made]))
    for path in ("l", "d"):
        with pytest.raises(StagelensError, match=r"There is no such file at either point\."):
            view.request("content", point=[0, 0, 1], against=None, path=path)


def test_long_text_is_shown_without_a_diff() -> None:
    old, new = (FileContent(text.encode(), len(text), False) for text in ("a\n" * 2000, "b\n" * 2000))
    assert set(_lines(old, new)) == {(" ", "b")}
    assert [sign for sign, _ in _lines(FileContent(b"a", 1, False), FileContent(b"b", 1, False))] == [
        "-",
        "+",
    ]
