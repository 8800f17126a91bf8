"""The base class of Dockerfile editors: the text, its problems, its buttons, and saving it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import ipywidgets
import traitlets as t

from stagelens import text
from stagelens.dockerfile import DockerfileError, parse
from stagelens.views.base import STATIC, View
from stagelens.views.lint import find_problems
from stagelens.views.templating import TEMPLATES


class EditorBase(View):
    """A Dockerfile in an editor with a row of buttons; a subclass handles the buttons in `handlers`.

    A subclass that calls `save_file` overrides `_read_bytes`, `_load` and `_write`.

    Parameters
    ----------
    below
        The widget to show below the editor.
    path
        The file's path, as the reader sees it.
    source
        The text to begin with.
    actions
        The buttons, by the names of their requests.
    disabled
        The buttons that are disabled.
    exists
        Whether the file exists.
    language
        The language, "en" or "ko"; by default the chosen one.

    Attributes
    ----------
    path
        The file's path, as the reader sees it (read only).
    source
        The text.
    problems
        Problems of the text: [line, level, message, rule] (read only).
    saved_text
        The text of the file (read only).
    exists
        Whether the file exists; if not, `saved_text` is the text to begin with (read only).
    actions
        The buttons, by the names of their requests; save, build and check send the text (read only).
    disabled
        The buttons that are disabled (read only).
    progress
        The running work: a text, the number of finished parts and of all parts; else empty (read only).
    message
        The message of the last button (read only).
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

    def __init__(
        self,
        below: ipywidgets.Widget,
        *,
        path: str,
        source: str,
        actions: Sequence[str],
        disabled: Sequence[str] = (),
        exists: bool = True,
        language: str | None = None,
    ) -> None:
        traits = {
            "path": path,
            "source": source,
            "saved_text": source,
            "actions": [*actions],
            "disabled": [*disabled],
            "exists": exists,
        }
        super().__init__(language=language, traits=traits)
        self._box = ipywidgets.VBox([self, below])
        self._update_problems()

    @property
    def saved(self) -> bool:
        """Whether the file exists and has this text."""
        return self.exists and not self.edited

    @property
    def edited(self) -> bool:
        """Whether the text differs from `saved_text`."""
        return self.source != self.saved_text

    def save_file(self, source: str) -> str:
        """Save a text to the file without losing what another editor wrote there.

        If another editor changed the file and the text has no edits to save, the editor loads the file
        instead. If both have changes, the file is backed up before it is replaced.

        Parameters
        ----------
        source
            The text to save.

        Returns
        -------
        str
            A note that another editor changed the file, else an empty text.
        """
        current, saved, new = self._read_bytes(), _encode(self.saved_text), _encode(source)
        if new == saved and current not in (None, new):
            self._load()
            return self.translate("Another editor changed the file. Its new text is shown.")
        conflict = current not in (None, saved, new)
        backup = self._write(source, conflict)
        self.saved_text = source
        if not conflict:
            return ""
        return self.translate("The text of the other editor is in {name}.", name=text.file_name(backup))

    def _read_bytes(self) -> bytes | None:
        """Return the content of the file; None if it does not exist."""
        raise NotImplementedError

    def _load(self) -> None:
        """Take the text of the file."""
        raise NotImplementedError

    def _write(self, source: str, conflict: bool) -> str:
        """Write a text to the file; return the name of a backup, which must exist after a conflict."""
        raise NotImplementedError

    @t.observe("source")
    def _update_problems(self, _: object = None) -> None:
        self.problems = [
            [p.line, p.level, text.inline(p.message, 400), text.inline(p.rule, 20)]
            for p in find_problems(self.source)
        ]

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle, metadata = cast("tuple[dict[str, Any], dict[str, Any]]", super()._repr_mimebundle_(**options))
        box = cast("dict[str, Any]", self._box._repr_mimebundle_(**options))  # pyright: ignore[reportPrivateUsage]
        return bundle | {key: box[key] for key in box if "widget-view" in key}, metadata

    def _repr_html_(self) -> str:
        problems = find_problems(self.source)
        lines = [
            (number, line, [f"{p.rule} {p.message}".strip() for p in problems if p.line == number])
            for number, line in enumerate(self.source.splitlines(), 1)
        ]
        return self._render(TEMPLATES / "dockerfile_editor.html", lines=lines, summary=self._summary())

    def _summary(self) -> str:
        return self.translate_count("{n} problem", "{n} problems", len(self.problems))

    def __str__(self) -> str:
        try:
            stages = len(parse(self.source).stages)
        except DockerfileError:
            stages = 0
        count = self.translate_count("{n} stage", "{n} stages", stages)
        rows = [f"{line}: {rule} {message}".replace(":  ", ": ") for line, _, message, rule in self.problems]
        return "\n".join([f"{self.path}: {count}, {self._summary()}", *rows])


def _encode(source: str) -> bytes:
    return source.encode("utf-8", "replace")
