"""Parse options with the syntax of docker's command line: `--secret`, `--ssh`, `--output` and others.

Source: the reference of `docker buildx build`. Errors about secrets never repeat the typed text: it may be a
secret in the wrong position.
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
from stagelens.dockerfile import SeveralPlatforms, normalize_platform

# The grammar of github.com/distribution/reference, without digests, which no tag can have.
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_IMAGE = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SecretFlag:
    """A secret, and the ID that steps use it by."""

    id: str
    value: Secret = field(repr=False)


@dataclass(frozen=True, slots=True)
class SshFlag:
    """An SSH agent's socket ("" for that of SSH_AUTH_SOCK), and the ID that steps use it by."""

    id: str
    socket: str


def parse_fields(text: str, *allowed: str) -> dict[str, str]:
    """Return `KEY=VALUE,KEY=VALUE` as a mapping; a part with a comma is quoted as in CSV.

    Parameters
    ----------
    text
        The option's value.
    *allowed
        The allowed keys.

    Raises
    ------
    BadParameter
        If a part has no `=`, its key is not allowed, or the text is not such a list.
    """
    found: dict[str, str] = {}
    try:
        parts = next(csv.reader([text]), [])
    except csv.Error:
        raise click.BadParameter("it is not a list KEY=VALUE,KEY=VALUE on one line") from None
    for number, part in enumerate(parts, 1):
        key, equals, value = part.partition("=")
        if not equals or key.strip().lower() not in allowed:
            names = ", ".join(f"{name}=…" for name in allowed)
            raise click.BadParameter(f"part {number} is none of {names}")
        found[key.strip().lower()] = value
    return found


def parse_file(text: str) -> Path:
    """Return a Dockerfile's path."""
    if text == "-":
        raise click.BadParameter(
            "a Dockerfile cannot come from the standard input: save it, and give its path"
        )
    return Path(text)


def parse_tag(text: str) -> str:
    """Check an image's name, with or without a tag."""
    # The engine's error would not say which name is wrong.
    if not _IMAGE.fullmatch(text):
        raise click.BadParameter(
            f"{text!a} is not an image's name: use lower-case letters, digits and . _ - between slashes, "
            "and an optional :TAG"
        )
    return text


def parse_build_arg(text: str) -> str:
    """Check `NAME=VALUE`, or a NAME that takes the environment's value."""
    if not text.partition("=")[0]:
        raise click.BadParameter("the name before the = is missing: give NAME=VALUE")
    return text


def parse_platform(text: str) -> str:
    """Check a platform; a list of platforms is refused."""
    try:
        return normalize_platform(text)
    except SeveralPlatforms as error:
        raise click.BadParameter(f"{error.why}; {error.remedy}") from None


def parse_build_context(text: str) -> tuple[str, str]:
    """Parse `NAME=VALUE`, where the value is a folder, `docker-image://IMAGE` or a URL."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise click.BadParameter("give NAME=FOLDER, NAME=docker-image://IMAGE or NAME=URL")
    return name, value


def parse_secret(text: str) -> SecretFlag:
    """Parse `id=ID[,src=FILE|,env=NAME]`; an ID alone is a variable, or else a file, of that name."""
    given = parse_fields(text, "id", "src", "source", "env", "type")
    name, file = given.get("id", ""), given.get("src") or given.get("source")
    variable, kind = given.get("env"), given.get("type", "file")
    if not name:
        raise click.BadParameter("the id is missing: give id=ID,src=FILE or id=ID,env=NAME")
    if kind not in ("file", "env"):
        raise click.BadParameter("its type must be file or env")
    if kind == "env" and not variable:
        variable, file = file, None
    if file and variable:
        raise click.BadParameter("give src or env, not both")
    if not (file or variable):
        file, variable = (None, name) if name in os.environ else (name, None)
    if variable:
        if variable not in os.environ:
            raise click.BadParameter(f"{name}: the variable is not set")
        return SecretFlag(name, Env(variable))
    path = Path(file or "")
    if not path.is_file() or not os.access(path, os.R_OK):
        raise click.BadParameter(f"{name}: the file does not exist, or cannot be read")
    return SecretFlag(name, path)


def parse_agent(text: str) -> SshFlag:
    """Parse `default` for the agent of SSH_AUTH_SOCK, or `ID=SOCKET`."""
    name, equals, path = text.partition("=")
    if equals and (not path or "," in path):
        raise click.BadParameter("give the socket of one agent, as in default=/run/agent.sock")
    return SshFlag(name or "default", path)


def parse_output(text: str) -> Output:
    """Parse `FOLDER`, `-`, or `type=local|tar,dest=PATH`; `-` writes a tar to the standard output."""
    kind, target = ("tar", "-") if text == "-" else ("local", text)
    if text.startswith("type=") or "," in text:
        kind, _, rest = text.removeprefix("type=").partition(",")
        if kind not in ("local", "tar"):
            raise click.BadParameter("it must begin with type=local or type=tar; use --tag to name an image")
        target = parse_fields(rest, "dest").get("dest", "-")
    if kind == "tar" and target == "-":
        if sys.stdout.isatty():
            raise click.BadParameter("a tar cannot be shown in a terminal: give dest=FILE, or redirect it")
        return FileSend(sys.stdout.buffer)
    if target in ("", "-"):
        raise click.BadParameter("a folder is needed: type=local,dest=FOLDER")
    return TarFile(target) if kind == "tar" else LocalFolder(target)
