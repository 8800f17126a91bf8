"""`--secret`, `--ssh` and `--output` as docker's command line has them.

Source: the reference of `docker buildx build`. What somebody typed is never repeated in an error: it may be
a secret that went to the wrong place.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import click

from stagelens.buildkit import Env, FileSend, LocalFolder, Output, TarFile
from stagelens.builds.build_spec import Secret

# The grammar of github.com/distribution/reference, without digests, which an image does not get by name.
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_IMAGE = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A secret and the id that a step asks for it by."""

    id: str
    value: Secret = field(repr=False)


@dataclass(frozen=True, slots=True)
class Agent:
    """An SSH agent's socket ("" for that of SSH_AUTH_SOCK), and the id that a step asks for it by."""

    id: str
    socket: str


def fields(text: str, *allowed: str) -> dict[str, str]:
    """`KEY=VALUE,KEY=VALUE` as a mapping; a part with a comma is quoted as in CSV.

    Raises
    ------
    BadParameter: a part has no `=`, its key is none of `allowed`, or it is no list at all.
    """
    found: dict[str, str] = {}
    try:
        parts = next(csv.reader([text]), [])
    except csv.Error:
        raise click.BadParameter("it is no list of KEY=VALUE,KEY=VALUE on one line") from None
    for number, part in enumerate(parts, 1):
        key, equals, value = part.partition("=")
        if not equals or key.strip().lower() not in allowed:
            names = ", ".join(f"{name}=…" for name in allowed)
            raise click.BadParameter(f"part {number} is none of {names}")
        found[key.strip().lower()] = value
    return found


def file(text: str) -> Path:
    """A Dockerfile's path."""
    if text == "-":
        raise click.BadParameter("a Dockerfile on the standard input is not read: save it, and give its path")
    return Path(text)


def tag(text: str) -> str:
    """An image's name, with a tag or without; the engine would only say that some name is wrong."""
    if not _IMAGE.fullmatch(text):
        raise click.BadParameter(
            f"{text!a} is no image's name: small letters, digits and . _ - between slashes, then maybe :TAG"
        )
    return text


def build_arg(text: str) -> str:
    """`NAME=VALUE`, or a NAME whose value is the environment's."""
    if not text.partition("=")[0]:
        raise click.BadParameter("there is no name before the =: give NAME=VALUE")
    return text


def secret(text: str) -> GivenSecret:
    """`id=ID[,src=FILE|,env=NAME]`; without either it is the variable ID, or else the file ID."""
    given = fields(text, "id", "src", "source", "env", "type")
    name, file = given.get("id", ""), given.get("src") or given.get("source")
    variable, kind = given.get("env"), given.get("type", "file")
    if not name:
        raise click.BadParameter("there is no id: give id=ID,src=FILE or id=ID,env=NAME")
    if kind not in ("file", "env"):
        raise click.BadParameter("its type is file or env")
    if kind == "env" and not variable:
        variable, file = file, None
    if file and variable:
        raise click.BadParameter("it comes from src or from env, not from both")
    if not (file or variable):
        file, variable = (None, name) if name in os.environ else (name, None)
    if variable:
        if variable not in os.environ:
            raise click.BadParameter(f"{name}: its variable is not set")
        return GivenSecret(name, Env(variable))
    place = Path(file or "")
    if not place.is_file() or not os.access(place, os.R_OK):
        raise click.BadParameter(f"{name}: its file is not there, or cannot be read")
    return GivenSecret(name, place)


def agent(text: str) -> Agent:
    """`default` for the agent of SSH_AUTH_SOCK, or `ID=SOCKET`."""
    name, equals, path = text.partition("=")
    if equals and (not path or "," in path):
        raise click.BadParameter("give one agent's socket, as in default=/run/agent.sock")
    return Agent(name or "default", path)


def output(text: str) -> Output:
    """`FOLDER`, `-`, or `type=local|tar,dest=PATH`; `-` is the standard output, which takes a tar."""
    kind, target = ("tar", "-") if text == "-" else ("local", text)
    if text.startswith("type=") or "," in text:
        kind, _, rest = text.removeprefix("type=").partition(",")
        if kind not in ("local", "tar"):
            raise click.BadParameter("it begins with type=local or type=tar; an image is what --tag names")
        target = fields(rest, "dest").get("dest", "-")
    if kind == "tar" and target == "-":
        if sys.stdout.isatty():
            raise click.BadParameter("a tar is nothing for a terminal: give dest=FILE, or redirect it")
        return FileSend(sys.stdout.buffer)
    if target in ("", "-"):
        raise click.BadParameter("a folder is needed: type=local,dest=FOLDER")
    return TarFile(target) if kind == "tar" else LocalFolder(target)
