"""What the engine's copy of a context holds, as the transfers to it tell."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stagelens.buildkit import Transfer
from stagelens.buildkit.context import ContextEntry
from stagelens.buildkit.context.walker import GO_DIRECTORY
from stagelens.builds import ContextCopy
from stagelens.engine import Engine

FILE = ContextEntry(b"f", 0o644, 3, 1_000)
FOLDER = ContextEntry(b"d", GO_DIRECTORY | 0o755, 0, 1_000)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path))


def open_copy(**api: Any) -> ContextCopy:
    engine = SimpleNamespace(info=SimpleNamespace(id="engine"), api=SimpleNamespace(**api))
    return ContextCopy(cast(Engine, engine), Path("/project"))


def transfer(
    *entries: ContextEntry, name: str = "context", completed: bool = True, **sent: bytes
) -> Transfer:
    """Return a transfer that announced `entries` and sent the contents of some files."""
    contents = {key.encode(): (sha256(content).hexdigest(), len(content)) for key, content in sent.items()}
    announced = {entry.path: entry for entry in entries}
    return Transfer(
        name,
        files=len(contents),
        digest=sha256(repr(entries).encode()).hexdigest(),
        announced=announced,
        contents=contents,
        completed=completed,
    )


def test_file_that_was_not_requested_keeps_its_content() -> None:
    open_copy().update([transfer(FILE, f=b"one")])
    open_copy().update([transfer(FILE, replace(FILE, path=b"g"), g=b"new")])
    assert open_copy().files()["f"].digest == sha256(b"one").hexdigest()
    open_copy().update([transfer(replace(FILE, mtime_ns=2_000), f=b"two")])
    assert open_copy().files()["f"].digest == sha256(b"two").hexdigest()
    assert list(open_copy().files()) == ["f"]


@pytest.mark.parametrize(
    ("change", "reused"),
    [
        ({}, True),
        ({"xattrs": (("user.x", b"1"),)}, True),
        ({"mtime_ns": 1_001}, False),
        ({"size": 4}, False),
        ({"mode": 0o600}, False),
        ({"linkname": b"e"}, False),
    ],
)
def test_file_is_reused_by_size_time_and_permissions(change: dict[str, Any], reused: bool) -> None:
    open_copy().update([transfer(FILE, f=b"one")])
    assert open_copy().files()["f"].is_reused(replace(FILE, **change)) == reused


def test_folder_keeps_its_first_permissions() -> None:
    open_copy().update([transfer(FOLDER)])
    open_copy().update([transfer(replace(FOLDER, mode=GO_DIRECTORY | 0o700), FILE, f=b"one")])
    assert open_copy().files()["d"].mode == FOLDER.mode
    assert open_copy().files()["d"].is_reused(replace(FOLDER, mode=GO_DIRECTORY | 0o711))
    open_copy().update([transfer(FILE)])
    open_copy().update([transfer(replace(FOLDER, mode=GO_DIRECTORY | 0o700), FILE)])
    assert open_copy().files()["d"].mode == GO_DIRECTORY | 0o700


def test_hard_link_has_the_content_of_its_first_name() -> None:
    link = replace(FILE, path=b"g", linkname=b"f")
    open_copy().update([transfer(FILE, link, f=b"one")])
    assert open_copy().files()["g"].digest == sha256(b"one").hexdigest()


def test_ignore_file_has_a_separate_copy() -> None:
    ignore = replace(transfer(replace(FILE, path=b".dockerignore")), follow=(".dockerignore",))
    open_copy().update([transfer(FILE, f=b"one")])
    open_copy().update([ignore, transfer(FILE, name="dockerfile")])
    assert list(open_copy().files()) == ["f"]


def test_each_tree_has_a_separate_copy() -> None:
    open_copy().update([transfer(FILE, f=b"one"), transfer(FILE, name="assets", f=b"two")])
    open_copy().update([transfer(FILE)])
    assert open_copy().files()["f"].digest == sha256(b"one").hexdigest()
    assert open_copy().files("assets")["f"].digest == sha256(b"two").hexdigest()


def test_key_lasts_as_long_as_the_description_of_the_copy() -> None:
    first = open_copy()
    first.update([transfer(FILE, f=b"one")])
    assert open_copy().shared_key == first.shared_key
    open_copy().update([transfer(FILE, completed=False)])
    assert open_copy().shared_key != first.shared_key
    assert open_copy().files() == {}


def test_builds_at_the_same_time_leave_no_description() -> None:
    open_copy().update([transfer(FILE, f=b"one")])
    left, right = open_copy(), open_copy()
    left.update([transfer(replace(FILE, mtime_ns=2_000), f=b"two")])
    right.update([transfer(replace(FILE, mtime_ns=3_000), f=b"two")])
    assert open_copy().files() == {}


@pytest.mark.parametrize(
    ("row", "exists"),
    [
        ({"CreatedAt": "1970-01-01T00:00:00.123456789Z", "LastUsedAt": "2099-01-01T00:00:00Z"}, True),
        ({"CreatedAt": "2099-01-01T00:00:00Z", "LastUsedAt": "2099-01-01T00:00:00Z"}, False),
        ({"CreatedAt": "1970-01-01T00:00:00Z", "LastUsedAt": "2000-01-01T00:00:00Z"}, False),
        ({"CreatedAt": "1970-01-01T00:00:00Z", "LastUsedAt": None}, False),
    ],
)
def test_copy_exists_if_the_engine_has_one_of_its_age(row: dict[str, Any], exists: bool) -> None:
    def get(*_: object, **__: object) -> object:
        answers = (
            busy,
            SimpleNamespace(
                ok=True, headers={}, json=lambda: {"BuildCache": [{"Type": "source.local", **row}]}
            ),
        )
        return answers[min(next(requests), 1)]

    # An engine that works on the same request of another client refuses.
    busy = SimpleNamespace(ok=False, headers={}, json=lambda: {"message": "already running"})
    requests = count()
    open_copy().update([transfer(FILE, f=b"one")])
    assert open_copy(get=get, _url=str).exists() == exists


def test_engine_that_does_not_list_its_cache_may_have_the_copy() -> None:
    def get(*_: object, **__: object) -> object:
        raise OSError

    open_copy().update([transfer(FILE, f=b"one")])
    assert open_copy(get=get, _url=str).exists()
