"""Resolve symlinks inside of a context (fsutil's followlinks.go).

BuildKit names the paths that a Dockerfile copies. Each is included, and so is the target of each symlink on
the way. Absolute targets and `..` start at the context's root, so no path leads outside.

One difference: fsutil follows a symlink once, so of `link/x` and `link/y` it includes only the first target.
Here both are included, with a bound on the steps that a loop can cost.
"""

from __future__ import annotations

import os
import posixpath
from contextlib import suppress

from stagelens.buildkit.context.folder import OpenFolder, open_below
from stagelens.buildkit.context.patterns import (
    clean_path,
    compile_glob,
    encode_path,
    has_wildcards,
    replace_invalid_utf8,
)
from stagelens.buildkit.errors import ContextError, PatternError, unreadable_path_error

_MAX_LINKS_IN_A_ROW = 255
_MAX_PATHS = 10_000


def expand_followpaths(
    root: OpenFolder, include: tuple[str, ...], follow: tuple[str, ...]
) -> tuple[str, ...]:
    """Combine include patterns and paths to follow into include patterns.

    Parameters
    ----------
    root
        The context.
    include
        The engine's include patterns.
    follow
        The engine's paths to follow.

    Returns
    -------
    tuple[str, ...]
        () if everything is included.
    """
    if not follow:
        return include
    found = resolve_followpaths(root, follow)
    return _outermost((*include, *found)) if found else include


def resolve_followpaths(root: OpenFolder, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return `paths` and every path that symlinks in them lead to.

    Parameters
    ----------
    root
        The context.
    paths
        Paths relative to it, maybe with wildcards.

    Returns
    -------
    tuple[str, ...]
        Sorted paths, () if one of them is the root.

    Raises
    ------
    ContextError
        If the links lead to more than 10,000 paths.
    """
    found: set[str] = set()
    seen: set[str] = set()
    todo = [(clean_path("./" + path), 0) for path in paths]
    while todo:
        path, links = todo.pop()
        if path in seen or links > _MAX_LINKS_IN_A_ROW:
            continue
        seen.add(path)
        if len(seen) > _MAX_PATHS:
            raise ContextError(
                f"Symlinks in the build context lead to more than {_MAX_PATHS} paths.",
                where=path,
                remedy="copy fewer paths with wildcards, or resolve the links",
            )
        reached, targets = _expand_first_symlink(root, path)
        found.add(reached)
        todo += [(target, links + 1) for target in targets]
    return _outermost(tuple(sorted(found, key=encode_path)))


def resolve_symlinks(root: OpenFolder, path: str) -> bytes | None:
    """Follow every symlink of a path inside of the root.

    Parameters
    ----------
    root
        The context.
    path
        A path relative to it.

    Returns
    -------
    bytes or None
        The path without symlinks, None if they form a loop.
    """
    for _ in range(_MAX_LINKS_IN_A_ROW):
        _, targets = _expand_first_symlink(root, path)
        if not targets:
            return encode_path(path)
        path = targets[0]
    return None


def _outermost(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Drop paths that lie below the previous one; return () if one of them is the root."""
    if "." in paths:
        return ()
    out: list[str] = []
    for path in paths:
        if not path.startswith((out[-1] if out else "") + "/"):
            out.append(path)
    return tuple(out)


def _expand_first_symlink(root: OpenFolder, path: str) -> tuple[str, list[str]]:
    """Return the path up to its first symlink, and the paths that it leads to; the whole path without one."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if part in (".", ".."):
            break
        rest = "/".join(parts[index + 1 :])
        targets = _link_targets(root, "/".join(parts[:index]), part)
        if targets:
            return "/".join(parts[: index + 1]), [
                clean_path("./" + target + "/" + rest) for target in targets
            ]
    return path, []


def _link_targets(root: OpenFolder, folder: str, name: str) -> list[str]:
    """Return the targets of `name`, or of each match of it, as paths from the root; [] without a symlink."""
    try:
        opened = open_below(root, encode_path(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable_path_error(encode_path(folder), error) from error
    out: list[str] = []
    try:
        for one in _matching_names(opened, name):
            with suppress(OSError):  # not a symlink, or gone
                target = os.fsdecode(opened.target(one))
                out.append(clean_path(posixpath.join("/", folder, target)).lstrip("/") or ".")
    finally:
        opened.close()
    return out


def _matching_names(opened: OpenFolder, name: str) -> list[str]:
    if not has_wildcards(name):
        return [name]
    try:
        pattern = compile_glob(name)
    except PatternError:
        return []
    return [one.text for one in opened.names() if pattern.fullmatch(replace_invalid_utf8(one.text))]
