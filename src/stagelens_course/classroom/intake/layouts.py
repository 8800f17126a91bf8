"""How Moodle and Canvas name what they hand out, and how a name becomes a learner.

Moodle (mod/assign, downloader): `Full Name_12345_assignsubmission_file` is a folder, in older versions with
another `_` at its end; without folders that is the beginning of each file's name. The number is the
participant's in this assignment, as in the offline grading worksheet.

Canvas (content zipper): `surnamename_LATE_12345_678910_file.zip`, of word characters: the user's number, then
the attachment's. Anonymous: `anon_a1B2c_678910_file.zip`. A file handed in again gets `-1` after its name.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_MOODLE = re.compile(
    r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_(?P<plugin>[a-z]+?)(?:_(?P<file>.*))?", re.DOTALL
)
_CANVAS = re.compile(r"(?P<name>\w+?)(?P<late>_LATE)?_(?P<id>\d+)_\d+_(?P<file>.+)", re.DOTALL)
_CANVAS_ANON = re.compile(r"(?P<late>LATE_)?anon_(?P<id>[0-9A-Za-z]+)_\d+_(?P<file>.+)", re.DOTALL)
_AGAIN = re.compile(r"(?P<stem>.+?)-\d+(?P<suffix>\.[^.]*)?", re.DOTALL)
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an entry is. file: its name as the learner had it, "" for a folder. system: "moodle" or "canvas".

    text: it is text typed into a page, not a file.
    """

    name: str
    system: str
    number: str
    file: str = ""
    late: bool = False
    text: bool = False


def owner_of(entry: str) -> Owner | None:
    """Read the name of a file or folder of a class download; None if it is none of theirs."""
    if found := _MOODLE.fullmatch(entry):
        text = found["plugin"] != "file"
        return Owner(found["name"], "moodle", found["id"], found["file"] or "", text=text)
    if found := _CANVAS_ANON.fullmatch(entry):
        return Owner(f"anon {found['id']}", "canvas", found["id"], found["file"], found["late"] is not None)
    if found := _CANVAS.fullmatch(entry):
        return Owner(found["name"], "canvas", found["id"], found["file"], found["late"] is not None)
    return None


def original_name(file: str) -> str:
    """A file's name without the number that Canvas adds when it is handed in again."""
    found = _AGAIN.fullmatch(file)
    return found["stem"] + (found["suffix"] or "") if found else file


def learner_key(name: str, number: str = "") -> str:
    """A name that is safe for files and addresses; not yet unique."""
    # macOS takes both ways to write an accent for one file name, and writes the longer one into archives.
    composed = unicodedata.normalize("NFC", f"{name}-{number}" if number else name)
    key = _UNSAFE.sub("-", composed).strip("-.").lower()
    return key[:60] or "learner"
