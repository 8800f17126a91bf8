"""Progress and results: in a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from stagelens.cli import console
from stagelens.engine import Engine


def shown(monkeypatch: pytest.MonkeyPatch, texts: list[str], **options: object) -> str:
    """Return what `spinner` prints for consecutive texts."""
    file = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=file, highlight=False, **options))
    with console.spinner("begun") as update:
        for text in texts:
            update(text)
    return file.getvalue()


def test_pipe_gets_each_text_once_as_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["pulling (1 %)", "pulling (2 %)", "[1/2] FROM a", "pulling (3 %)", "[1/2] FROM a", "begun"]
    assert shown(monkeypatch, texts, width=80).splitlines() == ["begun", "pulling (1 %)", "[1/2] FROM a"]


def test_lines_in_a_pipe_are_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, ["word " * 30], width=40).splitlines()[1] == "word " * 30


@pytest.mark.parametrize("width", [20, 40, 100])
def test_spinner_is_one_line_that_is_erased_at_the_end(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    options = {"force_terminal": True, "width": width, "_environ": {"TERM": "xterm"}}
    text = shown(monkeypatch, ["[builder 2/3] RUN " + "x" * 300], **options)
    # Wrapped text would add line breaks; the only one is the spinner's last, which is erased.
    assert text.count("\n") == 1
    assert text.rstrip().endswith("\x1b[2K")
    if width == 100:
        assert "[builder 2/3] RUN xxx" in text


def test_narrow_terminal_wraps_a_table_without_losing_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert console.make_console().width > 60
    assert console.make_console(stderr=True).width == 20, "the spinner must stay on one line"


def test_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"force_terminal": True, "width": 80, "_environ": {"TERM": "dumb"}}
    assert shown(monkeypatch, ["more"], **options).splitlines() == ["begun", "more"]


def test_no_color_turns_colors_off(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"force_terminal": True, "width": 80, "_environ": {"TERM": "xterm", "NO_COLOR": "1"}}
    assert "\x1b[3" not in shown(monkeypatch, ["more"], **options)


@pytest.mark.engine
def test_build_in_a_pipe_has_whole_lines_without_repeats_and_separate_json(
    engine: Engine, tmp_path: Path, unique: str
) -> None:
    long = "a" * 150
    (tmp_path / "Dockerfile").write_text(f"FROM diamol/base\nRUN echo {unique} > /{long}\nCMD true\n")
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}

    def stagelens(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stagelens_course", *arguments, str(tmp_path)]
        return subprocess.run(
            command, env=environment | variables, capture_output=True, text=True, check=True
        )

    # Even with a narrow width, a line to copy is not wrapped.
    words = stagelens("build", COLUMNS="40")
    (summary,) = (line for line in words.stdout.splitlines() if line.startswith("sha256:"))
    assert summary.endswith("sent")
    lines = words.stderr.splitlines()
    assert len(lines) == len(set(lines)) > 1
    assert f"+ /{long}  " in stagelens("explore").stdout
    for command in ("build", "explore"):
        done = stagelens(command, "--json")
        assert json.loads(done.stdout)
        assert "building" in done.stderr
    assert "\x1b" not in words.stdout + words.stderr
