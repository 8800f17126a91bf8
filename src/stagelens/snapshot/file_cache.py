"""Files kept on disk for the next time, each whole or not at all, the ones used longest ago going first."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stagelens.paths import atomic_write


@dataclass(frozen=True, slots=True)
class LruFileCache:
    """A folder of files that can be made again; they stay below `max_bytes` together.

    Nothing here raises: what cannot be read is not there, and what cannot be written is not kept.
    """

    folder: Path
    suffix: str
    max_bytes: int

    def load(self, name: str) -> bytes | None:
        """What is kept under a name, or None."""
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
        """Remove the files used longest ago until the rest fits; never the one just kept."""
        files = [(file.stat(), file) for file in self.folder.glob(f"*{self.suffix}")]
        total = sum(facts.st_size for facts, _ in files)
        for facts, file in sorted(files, key=lambda row: row[0].st_mtime_ns):
            if total <= self.max_bytes:
                return
            if file.name != f"{kept}{self.suffix}":
                file.unlink(missing_ok=True)
                total -= facts.st_size
