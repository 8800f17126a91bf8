"""The exercise's notebook: it passes as it is given and for a right answer, and fails for a wrong one."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from IPython.utils.capture import capture_output
from stagelens_testing.resources import PATIENCE, resource_limit, wait_until

from stagelens.engine import Engine
from stagelens.views.base import answer_message
from stagelens_course import grading
from stagelens_course.exercises.bench_editor import ExerciseEditor
from stagelens_course.exercises.workbench import NotSolved, Workbench

ROOT = Path(__file__).parents[3]
NOTEBOOK = ROOT / "notebooks/en/06-exercise.ipynb"
GO = grading.load_exercise("multi-stage-go")
ANSWER = (GO.solution / "Dockerfile").read_text()


def press(editor: ExerciseEditor, button: str, source: str | None = None) -> dict[str, str]:
    """What the browser sends, which brings a text that may not be the trait's yet; what is refused."""
    text = editor.source if source is None else source
    given = {"source": text} if button in ("save", "check") else {}
    answer = answer_message(editor.request, {"type": "request", "id": 1, "name": button, "arguments": given})
    editor.source = editor.source if source is None else source
    return (answer or {}).get("error", {})


def report(passed: bool) -> grading.GradeReport:
    checks = [
        grading.CheckResult(
            name, f"The {name}", 1, float(passed), passed, "x", "y", f"Try {name}.", "01-multi-stage"
        )
        for name in ("size", "port")
    ]
    return grading.GradeReport("multi-stage-go", tuple(checks), 2, 2.0 * passed, 1.0)


