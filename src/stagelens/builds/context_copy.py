"""The engine's copies of build contexts: what they hold, and which files of the folders it would not renew.

For each session key and tree the engine stores the files of the last build, and asks only for those that
differ. It compares them as fsutil does (`sameFile` in tonistiigi/fsutil): a file by type, permissions, size,
modification time and link; a folder by its name alone. Contents and extended attributes are not compared, so
another content of the same size and time goes unnoticed, and the build continues with the old content.

The key is random and stored together with the description of the copy, so a copy without a description is
never used again. Whatever makes the description doubtful deletes it; the next build sends all files.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from stagelens import timeouts
from stagelens.buildkit import Transfer
from stagelens.buildkit.context import ContextEntry
from stagelens.buildkit.context.walker import GO_DIRECTORY
from stagelens.buildkit.dockerpy import api_url, connection_errors
from stagelens.buildkit.filesync import IGNORE_FILE_ONLY
from stagelens.concurrency import poll
from stagelens.engine import Engine
from stagelens.paths import atomic_write, state_dir

_VERSION = 1
_MAX_COPIES = 100
_MAX_BYTES = 64 * 1024**2
_TOLERANCE_SECONDS = 3


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A path in the engine's copy, with what counts for cache keys.

    Attributes
    ----------
    mode
        Type and permissions in Go's bits. Those of a folder are from when the engine first received it.
    size
        The size in bytes.
    mtime_ns
        The modification time.
    linkname
        The target of a link.
    digest
        The SHA-256 of the content; None for a path without content, and if it is unknown.
    xattrs
        A digest of the extended attributes.
    """

    mode: int
    size: int
    mtime_ns: int
    linkname: str
    digest: str | None
    xattrs: str

    def is_reused(self, entry: ContextEntry) -> bool:
        """Return whether the engine would use this instead of a path of the folder."""
        if self.mode & entry.mode & GO_DIRECTORY:
            return True
        found = (entry.mode, entry.size, entry.mtime_ns, os.fsdecode(entry.linkname))
        return found == (self.mode, self.size, self.mtime_ns, self.linkname)


