"""A Dockerfile's text as it is written: its problems, whether it is saved, what can be done with it."""

from __future__ import annotations

from typing import Any, cast

import ipywidgets
import traitlets as t

from stagelens import text
from stagelens.dockerfile import DockerfileError, parse
from stagelens.views import lint
from stagelens.views.base import STATIC, View
from stagelens.views.templating import TEMPLATES


class EditorBase(View):
    """A Dockerfile to write in with a row of buttons; whoever inherits says what they do, by `handlers`.

    Traits
    ------
    path: the file's path, as it is shown (read only).
    source: the text.
    problems: what is wrong with it: [line, level, message, rule] (read only).
    saved_text: the text that the file has (read only).
    exists: whether there is such a file yet; else `saved_text` is what it begins with (read only).
    actions: the buttons, by the names of their requests; save, build and check bring the text (read only).
    disabled: those that cannot be pressed now (read only).
    progress: what is running: a text, how many parts are done and of how many; else empty (read only).
    message: what the last button had to say (read only).
    """

    _esm = STATIC / "dockerfile_editor.js"
    _css = STATIC / "dockerfile_editor.css"

    path = t.Unicode().tag(sync=True)
    source = t.Unicode().tag(sync=True)
    problems = t.List().tag(sync=True)
    saved_text = t.Unicode().tag(sync=True)
    exists = t.Bool(True).tag(sync=True)
    actions = t.List(t.Unicode()).tag(sync=True)
    disabled = t.List(t.Unicode()).tag(sync=True)
    progress = t.List().tag(sync=True)
    message = t.Unicode().tag(sync=True)

    def __init__(self, below: ipywidgets.Widget, **traits: Any) -> None:
        """`below` is shown below the text."""
        super().__init__(saved_text=traits["source"], **traits)
        self._box = ipywidgets.VBox([self, below])
        self._check()

    @property
    def saved(self) -> bool:
        """Whether there is a file, and it has this text."""
        return self.exists and not self.edited

    @property
    def edited(self) -> bool:
        """Whether the text is another one than the file's, or than the one that it begins with."""
        return self.source != self.saved_text

    @t.observe("source")
    def _edited(self, _: object) -> None:
        self._check()

    def _check(self) -> None:
        self.problems = [
            [p.line, p.level, text.inline(p.message, 400), text.inline(p.rule, 20)]
            for p in lint.check(self.source)
        ]

    def _repr_mimebundle_(self, **options: Any) -> Any:
        own = cast("tuple[dict[str, Any], dict[str, Any]]", super()._repr_mimebundle_(**options))
        both = cast("dict[str, Any]", self._box._repr_mimebundle_(**options))  # pyright: ignore[reportPrivateUsage]
        return own[0] | {key: both[key] for key in both if "widget-view" in key}, own[1]

    def _repr_html_(self) -> str:
        found = lint.check(self.source)
        lines = [
            (number, line, [f"{p.rule} {p.message}".strip() for p in found if p.line == number])
            for number, line in enumerate(self.source.splitlines(), 1)
        ]
        return self._render(TEMPLATES / "dockerfile_editor.html", lines=lines, summary=self._told())

    def _told(self) -> str:
        return self.count("{n} problem", "{n} problems", len(self.problems))

    def __str__(self) -> str:
        try:
            stages = len(parse(self.source).stages)
        except DockerfileError:
            stages = 0
        count = self.count("{n} stage", "{n} stages", stages)
        rows = [f"{line}: {rule} {message}".replace(":  ", ": ") for line, _, message, rule in self.problems]
        return "\n".join([f"{self.path}: {count}, {self._told()}", *rows])
