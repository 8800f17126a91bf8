"""What is wrong with a Dockerfile, line by line: our parser, and hadolint where its program is there."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Literal, cast

from stagelens.dockerfile import DockerfileError, Instruction, parse

Level = Literal["error", "warning", "info"]
_LEVELS: dict[str, Level] = {"error": "error", "warning": "warning", "info": "info", "style": "info"}
_SECONDS = 10
_MOST = 200
# Where docker reads a list if it is JSON, and a shell's words if not.
_LISTS = frozenset({"CMD", "ENTRYPOINT", "RUN"})
_QUOTES = tuple("'\"“”‘’")


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding; `line` counts from 1, `rule` is hadolint's code or "" for our parser's own."""

    line: int
    level: Level
    message: str
    rule: str = ""


def check(text: str) -> tuple[Problem, ...]:
    """Return the problems of a Dockerfile's text, in order of its lines."""
    found = [*_parsed(text), *_hadolint(text)]
    return tuple(sorted(found, key=lambda problem: problem.line)[:_MOST])


def _parsed(text: str) -> list[Problem]:
    try:
        dockerfile = parse(text)
    except DockerfileError as error:
        remedy = f" Next: {error.remedy}" if error.remedy else ""
        return [Problem(max(1, error.line), "error", error.reason + remedy)]
    found = (i for stage in dockerfile.stages for i in stage.instructions if _is_no_list(i))
    message = 'This is no JSON list, so a shell reads it. Next: write it as in CMD ["a", "b"]'
    lists = [Problem(i.start_line, "warning", message) for i in found]
    return lists + [
        Problem(stage.instructions[0].start_line, "error", _miscased(stage.base, name))
        for stage in dockerfile.stages
        if (name := dockerfile.miscased_base(stage)) is not None
    ]


def _miscased(base: str, name: str) -> str:
    return f"FROM finds stages by their names in lower case, so {base} is an image. Next: write FROM {name}"


def _is_no_list(instruction: Instruction) -> bool:
    """Whether it looks like the exec form and is none; `[` is a command, too, which knows no commas."""
    if instruction.keyword not in _LISTS or instruction.words is not None:
        return False
    text = instruction.arguments
    inside = text[1:-1].strip(" \t,")
    quoted = len(inside) > 1 and inside.startswith(_QUOTES) and inside.endswith(_QUOTES)
    brackets = text.startswith("[") and text.endswith("]")
    return brackets and quoted and (instruction.keyword != "RUN" or "," in text)


def _hadolint(text: str) -> list[Problem]:
    """Return hadolint's findings; none if it is missing, takes too long, or prints no JSON."""
    program = shutil.which("hadolint")
    if program is None:
        return []
    command = [program, "--no-fail", "--format", "json", "-"]
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=_SECONDS, check=False
        )
        rows: Any = json.loads(done.stdout)
        return [_finding(cast("dict[str, Any]", row)) for row in rows if row["code"] != "DL1000"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return []


def _finding(row: dict[str, Any]) -> Problem:
    level = _LEVELS.get(str(row["level"]), "info")
    return Problem(int(row["line"]), level, str(row["message"]), str(row["code"]))
