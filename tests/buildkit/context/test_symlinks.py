"""`followpaths`: paths that a Dockerfile copies are included with the targets of their symlinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from stagelens.buildkit.context import ContextEntry, ContextError, walk

Plant = Callable[[Path, Iterable[str]], None]
Tell = Callable[[Iterable[ContextEntry]], list[str]]


@pytest.mark.parametrize(
    ("tree", "follow", "expected"),
    [
        (["a", "b"], ["a"], ["a"]),
        (["a", "b"], ["/a"], ["a"]),
        (["a/x", "b"], ["a"], ["a/", "a/x"]),
        (["a"], ["nothing"], []),
        (["a", "b"], ["."], ["a", "b"]),
        (["a", "b"], ["../a"], []),
        (["l -> t", "t", "u"], ["l"], ["l -> t", "t"]),
        (["l -> m", "m -> t", "t"], ["l"], ["l -> m", "m -> t", "t"]),
        (["d/l -> ../t", "t"], ["d/l"], ["d/", "d/l -> ../t", "t"]),
        (["l -> /t", "t"], ["l"], ["l -> /t", "t"]),
        (["l -> ../../t", "t"], ["l"], ["l -> ../../t", "t"]),
        (["l -> d", "d/x", "d/y"], ["l/x"], ["d/", "d/x", "l -> d"]),
        (["l -> d", "d/x -> ../z", "z", "d/y"], ["l/x"], ["d/", "d/x -> ../z", "l -> d", "z"]),
        (["l -> .", "a"], ["l"], ["a", "l -> ."]),
        (["a1 -> t", "a2", "b", "t"], ["a*"], ["a1 -> t", "a2", "t"]),
        (["d/a -> ../t", "d/b", "t"], ["d/[a]"], ["d/", "d/a -> ../t", "t"]),
        (["x/d -> ../t", "t/f", "u"], ["x/*/f"], ["t/", "t/f", "x/", "x/d -> ../t"]),
        (["a -> b", "b -> a", "c"], ["a"], ["a -> b", "b -> a"]),
        (["a -> a/x", "c"], ["a"], ["a -> a/x"]),
        (["l -> gone"], ["l"], ["l -> gone"]),
    ],
)
def test_links_are_followed_inside_the_context(
    tmp_path: Path, plant: Plant, tell: Tell, tree: list[str], follow: list[str], expected: list[str]
) -> None:
    plant(tmp_path, tree)
    assert tell(walk(tmp_path, follow=follow)) == expected


def test_two_paths_through_one_link_are_both_followed(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    # fsutil forgets the second; `COPY link/x link/y /` then fails for the docker CLI.
    plant(tmp_path, ["l -> d", "d/x", "d/y", "d/z"])
    assert tell(walk(tmp_path, follow=["l/x", "l/y"])) == ["d/", "d/x", "d/y", "l -> d"]


def test_followed_paths_add_to_the_include_patterns(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    plant(tmp_path, ["a", "b", "l -> c", "c"])
    assert tell(walk(tmp_path, include=["a"], follow=["l"])) == ["a", "c", "l -> c"]
    assert tell(walk(tmp_path, follow=["l"], exclude=["c"])) == ["l -> c"]


def test_nothing_outside_the_context_is_read(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    plant(tmp_path, ["secret", "context/l -> ../secret", "context/m -> /etc/passwd", "context/d -> .."])
    context = tmp_path / "context"
    assert tell(walk(context, follow=["l", "m", "d/secret"])) == [
        "d -> ..",
        "l -> ../secret",
        "m -> /etc/passwd",
    ]


def test_links_to_too_many_paths_are_an_error(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"l{number}").symlink_to(f"*/{number}")
    with pytest.raises(ContextError, match=r"more than 10000 paths"):
        walk(tmp_path, follow=["*"])


def test_unlistable_folder_is_named(
    tmp_path: Path, plant: Plant, as_nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    plant(tmp_path, ["d/a"])
    (tmp_path / "d").chmod(0)
    with as_nobody(), pytest.raises(ContextError, match=r"cannot be read"):
        walk(tmp_path, follow=["d/*"])
    (tmp_path / "d").chmod(0o700)
