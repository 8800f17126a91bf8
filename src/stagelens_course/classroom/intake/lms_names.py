"""File names in downloads of Moodle and Canvas, and the learners they name.

Moodle (mod/assign, downloader): `Full Name_12345_assignsubmission_file` is a folder; older versions append
another `_`. In a download without folders, each file name starts with it. The number identifies the
participant in this assignment, as in the offline grading worksheet.

Canvas (content zipper): `surnamename_LATE_12345_678910_file.zip`, of word characters: the number of the user,
then of the attachment. Anonymous: `anon_a1B2c_678910_file.zip`. A resubmitted file has `-1` after its name.
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
_RESUBMITTED = re.compile(r"(?P<stem>.+?)-\d+(?P<suffix>\.[^.]*)?", re.DOTALL)
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class EntryOwner:
    """The learner to whom an entry of a class download belongs.

    Attributes
    ----------
    name
        The learner's name.
    system
        "moodle" or "canvas".
    number
        The learner's number in that system.
    file
        The learner's name for the file; empty for a folder.
    late
        Whether the submission is marked as late.
    is_online_text
        Whether the entry is text that was typed into a page.
    """

    name: str
    system: str
    number: str
    file: str = ""
    late: bool = False
    is_online_text: bool = False


def parse_owner(entry: str) -> EntryOwner | None:
    """Parse the name of a file or folder of a class download.

    Parameters
    ----------
    entry
        The name.

    Returns
    -------
    EntryOwner or None
        The owner; None if neither Moodle nor Canvas makes such names.
    """
    if found := _MOODLE.fullmatch(entry):
        is_text = found["plugin"] != "file"
        return EntryOwner(found["name"], "moodle", found["id"], found["file"] or "", is_online_text=is_text)
    if found := _CANVAS_ANON.fullmatch(entry):
        late = found["late"] is not None
        return EntryOwner(f"anon {found['id']}", "canvas", found["id"], found["file"], late)
    if found := _CANVAS.fullmatch(entry):
        return EntryOwner(found["name"], "canvas", found["id"], found["file"], found["late"] is not None)
    return None


def strip_resubmission_number(file: str) -> str:
    """Return a file name without the number that Canvas adds to a resubmitted file."""
    found = _RESUBMITTED.fullmatch(file)
    return found["stem"] + (found["suffix"] or "") if found else file


def learner_key(name: str, number: str = "") -> str:
    """Return a key for a learner that is safe in file names and URLs, but not yet unique.

    Parameters
    ----------
    name
        The learner's name.
    number
        The learner's number in Moodle or Canvas.
    """
    # macOS treats both encodings of an accent as one file name, and writes the longer one into archives.
    composed = unicodedata.normalize("NFC", f"{name}-{number}" if number else name)
    key = _UNSAFE.sub("-", composed).strip("-.").lower()
    return key[:60] or "learner"