class ContextCopy:
    """What is known of an engine's copies of the build contexts of a folder.

    Parameters
    ----------
    engine
        The engine.
    context
        The folder of the main build context.

    Attributes
    ----------
    shared_key
        The key of the copies, for `Session`.
    """

    def __init__(self, engine: Engine, context: Path) -> None:
        self._engine = engine
        name = "\0".join([engine.info.id, os.path.realpath(context)])
        self._file = Path("contexts", f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.json")
        self._head = self._read()[0]
        self.shared_key: str = self._head.get("key") or f"stagelens-{secrets.token_hex(16)}"
        self._opened = time.time()

    def files(self, tree: str = "context") -> Mapping[str, CopiedFile]:
        """Return the files of a copy by path.

        Parameters
        ----------
        tree
            The name of the session's tree.
        """
        return self._trees.get(tree, {})

    @cached_property
    def _trees(self) -> dict[str, dict[str, CopiedFile]]:
        head, text = self._read()
        if not head or head != self._head:
            return {}
        with suppress(ValueError, TypeError, AttributeError):
            trees: dict[str, dict[str, list[Any]]] = json.loads(text)
            return {
                name: {path: CopiedFile(*row) for path, row in rows.items()} for name, rows in trees.items()
            }
        return {}

    def exists(self) -> bool:
        """Ask the engine whether it may still have the copies: it deletes those that are not used."""
        api = self._engine.api
        with suppress(*connection_errors(), ValueError):
            # The engine refuses a request while it works on another client's.
            for _ in poll(timeouts.current.cache_listing, 0.1):
                answer = api.get(api_url(api, "/system/df"), params={"type": "build-cache"})
                if answer.ok:
                    return self._is_listed(answer.json().get("BuildCache") or [], answer.headers.get("Date"))
        return True

    def _is_listed(self, rows: Iterable[Mapping[str, Any]], clock: str | None) -> bool:
        # The engine's clock may differ from this machine's.
        ahead = parsedate_to_datetime(clock).timestamp() - time.time() if clock else 0.0
        return any(self._may_be(row, ahead) for row in rows if row.get("Type") == "source.local")

    def _may_be(self, row: Mapping[str, Any], ahead: float) -> bool:
        created, used = _timestamp(row.get("CreatedAt")), _timestamp(row.get("LastUsedAt"))
        began, ended = self._head["began"] + ahead, self._head["ended"] + ahead
        return created <= ended + _TOLERANCE_SECONDS and used >= began - _TOLERANCE_SECONDS

    def update(self, transfers: Iterable[Transfer]) -> None:
        """Note what a session has sent; nothing is raised if it cannot be stored.

        Parameters
        ----------
        transfers
            The transfers of a session with the `shared_key`, which is closed.
        """
        found = [t for t in transfers if t.name != "dockerfile" and t.follow != IGNORE_FILE_ONLY]
        if not found:
            return
        # Another build at the same time leaves two copies, and nobody knows which one is used next.
        if not all(t.completed and t.digest for t in found) or self._read()[0] != self._head:
            self._forget()
        elif any(t.files or self._head.get("announced", {}).get(t.name) != t.digest for t in found):
            try:
                self._store(found)
            except OSError:
                self._forget()

    def _store(self, transfers: Sequence[Transfer]) -> None:
        trees, announced = dict(self._trees), dict(self._head.get("announced", {}))
        for transfer in transfers:
            trees[transfer.name] = _received(trees.get(transfer.name, {}), transfer)
            announced[transfer.name] = transfer.digest
        head = {
            "version": _VERSION,
            "key": self.shared_key,
            "announced": announced,
            "began": self._opened,
            "ended": time.time(),
        }
        rows = {
            name: {path: astuple(copied) for path, copied in files.items()} for name, files in trees.items()
        }
        file = state_dir() / self._file
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_write(file) as stream:
            stream.write(f"{json.dumps(head)}\n{json.dumps(rows)}".encode("ascii"))
        _drop_oldest(file.parent)

    def _forget(self) -> None:
        with suppress(OSError):
            (state_dir() / self._file).unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Any], str]:
        """Return the first line of the description, and the rest of it."""
        with suppress(OSError, ValueError, AttributeError):
            file = state_dir() / self._file
            if file.stat().st_size <= _MAX_BYTES:
                first, _, rest = file.read_text(encoding="ascii").partition("\n")
                head: dict[str, Any] = json.loads(first)
                if head.get("version") == _VERSION:
                    return head, rest
        return {}, ""


def counted_xattrs(entry: ContextEntry) -> str:
    """Return a digest of the extended attributes that count for cache keys; "" without any."""
    counted = [
        (name, value)
        for name, value in entry.xattrs
        if name == "security.capability" or not name.startswith(("security.", "system."))
    ]
    return hashlib.sha256(repr(sorted(counted)).encode()).hexdigest() if counted else ""


def _received(files: Mapping[str, CopiedFile], transfer: Transfer) -> dict[str, CopiedFile]:
    """Return the files of the copy after a transfer."""
    found: dict[str, CopiedFile] = {}
    for path, entry in transfer.announced.items():
        name = os.fsdecode(path)
        old, new = files.get(name), _new_file(entry)
        if path in transfer.contents:
            digest, size = transfer.contents[path]
            found[name] = CopiedFile(new.mode, size, new.mtime_ns, "", digest, new.xattrs)
        elif entry.is_regular and entry.linkname:
            first = found.get(new.linkname, new)
            found[name] = CopiedFile(
                new.mode, new.size, new.mtime_ns, new.linkname, first.digest, first.xattrs
            )
        else:
            found[name] = old if old is not None and old.is_reused(entry) else new
    return found


def _new_file(entry: ContextEntry) -> CopiedFile:
    link = os.fsdecode(entry.linkname)
    return CopiedFile(entry.mode, entry.size, entry.mtime_ns, link, None, counted_xattrs(entry))


def _drop_oldest(folder: Path) -> None:
    stored: list[tuple[float, Path]] = []
    for path in folder.glob("*.json"):
        with suppress(OSError):  # another program may have deleted it
            stored.append((path.stat().st_mtime, path))
    for _, path in sorted(stored, reverse=True)[_MAX_COPIES:]:
        path.unlink(missing_ok=True)


def _timestamp(text: str | None) -> float:
    """Return the engine's time in Unix seconds, 0 if it has none."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0
