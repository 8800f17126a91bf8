"""Trees for the tests of the context."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from stagelens.buildkit.context import ContextEntry

Plant = Callable[[Path, Iterable[str]], None]
Tell = Callable[[Iterable[ContextEntry]], list[str]]


@pytest.fixture(scope="session")
def plant() -> Plant:
    """Return a function that creates a tree of `folder/`, `file`, `link -> target`, `name = other name`."""

    def make(root: Path, tree: Iterable[str]) -> None:
        for line in tree:
            name = line.split(" -> ")[0].split(" = ")[0]
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if " -> " in line:
                path.symlink_to(line.split(" -> ")[1])
            elif " = " in line:
                path.hardlink_to(root / line.split(" = ")[1])
            elif line.endswith("/"):
                path.mkdir(exist_ok=True)
            else:
                path.write_text("x")

    return make


@pytest.fixture(scope="session")
def tell() -> Tell:
    """Return a function that writes entries in the notation of `plant`."""

    def one(entry: ContextEntry) -> str:
        text = os.fsdecode(entry.path)
        if entry.mode & 1 << 31:
            return text + "/"
        if entry.linkname:
            text += (" -> " if entry.mode & 1 << 27 else " = ") + os.fsdecode(entry.linkname)
        return text

    return lambda entries: [one(entry) for entry in entries]


@pytest.fixture
def as_nobody(tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
    """Switch to a user without rights: root can read everything."""
    if not hasattr(os, "geteuid"):
        pytest.skip("no Unix users here")

    @contextmanager
    def switch() -> Generator[None]:
        if os.geteuid() != 0:
            yield
            return
        # The folders that pytest, or `stagelens test` for it, made for root alone.
        for folder in (tmp_path, *list(tmp_path.parents)[:3]):
            if folder.stat().st_mode & 0o055 != 0o055:
                folder.chmod(folder.stat().st_mode | 0o055)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return switch
