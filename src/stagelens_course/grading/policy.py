"""What a submission's Dockerfile may reach for: the exercise's images and its own folder, nothing else.

This is about isolation, not about the answer: an image or an address from outside would be fetched by the
engine itself, past the limits of RUN steps.
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

# An exercise's answer has some twenty lines.
MAX_BYTES = 64 * 1024
MAX_INSTRUCTIONS = 500
# Docker's own frontend; the engine has it built in.
_OFFICIAL = re.compile(r"(docker\.io/)?docker/dockerfile(:[\w.-]+)?")
_SYNTAX = re.compile(r"^(\s*#\s*)syntax(\s*=)", re.IGNORECASE)
# `?{1,200}`, three times in a pattern, takes half a second for one long path, and a further one hundred times
# that. The engine counts so, too, but its documentation has no such thing.
_COUNTED = re.compile(r"\{\s*\d")
# An address, a repository behind SSH (USER@HOST:PATH), or what only the build knows.
_REMOTE = re.compile(r"://|^[^/:]+@[^/:]+:|\$")


class NotAllowed(StagelensError):
    """A Dockerfile, or what lies beside it, names something that the exercise does not allow."""


def readable(path: Path) -> Dockerfile:
    """Return a submission's Dockerfile, unless reading and building it would keep the grader busy by itself.

    Raises
    ------
    NotAllowed: it is too long. DockerfileError: it is no Dockerfile.
    """
    if path.stat().st_size > MAX_BYTES:
        raise _no("So long a Dockerfile", 1, f"it may have {MAX_BYTES // 1024} KiB")
    dockerfile = load(path)
    count = sum(len(stage.instructions) + 1 for stage in dockerfile.stages)
    if count > MAX_INSTRUCTIONS:
        raise _no(f"A Dockerfile of {count} instructions", 1, f"it may have {MAX_INSTRUCTIONS}")
    return dockerfile


def check(dockerfile: Dockerfile, images: tuple[str, ...]) -> None:
    """Look at everything that a Dockerfile would have the engine fetch.

    Raises
    ------
    NotAllowed: an image that is not among `images`, an ADD from the network, or a frontend of its own.
    """
    if dockerfile.syntax and not _OFFICIAL.fullmatch(dockerfile.syntax.split()[0]):
        raise _no(dockerfile.syntax, 1, "another frontend would build it: leave the # syntax line out")
    allowed = {_full(image) for image in (*images, "scratch")}
    for edge in dockerfile.edges:
        if isinstance(edge.source, str) and _full(edge.source) not in allowed:
            line = dockerfile.stages[edge.target].instructions[edge.instruction].start_line
            raise _no(edge.source, line, f"the exercise's images are: {', '.join(images)}")
    for instruction in (i for stage in dockerfile.stages for i in stage.instructions):
        if instruction.keyword == "ONBUILD":
            _check_trigger(instruction, dockerfile.escape, images)
        for source in _added(instruction, dockerfile.escape):
            if _REMOTE.search(source):
                raise _no(source, instruction.start_line, "everything must come from the project's folder")


def check_ignored(folder: Path) -> None:
    """Look at what the Dockerfile in `folder` leaves out, which is matched in this very process.

    Raises
    ------
    NotAllowed: matching could keep the grader busy by itself.
    """
    for name in (".dockerignore", "Dockerfile.dockerignore"):
        path = folder / name
        if not path.is_file():
            continue
        if path.stat().st_size > MAX_BYTES:
            raise _no("So long a list of what is left out", 1, f"it may have {MAX_BYTES // 1024} KiB", name)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            if _COUNTED.search(line):
                raise _no(line, number, "a pattern with {numbers} can take for ever to match", name)


def without_syntax(text: str) -> str:
    """Return the Dockerfile with its `# syntax=` line as a mere comment: no frontend has to be pulled then.

    BuildKit looks for it behind a byte order mark and a `#!` line, too, so the mark is left out.
    """
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("#"):
            break
        lines[number] = _SYNTAX.sub(r"\1frontend\2", line)
    return "".join(lines)


def _added(instruction: Instruction, escape: str) -> Iterator[str]:
    """Return the sources of an ADD as the engine sees them: without quotes and escapes."""
    if instruction.keyword == "ADD":
        for word in (instruction.words or split_whitespace(instruction.arguments))[:-1]:
            try:
                yield expand(word, {}, escape, keep_unknown=True)
            except ValueError:
                yield f"$ {word}"


def _check_trigger(instruction: Instruction, escape: str, images: tuple[str, ...]) -> None:
    """Read an ONBUILD as the instruction that it adds, which takes nothing from other stages."""
    bodies = "".join(f"{heredoc.content}{heredoc.name}\n" for heredoc in instruction.heredocs)
    try:
        check(parse(f"# escape={escape}\nFROM scratch\n{instruction.arguments}\n{bodies}"), images)
    except (DockerfileError, NotAllowed) as error:
        why = error.reason if isinstance(error, DockerfileError) else error.why
        raise _no(f"ONBUILD {instruction.arguments}", instruction.start_line, why or "") from None


def _full(image: str) -> str:
    name = image.removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name or "@" in name else f"{name}:latest"


def _no(what: str, line: int, why: str, file: str = "Dockerfile") -> NotAllowed:
    name = inline(what, 100)
    return NotAllowed(f"{name} may not be used here.", where=f"{file}, line {line}", why=why)
