"""The course folder: lessons, exercises and projects as files that a learner works with.

In a clone of the project that is the clone. An installed wheel carries the same files as data, and `install`
copies them to a folder of the learner.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

from stagelens.errors import StagelensError
from stagelens.paths import atomic_write

PARTS = ("ch04", "exercises", "notebooks", "solutions")
DEFAULT_NAME = "stagelens-course"
MANIFEST = ".stagelens-course.json"
_PACKAGE = Path(__file__).parent
_SHIPPED = _PACKAGE / "files"  # made by the build of the wheel (see pyproject.toml)


class FolderRefused(StagelensError):
    """The course cannot be copied to a folder."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What `install` did to a course folder; files are paths below it.

    Attributes
    ----------
    added
        Files that were not there.
    updated
        Files of an earlier version that the learner had not changed.
    outdated
        Files that the learner changed and that have a newer version; they are left alone.
    """

    folder: Path
    added: tuple[str, ...]
    updated: tuple[str, ...]
    outdated: tuple[str, ...]


def is_clone() -> bool:
    """Return whether the course runs from a clone of the project, and not from an installed wheel."""
    return not _SHIPPED.is_dir()


def find_lesson(name: str, folder: Path, language: str = "en") -> Path:
    """Find the notebook of a lesson.

    Parameters
    ----------
    name
        The path of a notebook, from the working folder or the course folder; or a lesson's name, its number,
        or the beginning of its name.
    folder
        The course folder.
    language
        The lesson's language.

    Returns
    -------
    Path
        The notebook's absolute path.

    Raises
    ------
    StagelensError
        If there is no such lesson; the remedy lists the lessons, or the languages.
    """
    lessons = folder / "notebooks" / language
    if not lessons.is_dir():
        languages = ", ".join(sorted(path.name for path in lessons.parent.glob("*") if path.is_dir()))
        raise StagelensError(
            "The course has no lessons in this language.",
            where=language,
            remedy=f"choose from: {languages}" if languages else "check the course folder",
        )
    for path in (Path(name), folder / name, lessons / name, lessons / f"{name}.ipynb"):
        if path.suffix == ".ipynb" and path.is_file():
            return path.resolve()
    found = sorted(lessons.glob("*.ipynb"))
    start = f"{int(name):02}-" if name.isdecimal() else name
    matching = [path for path in found if path.stem.startswith(start)]
    if len(matching) == 1:
        return matching[0].resolve()
    known = [path.stem for path in found]
    similar = difflib.get_close_matches(name.removesuffix(".ipynb"), known, 1)
    raise StagelensError(
        "The course has no such lesson.",
        where=name,
        why=f"did you mean {similar[0]}?" if similar else None,
        remedy=f"choose one of: {', '.join(known) or 'none'}",
    )


def shipped_files() -> Path:
    """Return the folder with the course's files as they were shipped: in the wheel, or the clone."""
    return _PACKAGE.parents[1] if is_clone() else _SHIPPED


def course_folder() -> Path:
    """Return the folder whose lessons, exercises and projects are used.

    In a clone it is the clone. Elsewhere it is the nearest folder at or above the working folder that
    `install` made, else `./stagelens-course` if `install` made it, else the shipped files.
    """
    return shipped_files() if is_clone() else _installed() or _SHIPPED


def learner_folder() -> Path:
    """Return the folder for what learners write: the course folder, or `./stagelens-course` to be made."""
    return shipped_files() if is_clone() else _installed() or _default()


def provide(folder: Path | None = None) -> Installation:
    """Return the course folder with every shipped file in it; a clone is always complete.

    Parameters
    ----------
    folder
        The folder to use. By default the course folder that the working folder is in, else
        `./stagelens-course`.

    Raises
    ------
    FolderRefused
        If the folder is another project's, or cannot be written.
    """
    if folder is None and is_clone():
        return Installation(shipped_files(), (), (), ())
    return install(folder or learner_folder())


def install(folder: Path, source: Path | None = None) -> Installation:
    """Copy the course's files to a folder; a file that the learner changed is never overwritten.

    The manifest in the folder holds the digest of each file as it was copied. A file with that digest was not
    changed and follows a newer version of the course.

    Parameters
    ----------
    folder
        The folder to fill. It may be new, empty, or one that was filled before.
    source
        The folder with the shipped files.

    Raises
    ------
    FolderRefused
        If the folder holds something else, or cannot be written.
    """
    source = source or shipped_files()
    try:
        copied = _read_manifest(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if copied is None:
            # Before the files: an interrupted copy is continued by the next one.
            copied = {}
            _write_manifest(folder, copied)
        result = _copy(source, folder, copied)
        _write_manifest(folder, copied)
    except OSError as error:
        raise FolderRefused(
            "The course cannot be copied.",
            where=str(error.filename or folder),
            why=error.strerror or str(error),
            remedy="choose a folder that you may write to, with free space: stagelens lab --folder DIR",
        ) from error
    return result


def describe(found: Installation) -> list[str]:
    """Return sentences about what `install` changed; none if it changed nothing."""
    lines: list[str] = []
    if found.added:
        lines.append(f"course folder {found.folder}: {len(found.added)} files added")
    if found.updated:
        lines.append(f"updated to this version: {', '.join(found.updated)}")
    if found.outdated:
        changed = ", ".join(found.outdated)
        lines.append(f"changed by you and left alone, although this version has newer ones: {changed}")
        lines.append("to get the newer ones, rename yours and run this again")
    return lines


def _default() -> Path:
    return Path.cwd() / DEFAULT_NAME


def _installed() -> Path | None:
    here = Path.cwd()
    for folder in (here, *here.parents, here / DEFAULT_NAME):
        if (folder / MANIFEST).is_file():
            return folder
    return None


def _copy(source: Path, folder: Path, copied: dict[str, str]) -> Installation:
    added: list[str] = []
    updated: list[str] = []
    outdated: list[str] = []
    for path in _files(source):
        name = path.relative_to(source).as_posix()
        target = folder / name
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        known = copied.get(name)
        present = _digest(target)
        if present is None:
            added.append(name)
        elif present not in (digest, known):
            if known != digest:
                outdated.append(name)
            continue
        elif present != digest:
            updated.append(name)
        if present != digest:
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as file:
                file.write(content)
            # An image's COPY takes over the mode: it must be the same in every course folder.
            target.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IWUSR)
        copied[name] = digest
    return Installation(folder, tuple(added), tuple(updated), tuple(outdated))


def _files(source: Path) -> list[Path]:
    # pip compiles the Python files among them.
    found = (path for part in PARTS for path in sorted((source / part).rglob("*")) if path.is_file())
    return [path for path in found if path.parent.name != "__pycache__"]


def _digest(path: Path) -> str | None:
    """Return a file's digest; "" for what is no ordinary file, None where nothing is."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _read_manifest(folder: Path) -> dict[str, str] | None:
    """Return the digests in a folder's manifest; None where the folder is new or empty."""
    try:
        given = json.loads((folder / MANIFEST).read_text("utf-8"))
        return cast(dict[str, str], dict(given["files"]))
    except FileNotFoundError:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return None
        why = "it holds other files"
    except (ValueError, TypeError, KeyError):
        why = f"its file {MANIFEST} is damaged"
    raise FolderRefused(
        "The course is not copied to this folder.",
        where=str(folder),
        why=why,
        remedy="choose another folder: stagelens lab --folder DIR",
    )


def _write_manifest(folder: Path, files: Mapping[str, str]) -> None:
    content = {"version": version("stagelens"), "files": dict(sorted(files.items()))}
    with atomic_write(folder / MANIFEST) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
