"""Restrictions on a submission's Dockerfile: it may use the exercise's images and the submission's files.

The engine itself fetches other images and addresses, and the limits of RUN steps do not apply to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from stagelens.dockerfile import (
    Dockerfile,
    DockerfileError,
    Instruction,
    expand,
    load,
    parse,
    split_whitespace,
)
from stagelens.errors import StagelensError
from stagelens.text import inline

# An answer has about twenty lines.
MAX_BYTES = 64 * 1024
MAX_INSTRUCTIONS = 500
# Docker's own frontend; the engine has it built in.
_OFFICIAL = re.compile(r"(docker\.io/)?docker/dockerfile(:[\w.-]+)?")
_SYNTAX = re.compile(r"^(\s*#\s*)syntax(\s*=)", re.IGNORECASE)
# For one long path, three times `?{1,200}` in a pattern take half a second, and each further one takes a
# hundred times as long. Engines accept such patterns, although Docker does not document them.
_COUNTED = re.compile(r"\{\s*\d")
# An address, a repository behind SSH (USER@HOST:PATH), or a variable, whose value only the build knows.
_REMOTE = re.compile(r"://|^[^/:]+@[^/:]+:|\$")


class NotAllowed(StagelensError):
    """A Dockerfile or an ignore file with something that the exercise does not allow."""


def load_dockerfile(path: Path) -> Dockerfile:
    """Load a submission's Dockerfile; a huge one, which would keep the grader busy, is not read.

    Parameters
    ----------
    path
        The path of the Dockerfile.

    Raises
    ------
    NotAllowed
        If it is too large.
    DockerfileError
        If it is not valid.
    """
    if path.stat().st_size > MAX_BYTES:
        raise _not_allowed("A Dockerfile of this size", 1, f"the limit is {MAX_BYTES // 1024} KiB")
    dockerfile = load(path)
    count = sum(len(stage.instructions) + 1 for stage in dockerfile.stages)
    if count > MAX_INSTRUCTIONS:
        raise _not_allowed(f"A Dockerfile of {count} instructions", 1, f"the limit is {MAX_INSTRUCTIONS}")
    return dockerfile


def check_dockerfile(dockerfile: Dockerfile, images: tuple[str, ...]) -> None:
    """Check everything that a Dockerfile makes the engine fetch.

    Parameters
    ----------
    dockerfile
        The Dockerfile.
    images
        The images that the exercise allows.

    Raises
    ------
    NotAllowed
        If the Dockerfile uses another image, an ADD from the network, or another frontend.
    """
    if dockerfile.syntax and not _OFFICIAL.fullmatch(dockerfile.syntax.split()[0]):
        raise _not_allowed(dockerfile.syntax, 1, "it selects another frontend: remove the # syntax line")
    allowed = {_full_name(image) for image in (*images, "scratch")}
    for edge in dockerfile.edges:
        if isinstance(edge.source, str) and _full_name(edge.source) not in allowed:
            line = dockerfile.stages[edge.target].instructions[edge.instruction].start_line
            raise _not_allowed(edge.source, line, f"the exercise's images are: {', '.join(images)}")
    for instruction in (i for stage in dockerfile.stages for i in stage.instructions):
        if instruction.keyword == "ONBUILD":
            _check_trigger(instruction, dockerfile.escape, images)
        for source in _add_sources(instruction, dockerfile.escape):
            if _REMOTE.search(source):
                raise _not_allowed(
                    source, instruction.start_line, "everything must come from the project's folder"
                )


def check_ignore_files(folder: Path) -> None:
    """Check the ignore files of a submission, whose patterns are matched in this process.

    Parameters
    ----------
    folder
        The folder of the Dockerfile.

    Raises
    ------
    NotAllowed
        If matching the patterns could keep the grader busy.
    """
    for name in (".dockerignore", "Dockerfile.dockerignore"):
        path = folder / name
        if not path.is_file():
            continue
        if path.stat().st_size > MAX_BYTES:
            raise _not_allowed(f"A {name} of this size", 1, f"the limit is {MAX_BYTES // 1024} KiB", name)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            if _COUNTED.search(line):
                raise _not_allowed(line, number, "matching a pattern with {numbers} can take forever", name)


def disable_syntax_line(text: str) -> str:
    """Return a Dockerfile whose `# syntax=` line is an ordinary comment, so that no frontend is pulled.

    BuildKit also finds the line after a byte order mark and a `#!` line; the mark is removed.
    """
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("#"):
            break
        lines[number] = _SYNTAX.sub(r"\1frontend\2", line)
    return "".join(lines)


def _add_sources(instruction: Instruction, escape: str) -> Iterator[str]:
    """Return the sources of an ADD as the engine reads them, without quotes and escapes."""
    if instruction.keyword == "ADD":
        for word in (instruction.words or split_whitespace(instruction.arguments))[:-1]:
            try:
                yield expand(word, {}, escape, keep_unknown=True)
            except ValueError:
                yield f"$ {word}"


def _check_trigger(instruction: Instruction, escape: str, images: tuple[str, ...]) -> None:
    """Check the instruction that an ONBUILD adds; it cannot use other stages."""
    bodies = "".join(f"{heredoc.content}{heredoc.name}\n" for heredoc in instruction.heredocs)
    try:
        check_dockerfile(parse(f"# escape={escape}\nFROM scratch\n{instruction.arguments}\n{bodies}"), images)
    except (DockerfileError, NotAllowed) as error:
        why = error.reason if isinstance(error, DockerfileError) else error.why
        raise _not_allowed(f"ONBUILD {instruction.arguments}", instruction.start_line, why or "") from None


def _full_name(image: str) -> str:
    name = image.removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name or "@" in name else f"{name}:latest"


def _not_allowed(what: str, line: int, why: str, file: str = "Dockerfile") -> NotAllowed:
    name = inline(what, 100)
    return NotAllowed(f"{name} may not be used here.", where=f"{file}, line {line}", why=why)
