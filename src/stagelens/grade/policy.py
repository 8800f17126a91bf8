"""What a submission's Dockerfile may reach for: the exercise's images and its own folder, nothing else.

This is about isolation, not about the answer: an image or an address from outside would be fetched by the
engine itself, past the limits of RUN steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from stagelens.build.logs import clean
from stagelens.dockerfile import Dockerfile, Instruction, load, split_words
from stagelens.errors import StagelensError

# An exercise's answer has some twenty lines.
MAX_BYTES = 64 * 1024
MAX_INSTRUCTIONS = 500
# Docker's own frontend; the engine has it built in.
_OFFICIAL = re.compile(r"(docker\.io/)?docker/dockerfile(:[\w.-]+)?")
_SYNTAX = re.compile(r"^(\s*#\s*)syntax(\s*=)", re.IGNORECASE)
# `?{1,200}`, three times in a pattern, takes half a second for one long path, and a further one hundred times
# that. The engine counts so, too, but its documentation has no such thing.
_COUNTED = re.compile(r"\{\s*\d")
_REMOTE = re.compile(r"://|^git@|\$")


class NotAllowed(StagelensError):
    """A Dockerfile, or what lies beside it, names something that the exercise does not allow."""


def readable(path: Path) -> Dockerfile:
    """A submission's Dockerfile, unless reading and building it would keep the grader busy by itself.

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
        for source in _fetched(instruction, dockerfile.escape):
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
    """The Dockerfile with its `# syntax=` line as a mere comment: no frontend has to be pulled then.

    BuildKit looks for it behind a byte order mark and a `#!` line, too, so the mark is left out.
    """
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("#"):
            break
        lines[number] = _SYNTAX.sub(r"\1frontend\2", line)
    return "".join(lines)


def _fetched(instruction: Instruction, escape: str) -> Iterator[str]:
    """Sources of an ADD, and whatever an ONBUILD might fetch."""
    if instruction.keyword == "ADD":
        yield from (instruction.words or split_words(instruction.arguments, escape))[:-1]
    if instruction.keyword == "ONBUILD":
        trigger = instruction.arguments
        if re.match(r"ADD\b", trigger, re.IGNORECASE) or "from=" in trigger:
            yield f"$ {trigger}"


def _full(image: str) -> str:
    name = image.removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name or "@" in name else f"{name}:latest"


def _no(what: str, line: int, why: str, file: str = "Dockerfile") -> NotAllowed:
    name = clean(what)[:100]
    return NotAllowed(f"{name} may not be used here.", where=f"{file}, line {line}", why=why)
