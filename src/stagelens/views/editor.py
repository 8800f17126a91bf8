"""A Dockerfile to write in, with its problems beside it, and a button that builds it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, cast

import ipywidgets
import traitlets as t

from stagelens.dockerfile import DockerfileError, parse
from stagelens.errors import StagelensError
from stagelens.views import lint, markup, text
from stagelens.views.base import STATIC, View
from stagelens.views.build import BuildView
from stagelens.views.channel import Handler

_MAX = 1 << 20


class DockerfileEditor(View):
    """Edit a context's Dockerfile; Build saves and builds it, and `view` below shows how that goes.

    Traits
    ------
    path: the file's path, as it is shown (read only).
    source: the text.
    problems: what is wrong with it: [line, level, message, rule] (read only).
    saved: whether the file has this text (read only).
    """

    _esm = STATIC / "dockerfile_editor.js"

    path = t.Unicode().tag(sync=True)
    source = t.Unicode().tag(sync=True)
    problems = t.List().tag(sync=True)
    saved = t.Bool(True).tag(sync=True)

    def __init__(
        self,
        context: str | Path,
        *,
        dockerfile: str | Path | None = None,
        language: str | None = None,
        **options: Any,
    ) -> None:
        """`options` are those of `stagelens.build`.

        Raises
        ------
        StagelensError: the file cannot be read, is no text, or is larger than 1 MiB.
        """  # fmt: skip
        self._context = Path(context)
        self._file = Path(dockerfile) if dockerfile else self._context / "Dockerfile"
        self._options = options
        self._kept = _read(self._file)
        super().__init__(language=language, path=text.name(str(self._file)), source=self._kept)
        self.view = BuildView(language=self.language)
        self._box = ipywidgets.VBox([self, self.view])
        self._check()

    def handlers(self) -> dict[str, Handler]:
        """Saving, and building what was saved."""
        return {"save": self._save, "build": self._build}

    def _save(self, source: str) -> None:
        self.source = source
        self.save()

    def _build(self, source: str) -> None:
        self.source = source
        self.build()

    def save(self) -> None:
        """Write the text to the file, whole or not at all.

        Raises
        ------
        StagelensError: the file cannot be written.
        """
        try:
            mode = self._file.stat().st_mode & 0o777 if self._file.exists() else 0o644
            handle, name = tempfile.mkstemp(prefix=".stagelens-", dir=self._file.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                    file.write(self.source)
                Path(name).chmod(mode)
                Path(name).replace(self._file)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StagelensError(
                "The Dockerfile cannot be saved.", where=str(self._file), why=str(error)
            ) from error
        self._kept = self.source
        self.saved = True

    def build(self) -> None:
        """Save, then begin to build; `view.result()` waits for the end.

        Raises
        ------
        StagelensError: the file cannot be written, or a build is under way.
        DockerfileError: the Dockerfile cannot be read.
        """
        self.save()
        self.view.build(self._context, dockerfile=self._file, **self._options)

    @t.observe("source")
    def _edited(self, _: object) -> None:
        self.saved = self.source == self._kept
        self._check()

    def _check(self) -> None:
        self.problems = [
            [p.line, p.level, text.prose(p.message, 400), text.prose(p.rule, 20)]
            for p in lint.check(self.source)
        ]

    def _repr_mimebundle_(self, **options: Any) -> Any:
        own = cast("tuple[dict[str, Any], dict[str, Any]]", super()._repr_mimebundle_(**options))
        both = cast("dict[str, Any]", self._box._repr_mimebundle_(**options))  # pyright: ignore[reportPrivateUsage]
        return own[0] | {key: both[key] for key in both if "widget-view" in key}, own[1]

    def _repr_html_(self) -> str:
        found = lint.check(self.source)
        rows = [
            (f'<span class="sl-soft">{number}</span>', _line(line, [p for p in found if p.line == number]))
            for number, line in enumerate(self.source.splitlines(), 1)
        ]
        head = markup.heading(self.path, self._told())
        return markup.frame(f'<div class="sl-card">{head}{markup.table(("", ""), rows)}</div>')

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


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX:
            raise StagelensError("The Dockerfile is too large to edit.", where=str(file))
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StagelensError("The Dockerfile cannot be read.", where=str(file), why=str(error)) from error


def _line(line: str, problems: list[lint.Problem]) -> str:
    told = (f"{problem.rule} {problem.message}".strip() for problem in problems)
    below = "".join(f'<div class="sl-removed">{markup.html_text(each)}</div>' for each in told)
    return f'<code style="white-space:pre-wrap">{markup.html_text(line, 2000)}</code>{below}'
