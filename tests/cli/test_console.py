"""What the terminal shows while something takes time: with a terminal, without one, and for programs."""

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
    """What `working` prints for texts said one after the other."""
    file = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=file, highlight=False, **options))
    with console.working("begun") as say:
        for text in texts:
            say(text)
    return file.getvalue()


def test_without_a_terminal_each_text_is_a_line_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["pulling (1 %)", "pulling (2 %)", "[1/2] FROM a", "pulling (3 %)", "[1/2] FROM a", "begun"]
    assert shown(monkeypatch, texts, width=80).splitlines() == ["begun", "pulling (1 %)", "[1/2] FROM a"]


def test_without_a_terminal_no_line_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, ["word " * 30], width=40).splitlines()[1] == "word " * 30


@pytest.mark.parametrize("width", [20, 40, 100])
def test_in_a_terminal_of_any_width_it_is_one_line_that_goes_at_the_end(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    options = {"force_terminal": True, "width": width, "_environ": {"TERM": "xterm"}}
    text = shown(monkeypatch, ["[builder 2/3] RUN " + "x" * 300], **options)
    # A new line would be wrapped text; the spinner's own end is the one that is taken back.
    assert text.count("\n") == 1
    assert text.rstrip().endswith("\x1b[2K")
    if width == 100:
        assert "[builder 2/3] RUN xxx" in text


def test_a_narrow_terminal_folds_a_table_rather_than_losing_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert console.make().width > 60
    assert console.make(stderr=True).width == 20, "the spinner must stay on one line"


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"force_terminal": True, "width": 80, "_environ": {"TERM": "dumb"}}
    assert shown(monkeypatch, ["more"], **options).splitlines() == ["begun", "more"]


def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"force_terminal": True, "width": 80, "_environ": {"TERM": "xterm", "NO_COLOR": "1"}}
    assert "\x1b[3" not in shown(monkeypatch, ["more"], **options)


@pytest.mark.engine
def test_a_build_in_a_pipe_wraps_nothing_repeats_nothing_and_keeps_json_apart(
    engine: Engine, tmp_path: Path, unique: str
) -> None:
    long = "a" * 150
    (tmp_path / "Dockerfile").write_text(f"FROM diamol/base\nRUN echo {unique} > /{long}\nCMD true\n")
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}

    def stagelens(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stagelens_course", *arguments, str(tmp_path)]
        own = environment | variables
        return subprocess.run(command, env=own, capture_output=True, text=True, check=True)

    # Even where a width is set, a line that is to be copied stays whole.
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
