"""Files that can be made again, stored in a folder; the least recently used ones are removed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stagelens.paths import atomic_write


@dataclass(frozen=True, slots=True)
class LruFileCache:
    """A folder of files that stay below a total size.

    No method raises: a file that cannot be read counts as absent, and one that cannot be written is left out.
    A file appears whole or not at all.

    Attributes
    ----------
    folder
        The folder, which is made when the first file is stored.
    suffix
        The end of the files' names.
    max_bytes
        The total size of the files.
    """

    folder: Path
    suffix: str
    max_bytes: int

    def load(self, name: str) -> bytes | None:
        """Return the bytes under a name, or None."""
        file = self.folder / f"{name}{self.suffix}"
        try:
            data = file.read_bytes()
            os.utime(file)  # says when it was last used
        except OSError:
            return None
        return data

    def store(self, name: str, parts: Iterable[bytes]) -> None:
        """Store bytes under a name."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / f"{name}{self.suffix}") as file:
                file.writelines(parts)
            self._trim(name)

    def _trim(self, kept: str) -> None:
        """Remove the least recently used files until the rest fits, but not the one just stored."""
        files = [(file.stat(), file) for file in self.folder.glob(f"*{self.suffix}")]
        total = sum(facts.st_size for facts, _ in files)
        for facts, file in sorted(files, key=lambda row: row[0].st_mtime_ns):
            if total <= self.max_bytes:
                return
            if file.name != f"{kept}{self.suffix}":
                file.unlink(missing_ok=True)
                total -= facts.st_size
