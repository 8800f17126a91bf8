"""A widget that edits the Dockerfile of a build context, shows its problems, and builds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Unpack

from stagelens import text
from stagelens.builds import BuildOptions, with_build_options
from stagelens.dockerfile import DockerfileError, find_dockerfile
from stagelens.errors import StagelensError
from stagelens.paths import atomic_write
from stagelens.views import i18n
from stagelens.views.base import Handler
from stagelens.views.build_view import BuildView
from stagelens.views.editor_base import EditorBase

_MAX_BYTES = 1 << 20


class DockerfileEditor(EditorBase):
    """An editor for a context's Dockerfile; Build saves and builds it, and `build_view` shows the build.

    Its traits are those of `EditorBase`.

    Parameters
    ----------
    context
        The folder of the build context.
    language
        The language, "en" or "ko"; by default the chosen one.
    **options
        The keyword arguments of `stagelens.build`, with which the Build button builds. `dockerfile` is also
        the file to edit.

    Raises
    ------
    StagelensError
        If the file cannot be read, is not UTF-8 text, or is larger than 1 MiB.

    Attributes
    ----------
    build_view
        The `BuildView` below the editor.
    """

    @with_build_options
    def __init__(
        self, context: str | Path, *, language: str | None = None, **options: Unpack[BuildOptions]
    ) -> None:
        self._context = Path(context)
        self._file = find_dockerfile(context, options.get("dockerfile"))
        self._options = options
        language = i18n.check_language(language or i18n.language())
        source = _read(self._file)
        self.build_view = BuildView(language=language)
        self.build_view.observe(self._disable_build, "phase")
        super().__init__(
            self.build_view,
            path=text.file_name(str(self._file)),
            source=source,
            actions=["save", "build"],
            language=language,
        )

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers of Save and Build."""
        return {"save": self._save, "build": self._build}

    def save(self) -> None:
        """Write the text to the file.

        Raises
        ------
        StagelensError
            If the file cannot be written; it stays as it was.
        """
        self._save(self.source)

    def build(self) -> None:
        """Save the text and start a build; `build_view.result()` waits for its end.

        Raises
        ------
        StagelensError
            If the file cannot be written, or a build is running.
        DockerfileError
            If the Dockerfile is not valid.
        """
        self._build(self.source)

    def _save(self, source: str) -> None:
        # Not through the trait `source`: setting it would replace what the reader types meanwhile.
        self.message = ""
        try:
            self.message = self.save_file(source)
        except OSError as error:
            raise StagelensError(
                "The Dockerfile cannot be saved.", where=str(self._file), why=str(error)
            ) from error

    def _build(self, source: str) -> None:
        self._save(source)
        options = self._options.copy()
        options["dockerfile"] = self._file
        try:
            self.build_view.build(self._context, **options)
        except DockerfileError:
            # Otherwise an earlier build would look like the result of this one.
            self.build_view.clear()
            raise

    def _disable_build(self, change: dict[str, Any]) -> None:
        self.disabled = ["build"] if change["new"] in ("running", "cancelling") else []

    def _read_bytes(self) -> bytes | None:
        return self._file.read_bytes() if self._file.is_file() else None

    def _load(self) -> None:
        self.source = self.saved_text = _read(self._file)

    def _write(self, source: str, conflict: bool) -> str:
        file = Path(os.path.realpath(self._file))  # a link stays, and the file behind it is written
        backup = file.with_name(f"{file.name}.before")
        with atomic_write(file, mode=0o644, backup=backup if conflict else None) as sink:
            sink.write(source.encode())
        return backup.name


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise StagelensError("The Dockerfile is too large to edit.", where=str(file))
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StagelensError("The Dockerfile cannot be read.", where=str(file), why=str(error)) from error
