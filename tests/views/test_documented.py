"""docs/reference/widgets.md describes every widget, and its examples run unchanged.

Each widget has three representations: the widget itself, HTML for pages without a widget manager, and plain
text. Its JavaScript module imports nothing, since VS Code loads it into a separate page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from stagelens import views
from stagelens.views.base import View
from stagelens_course.apps.view import AppView

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/widgets.md"
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE))
VIEWS: list[type[View]] = [
    AppView,
    *(getattr(views, name) for name in views.__all__ if isinstance(getattr(views, name), type(View))),
]


def test_each_widget_has_a_section() -> None:
    assert sorted(SECTIONS) == sorted(view.__name__ for view in VIEWS)
    assert len(VIEWS) == 7


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_section_lists_traits_requests_and_picture(view: type[View]) -> None:
    text = SECTIONS[view.__name__]
    traits = {name for name in view.class_traits(sync=True) if not name.startswith("_")}
    traits -= set(View.class_traits(sync=True))
    assert set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE)) == traits
    requests = set(view.__new__(view).handlers())
    told = text[text.index("equest") :]
    assert all(f"`{name}`" in told for name in requests)
    (picture,) = re.findall(r"\]\((\.\./img/.+)\)", text)
    assert (PAGE.parent / picture).is_file()


@pytest.mark.engine
@pytest.mark.parametrize("name", SECTIONS)
def test_example_runs_and_has_each_representation(
    name: str, unique: str, clean: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"```python\n(.*?)\n```", SECTIONS[name], re.DOTALL)
    assert example.endswith("\nview")
    monkeypatch.chdir(ROOT)
    space: dict[str, Any] = {}
    exec(compile(example.replace("lesson:1", unique), f"docs/reference/widgets.md {name}", "exec"), space)
    view: View = space["view"]
    assert type(view).__name__ == name
    forms, _ = view._repr_mimebundle_()
    assert forms["text/plain"]
    assert "<script" not in forms["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in forms
    module = str(view._esm)
    assert "export{" in module
    assert ".sl-card" in str(view._css)
    assert "import(" not in module
    assert not re.search(r'\b(?:import|from)\s*"', module)
