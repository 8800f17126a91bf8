"""The names of Dockerfiles and ignore files: which one a build reads, and which one only looks like it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

_DEFAULT = "Dockerfile"
_LOWER = "dockerfile"
_IGNORE = ".dockerignore"
_MOST_SIMILAR = 3


def find_dockerfile(context: str | Path, dockerfile: str | Path | None = None) -> Path:
    """Return the path of the Dockerfile of a build.

    As with docker, a file `dockerfile` is used where no file `Dockerfile` is.

    Parameters
    ----------
    context
        The folder of the build context.
    dockerfile
        The path of the Dockerfile; by default `Dockerfile` in the context.

    Returns
    -------
    Path
        The path; whether there is such a file is not checked.
    """
    path = Path(dockerfile) if dockerfile else Path(context) / _DEFAULT
    if path.name == _DEFAULT:
        names = _names(path.parent)
        if _DEFAULT not in names and _LOWER in names:
            return path.with_name(_LOWER)
    return path


def similar_names(wanted: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that look like a missing one, the most similar ones first.

    Parameters
    ----------
    wanted
        The name of a Dockerfile that does not exist.
    names
        The names of the files in its folder.
    """
    lower = {name.lower(): name for name in sorted(names, reverse=True) if not name.endswith(_IGNORE)}
    name = wanted.lower()
    found = [each for each in lower if each in (name, f"{name}.txt")]
    found += [each for each in lower if each.startswith(f"{name}.") or each.endswith(f".{name}")]
    found += [each for each in lower if name == _LOWER and each == "containerfile"]
    found += difflib.get_close_matches(name, lower, cutoff=0.8)
    return tuple(lower[each] for each in dict.fromkeys(found))[:_MOST_SIMILAR]


def missing_remedy(path: Path) -> str:
    """Return the next step for a Dockerfile that does not exist."""
    if not path.parent.is_dir():
        return "check the folder's name"
    if similar := similar_names(path.name, _names(path.parent)):
        return f"rename {' or '.join(similar)} to {path.name}, or give its path"
    return f"check the folder's name, or give the path of the {_DEFAULT}"


def ignore_file_paths(context: Path, dockerfile: Path) -> tuple[Path, Path]:
    """Return the paths where a build looks for an ignore file: beside the Dockerfile, then in the context.

    Parameters
    ----------
    context
        The folder of the build context.
    dockerfile
        The path of the Dockerfile.
    """
    return dockerfile.with_name(f"{dockerfile.name}{_IGNORE}"), context / _IGNORE


def unread_ignore_files(context: Path, dockerfile: Path) -> tuple[Path, ...]:
    """Return ignore files that a build does not read, because of their name or folder.

    Parameters
    ----------
    context
        The folder of the build context.
    dockerfile
        The path of the Dockerfile.
    """
    specific, general = ignore_file_paths(context, dockerfile)
    names = (_IGNORE, _IGNORE[1:], f"{_IGNORE}.txt", specific.name.lower(), f"{specific.name.lower()}.txt")
    paths = [
        folder / name
        for folder in dict.fromkeys((context, dockerfile.parent))
        for name in sorted(_names(folder))
        if name.lower() in names
    ]
    return tuple(path for path in paths if not _is_same(path, specific) and not _is_same(path, general))


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError:
        return frozenset()


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
