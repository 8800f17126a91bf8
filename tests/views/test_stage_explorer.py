"""The explorer without a browser: its first message, its answers, its forms for pages without a kernel."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from typing import Any

import pytest

from stagelens.errors import StagelensError
from stagelens.snapshot import Entry, Exploration, FileContent
from stagelens.views import StageExplorer
from stagelens.views.explorer_model import _lines, line_changes

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


def test_it_begins_where_the_target_last_changed(view: StageExplorer, build: Exploration) -> None:
    assert view.point == [0, 1, 1]
    assert StageExplorer(build, stage="builder").point == [0, 0, 1]


def test_an_instruction_is_compared_with_the_one_before_it(view: StageExplorer) -> None:
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


def test_what_is_left_behind_is_listed_with_its_size(view: StageExplorer) -> None:
    answer = ask(view, "list", point=[0, 0, 1], against=None, paths=None, show="left-behind")
    assert answer["totals"] == {"rows": 1, "bytes": 1}


def test_a_file_is_followed_both_ways(view: StageExplorer) -> None:
    onward = ask(view, "route", point=[0, 0, 1], path="out/app")
    assert [(s["stage"], s["path"], s["final"]) for s in onward["to"]] == [("stage-1", "app", True)]
    back = ask(view, "route", point=[0, 1, 2], path="app")
    assert [(s["stage"], s["line"]) for s in back["from"]] == [("builder", 2), ("stage-1", 4)]


@pytest.mark.parametrize("point", [[], [0], [0, 9, 0], [0, 0, -1], [0, 0, 9], ["a", 0, 0]])
def test_a_strange_point_is_refused_in_words(view: StageExplorer, point: list[Any]) -> None:
    with pytest.raises(StagelensError, match=r"There is no such stage or instruction\."):
        view.request("route", point=point, path="app")


def test_the_first_message_is_small_however_large_the_tree(explored: Callable[..., Exploration]) -> None:
    many = [Entry(f"d{n % 300}/{n}.txt", "file", size=n) for n in range(100_000)]
    view = StageExplorer(explored(DOCKERFILE, [many, many], [[], FINAL, FINAL]), language="ko")
    assert len(json.dumps(view.get_state(), default=str, ensure_ascii=False).encode()) < 64 * 1024
    assert "100,000개 추가" in str(view)


def test_the_still_picture_says_the_same_without_a_kernel(view: StageExplorer) -> None:
    bundle, _ = view._repr_mimebundle_()
    html = bundle["text/html"]
    assert "<script" not in html
    assert "&lt;script&gt;\\u{a}\\u{202e}" in html
    assert "final image" in html
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "stage-1: 1 file, 1.2 kB\n" in bundle["text/plain"]
    assert "  COPY --from=builder /out/app /: 1 added (1.2 kB)\n" in bundle["text/plain"]


def test_it_speaks_korean(build: Exploration) -> None:
    view = StageExplorer(build, language="ko")
    assert "최종 이미지" in view._repr_html_()
    assert "파일 변경 없음" in str(view)
    view.language = "en"
    assert view.strings == {}


def test_a_changed_text_is_told_line_by_line() -> None:
    changes = line_changes(["one", "two", "three"], ["one", "2", "three", "four"])
    assert [sign + line for sign, line in changes] == [" one", "-two", "+2", " three", "+four"]


def test_no_lines_are_compared_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes minutes where two texts of a thousand lines have nothing in common."""
    compared: list[object] = []
    monkeypatch.setattr(difflib.SequenceMatcher, "ratio", compared.append)
    monkeypatch.setattr(difflib.SequenceMatcher, "quick_ratio", compared.append)
    changes = list(line_changes([f"before {n}" for n in range(9)], [f"after {n}" for n in range(9)]))
    assert [sign for sign, _ in changes] == ["-"] * 9 + ["+"] * 9
    assert not compared


def test_what_is_no_file_has_no_content(explored: Callable[..., Exploration]) -> None:
    made = [Entry("l", "symlink", link_target="x"), Entry("d", "dir")]
    view = StageExplorer(explored("FROM scratch\nRUN make\n", [[], made]))
    for path in ("l", "d"):
        with pytest.raises(StagelensError, match=r"There is no such file at either point\."):
            view.request("content", point=[0, 0, 1], against=None, path=path)


def test_long_texts_are_shown_as_they_are_now() -> None:
    old, new = (FileContent(text.encode(), len(text), False) for text in ("a\n" * 2000, "b\n" * 2000))
    assert set(_lines(old, new)) == {(" ", "b")}
    assert [sign for sign, _ in _lines(FileContent(b"a", 1, False), FileContent(b"b", 1, False))] == [
        "-",
        "+",
    ]
