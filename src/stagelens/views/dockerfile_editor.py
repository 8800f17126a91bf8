"""A context's Dockerfile to write in, with its problems beside it, and a button that builds it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from stagelens import text
from stagelens.dockerfile import DockerfileError
from stagelens.errors import StagelensError
from stagelens.views import i18n
from stagelens.views.base import Handler
from stagelens.views.build_view import BuildView
from stagelens.views.editor_base import EditorBase

_MAX = 1 << 20


class DockerfileEditor(EditorBase):
    """Edit a context's Dockerfile; Build saves and builds it, and `build_view` below shows how that goes.

    Its traits are those of `EditorBase`.
    """

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
        code = i18n.known(language or i18n.language())
        source = _read(self._file)
        self.build_view = BuildView(language=code)
        path = text.file_name(str(self._file))
        self.build_view.observe(self._follow, "phase")
        super().__init__(self.build_view, path=path, source=source, actions=["save", "build"], language=code)

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers for saving, and for building what was saved."""
        return {"save": self._save, "build": self._build}

    def _save(self, source: str) -> None:
        # Not by way of the trait: what is typed meanwhile would be replaced by it.
        self._write(source)

    def _build(self, source: str) -> None:
        self._write(source)
        try:
            self.build_view.build(self._context, dockerfile=self._file, **self._options)
        except DockerfileError:
            # The picture of an earlier build, and what that failed with, would be taken for this one's.
            self.build_view.clear()
            raise

    def _follow(self, change: dict[str, Any]) -> None:
        self.disabled = ["build"] if change["new"] in ("running", "cancelling") else []

    def save(self) -> None:
        """Write the text to the file, whole or not at all.

        Raises
        ------
        StagelensError: the file cannot be written.
        """
        self._write(self.source)

    def build(self) -> None:
        """Save, then begin to build; `build_view.result()` waits for the end.

        Raises
        ------
        StagelensError: the file cannot be written, or a build is under way.
        DockerfileError: the Dockerfile cannot be read.
        """
        self._build(self.source)

    def _write(self, source: str) -> None:
        try:
            # What a link leads to is written, and the link stays.
            place = Path(os.path.realpath(self._file))
            if not self._mine(place, source):
                return
            mode = place.stat().st_mode & 0o777 if place.exists() else 0o644
            handle, name = tempfile.mkstemp(prefix=".stagelens-", dir=place.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                    file.write(source)
                Path(name).chmod(mode)
                Path(name).replace(place)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StagelensError(
                "The Dockerfile cannot be saved.", where=str(self._file), why=str(error)
            ) from error
        self.saved_text = source

    def _mine(self, place: Path, source: str) -> bool:
        """Whether the text is to be written: nothing that another editor wrote meanwhile may be lost."""
        self.message = ""
        if not place.is_file() or place.read_bytes() in (self.saved_text.encode(), source.encode()):
            return True
        if source == self.saved_text:
            self.source = self.saved_text = _read(self._file)
            self.message = self.say("Another editor has changed the file: this is what it says now.")
            return False
        before = place.with_name(f"{place.name}.before")
        shutil.copy2(place, before)
        self.message = self.say("What another editor wrote is in {name}.", name=text.file_name(before.name))
        return True


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX:
            raise StagelensError("The Dockerfile is too large to edit.", where=str(file))
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StagelensError("The Dockerfile cannot be read.", where=str(file), why=str(error)) from error