def test_save_makes_the_copy_and_keeps_what_was_there(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    assert bench.place == GO.folder
    assert not bench.begun
    bench.save("FROM diamol/base\n")
    assert bench.place == tmp_path / "mine"
    assert bench.begun
    assert (bench.place / "main.go").is_file()
    bench.save("FROM scratch\n")
    assert (bench.place / "Dockerfile.before").read_text() == "FROM diamol/base\n"


def test_nothing_is_called_saved_before_there_is_a_learner_s_copy(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    editor = bench.editor()
    assert (editor.source, editor.exists, editor.saved) == (bench.text, False, False)
    press(editor, "save")
    assert (bench.folder / "Dockerfile").is_file()
    assert (editor.exists, editor.saved) == (True, True)
    assert bench.editor().saved, "also when the notebook is opened again"


def test_what_another_editor_saved_in_another_encoding_is_shown_and_kept(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    path = bench.save("FROM diamol/base\n")
    theirs = "# 빌드\nFROM scratch\n".encode("cp949")
    path.write_bytes(theirs)
    assert bench.editor().source.endswith("\nFROM scratch\n")
    assert bench.begun
    bench.save("FROM \ud800\n")  # a browser hands over even that
    assert path.read_bytes() == b"FROM ?\n"
    assert path.with_name("Dockerfile.before").read_bytes() == theirs


def test_what_cannot_be_saved_is_told_in_the_widget_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    editor = Workbench("multi-stage-go", tmp_path / "file/mine").editor()
    for button in ("save", "check"):
        told = press(editor, button, "FROM scratch\n")
        assert "not saved" in told["what"]
        assert told["where"] == str(tmp_path / "file/mine/Dockerfile")
        assert told["why"]
        assert "press Save again" in told["remedy"]
        assert not editor.saved
    assert "check" not in editor.disabled, "no check began"
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    path = bench.save("FROM scratch\n")
    bench.save("FROM diamol/base\n")
    editor = bench.editor()
    mine = "# a long answer\n" * 1000
    with resource_limit(resource.RLIMIT_FSIZE, 100):
        told = press(editor, "save", mine)
    assert told["why"] == "File too large"
    assert (editor.source, path.read_text()) == (mine, "FROM diamol/base\n")
    assert path.with_name("Dockerfile.before").read_text() == "FROM scratch\n"
    assert not press(editor, "save", mine)
    assert (path.read_text(), path.with_name("Dockerfile.before").read_text()) == (mine, "FROM diamol/base\n")
    assert sorted(p.name for p in path.parent.iterdir() if "Dockerfile" in p.name) == [
        "Dockerfile",
        "Dockerfile.before",
    ]


def test_hints_come_one_at_a_time_and_begin_again(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    hints = [bench.hint(report(False)) for _ in range(3)]
    assert "Try size." in hints[0]
    assert "Try port." in hints[1]
    assert hints[2] == hints[0]
    assert bench.hint(report(True)) == "Everything is right."


def test_an_answer_that_was_begun_must_be_right(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    assert "Not begun" in bench.must_be_right(report(False))
    bench.save("FROM diamol/base\n")
    with pytest.raises(NotSolved, match="The size, The port"):
        bench.must_be_right(report(False))
    assert "2 of 2 points" in bench.must_be_right(report(True))


def test_check_takes_what_another_editor_saved_and_replaces_nothing_unsaid(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    editor = bench.editor()
    press(editor, "save")
    file = bench.folder / "Dockerfile"
    file.write_text("FROM theirs\n")
    press(editor, "save")
    assert (editor.source, file.read_text(), editor.saved) == ("FROM theirs\n", "FROM theirs\n", True)
    assert "Another editor" in editor.message
    file.write_text("FROM theirs AS one\n")
    press(editor, "save", "FROM mine\n")
    assert file.read_text() == "FROM mine\n"
    assert file.with_name("Dockerfile.before").read_text() == "FROM theirs AS one\n"
    assert "Dockerfile.before" in editor.message


def test_start_over_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelens_course.exercises.workbench.learner_folder", lambda: tmp_path)
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    editor = bench.editor()
    press(editor, "reset")
    assert not bench.folder.exists(), "there was nothing to begin again"
    press(editor, "save", "FROM mine\n")
    press(editor, "reset")
    assert not bench.begun
    assert editor.source == bench.text
    assert editor.saved
    (kept,) = (path for path in tmp_path.iterdir() if path != bench.folder)
    assert (kept / "Dockerfile").read_text() == "FROM mine\n"
    assert editor.message.endswith(f"What you had is in {kept.name}"), "named as its place is above the text"


@pytest.mark.engine
def test_what_is_compared_is_said_meanwhile_and_is_no_check(
    engine: Engine, tmp_path: Path, shell: None
) -> None:
    with capture_output() as seen:
        compared = Workbench("multi-stage-go", tmp_path / "mine").compare("page")
    assert str(compared).startswith("as given, size of the image: ")
    told = [output.data["text/plain"] for output in seen.outputs]
    assert any(line.startswith("As given: ") for line in told), told
    assert not any("checks done" in line for line in told), told
    assert told[-1] == "", "nothing stays"


@pytest.mark.engine
def test_the_buttons(engine: Engine, tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    editor = bench.editor()
    press(editor, "hint")
    assert "Check first" in editor.message
    editor.source = "FROM <b>nowhere</b>\n"
    assert not editor.saved
    press(editor, "check")
    assert (tmp_path / "mine/Dockerfile").read_text() == editor.source
    assert editor.saved
    editor.wait(PATIENCE)
    assert "0/1" in editor.shown.value
    assert "<b>nowhere" not in editor.shown.value
    press(editor, "hint")
    assert "0/1" in editor.shown.value, "a hint leaves the table where it is"
    said: list[list[Any]] = []
    editor.observe(lambda change: said.append(change["new"]), "progress")
    editor.source = ANSWER  # typed, not saved: the cell below the editor checks it all the same
    assert bench.check().passed
    press(editor, "check")
    report = editor.wait(PATIENCE)
    assert report is not None
    assert report.passed
    assert editor.shown.value.count("✓ passed") == len(GO.checks)
    assert {row[0] for row in said if row} >= {check.title for check in GO.checks}, "it is followed live"
    assert editor.message == "18 of 18 points"


ENDING = """
import sys, threading, time
from pathlib import Path
from stagelens_course.exercises import bench_editor
from stagelens_course.exercises.workbench import Workbench
place = Path(sys.argv[1])
bench_editor._GOODBYE_SECONDS = float(sys.argv[2])
class Slow(Workbench):
    def grade(self, *, cancel=None, report=None):
        asked = threading.Event()
        cancel.on_request(asked.set)
        asked.wait()
        (place / "cleaning").touch()
        while not (place / "told").exists():
            time.sleep(0.01)
        (place / "cleaned").touch()
Slow("multi-stage-go", place / "work").editor().check()
"""


def test_a_check_is_cleaned_up_after_though_the_kernel_is_told_to_end_twice(tmp_path: Path) -> None:
    """Jupyter asks it to end, and sends SIGTERM half-way before it kills it."""
    with subprocess.Popen([sys.executable, "-c", ENDING, tmp_path, str(PATIENCE)]) as kernel:
        wait_until((tmp_path / "cleaning").exists, "the end")
        kernel.send_signal(signal.SIGTERM)
        (tmp_path / "told").touch()
    assert (tmp_path / "cleaned").exists()
    assert kernel.returncode == -signal.SIGTERM


@pytest.mark.engine
def test_a_check_leaves_the_kernel_free_and_is_cancelled(engine: Engine, tmp_path: Path) -> None:
    editor = Workbench("multi-stage-go", tmp_path / "mine").editor()
    building = threading.Event()
    editor.observe(lambda change: "sleep 600" in str(change["new"][:1]) and building.set(), "progress")
    press(editor, "check", "FROM diamol/base\nRUN sleep 600\n")
    assert building.wait(PATIENCE), "the button came back, and the check goes on"
    assert "check" in editor.disabled
    press(editor, "cancel")
    assert editor.wait(PATIENCE) is None
    assert editor.message == "Cancelled. Nothing was graded."
    assert editor.disabled == ["cancel"]
    assert editor.progress == []


@pytest.mark.engine
@pytest.mark.parametrize(("answer", "code"), [(ANSWER, 0), (ANSWER.replace("EXPOSE 80", ""), 1)])
def test_nbval_is_the_learner_s_own_check(tmp_path: Path, answer: str, code: int) -> None:
    Workbench("multi-stage-go", tmp_path / "mine").save(answer)
    notebook = json.loads(NOTEBOOK.read_text())
    for cell in notebook["cells"]:
        mine = f'Workbench("multi-stage-go", Path({str(tmp_path / "mine")!r}))'
        text = "".join(cell["source"])
        cell["source"] = text.replace('Workbench("multi-stage-go")', mine)
        if cell["cell_type"] == "code" and mine in cell["source"]:
            cell["source"] = "from pathlib import Path\n" + cell["source"]
    copy = tmp_path / "06-exercise.ipynb"
    copy.write_text(json.dumps(notebook))
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", str(copy)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout[-3000:]
    if code:
        assert "1 failed" in done.stdout
        assert "The port is declared" in done.stdout
