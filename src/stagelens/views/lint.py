"""Problems of a Dockerfile by line, from stagelens' parser and, if it is installed, from hadolint."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Literal, cast

from stagelens.dockerfile import DockerfileError, Instruction, parse

Level = Literal["error", "warning", "info"]
_LEVELS: dict[str, Level] = {"error": "error", "warning": "warning", "info": "info", "style": "info"}
_TIMEOUT = 10  # seconds
_MAX_PROBLEMS = 200
# Instructions whose arguments are an exec form if they are a JSON list, else a shell form.
_EXEC_FORMS = frozenset({"CMD", "ENTRYPOINT", "RUN"})
_QUOTES = tuple("'\"“”‘’")


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a Dockerfile.

    Attributes
    ----------
    line
        The line, counted from 1.
    level
        How serious the problem is.
    message
        The description.
    rule
        hadolint's code of the rule; empty for a problem that stagelens' parser found.
    """

    line: int
    level: Level
    message: str
    rule: str = ""


def find_problems(text: str) -> tuple[Problem, ...]:
    """Return the problems of a Dockerfile, in the order of its lines.

    Parameters
    ----------
    text
        The Dockerfile's text.
    """
    found = [*_parser_problems(text), *_hadolint_problems(text)]
    return tuple(sorted(found, key=lambda problem: problem.line)[:_MAX_PROBLEMS])


def _parser_problems(text: str) -> list[Problem]:
    try:
        dockerfile = parse(text)
    except DockerfileError as error:
        remedy = f" Next: {error.remedy}" if error.remedy else ""
        return [Problem(max(1, error.line), "error", error.reason + remedy)]
    found = (i for stage in dockerfile.stages for i in stage.instructions if _is_invalid_exec_form(i))
    message = 'This is not a JSON list, so a shell runs it. Next: write it as in CMD ["a", "b"]'
    lists = [Problem(i.start_line, "warning", message) for i in found]
    return lists + [
        Problem(stage.instructions[0].start_line, "error", _miscased(stage.base, name))
        for stage in dockerfile.stages
        if (name := dockerfile.miscased_base(stage)) is not None
    ]


def _miscased(base: str, name: str) -> str:
    return f"FROM finds stages by their names in lower case, so {base} is an image. Next: write FROM {name}"


def _is_invalid_exec_form(instruction: Instruction) -> bool:
    """Whether arguments look like an exec form but are not JSON; the shell's command `[` has no commas."""
    if instruction.keyword not in _EXEC_FORMS or instruction.words is not None:
        return False
    text = instruction.arguments
    inside = text[1:-1].strip(" \t,")
    quoted = len(inside) > 1 and inside.startswith(_QUOTES) and inside.endswith(_QUOTES)
    brackets = text.startswith("[") and text.endswith("]")
    return brackets and quoted and (instruction.keyword != "RUN" or "," in text)


def _hadolint_problems(text: str) -> list[Problem]:
    """Return hadolint's problems; none if it is not installed, takes too long, or prints no JSON."""
    program = shutil.which("hadolint")
    if program is None:
        return []
    command = [program, "--no-fail", "--format", "json", "-"]
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=_TIMEOUT, check=False
        )
        rows: Any = json.loads(done.stdout)
        return [_problem(cast("dict[str, Any]", row)) for row in rows if row["code"] != "DL1000"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return []


def _problem(row: dict[str, Any]) -> Problem:
    level = _LEVELS.get(str(row["level"]), "info")
    return Problem(int(row["line"]), level, str(row["message"]), str(row["code"]))
