"""An exercise in a notebook: its editor, its check, and the notebook as a test of the answer."""

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
from stagelens_course.exercises import ExerciseEditor, NotSolved, Workbench

ROOT = Path(__file__).parents[3]
NOTEBOOK = ROOT / "notebooks/en/06-exercise.ipynb"
GO = grading.load_exercise("multi-stage-go")
ANSWER = (GO.solution / "Dockerfile").read_text()


def press(editor: ExerciseEditor, button: str, source: str | None = None) -> dict[str, str]:
    """Press a button as the browser does, with a text that the trait may not have yet; return the error."""
    text = editor.source if source is None else source
    arguments = {"source": text} if button in ("save", "check") else {}
    message = {"type": "request", "id": 1, "name": button, "arguments": arguments}
    answer = answer_message(editor.request, message)
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


def test_save_makes_the_copy_and_backs_up_the_dockerfile(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    assert bench.checked_folder == GO.folder
    assert not bench.changed
    bench.save("FROM diamol/base\n")
    assert bench.checked_folder == tmp_path / "mine"
    assert bench.changed
    assert (bench.checked_folder / "main.go").is_file()
    bench.save("FROM scratch\n")
    assert (bench.checked_folder / "Dockerfile.before").read_text() == "FROM diamol/base\n"


def test_text_counts_as_saved_only_once_the_copy_exists(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    editor = bench.editor()
    assert (editor.source, editor.exists, editor.saved) == (bench.text, False, False)
    press(editor, "save")
    assert (bench.folder / "Dockerfile").is_file()
    assert (editor.exists, editor.saved) == (True, True)
    assert bench.editor().saved, "a new editor shows the saved text"


def test_dockerfile_in_another_encoding_is_shown_and_backed_up(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    path = bench.save("FROM diamol/base\n")
    theirs = "# 빌드\nFROM scratch\n".encode("cp949")
    path.write_bytes(theirs)
    editor = bench.editor()
    assert editor.source.endswith("\nFROM scratch\n")
    press(editor, "save")
    assert path.read_bytes() == theirs, "saving without an edit does not change the encoding"
    assert bench.changed
    bench.save("FROM \ud800\n")  # a browser can send a lone surrogate
    assert path.read_bytes() == b"FROM ?\n"
    assert path.with_name("Dockerfile.before").read_bytes() == theirs


def test_failed_save_is_reported_in_the_widget_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    editor = Workbench("multi-stage-go", tmp_path / "file/mine").editor()
    for button in ("save", "check"):
        error = press(editor, button, "FROM scratch\n")
        assert "not saved" in error["what"]
        assert error["where"] == str(tmp_path / "file/mine/Dockerfile")
        assert error["why"]
        assert "press Save again" in error["remedy"]
        assert not editor.saved
    assert "check" not in editor.disabled, "no check started"
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    path = bench.save("FROM scratch\n")
    bench.save("FROM diamol/base\n")
    editor = bench.editor()
    mine = "# a long answer\n" * 1000
    with resource_limit(resource.RLIMIT_FSIZE, 100):
        error = press(editor, "save", mine)
    assert error["why"] == "File too large"
    assert (editor.source, path.read_text()) == (mine, "FROM diamol/base\n")
    assert path.with_name("Dockerfile.before").read_text() == "FROM scratch\n"
    assert not press(editor, "save", mine)
    assert (path.read_text(), path.with_name("Dockerfile.before").read_text()) == (mine, "FROM diamol/base\n")
    assert sorted(p.name for p in path.parent.iterdir() if "Dockerfile" in p.name) == [
        "Dockerfile",
        "Dockerfile.before",
    ]


def test_hints_come_one_at_a_time_and_repeat(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    hints = [bench.hint(report(False)) for _ in range(3)]
    assert "Try size." in hints[0]
    assert "Try port." in hints[1]
    assert hints[2] == hints[0]
    assert bench.hint(report(True)) == "All checks passed."


def test_require_passed_fails_for_a_changed_wrong_answer(tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    assert "Not started" in bench.require_passed(report(False))
    bench.save("FROM diamol/base\n")
    with pytest.raises(NotSolved, match="The size, The port"):
        bench.require_passed(report(False))
    assert "2 of 2 points" in bench.require_passed(report(True))


def test_save_loads_or_backs_up_what_another_editor_wrote(tmp_path: Path) -> None:
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


def test_start_over_backs_up_the_earlier_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelens_course.exercises.exercise_ui.learner_folder", lambda: tmp_path)
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    editor = bench.editor()
    press(editor, "reset")
    assert not bench.folder.exists(), "there is no copy to reset"
    press(editor, "save", "FROM mine\n")
    press(editor, "reset")
    assert not bench.changed
    assert editor.source == bench.text
    assert editor.saved
    (backup,) = (path for path in tmp_path.iterdir() if path != bench.folder)
    assert (backup / "Dockerfile").read_text() == "FROM mine\n"
    assert editor.message.endswith(f"Your earlier files are in {backup.name}"), (
        "relative, like the path above the text"
    )


@pytest.mark.engine
def test_comparison_shows_its_progress_but_no_check_count(
    engine: Engine, tmp_path: Path, shell: None
) -> None:
    with capture_output() as seen:
        compared = Workbench("multi-stage-go", tmp_path / "mine").compare("page")
    assert str(compared).startswith("as given, unpacked size of the image: ")
    lines = [output.data["text/plain"] for output in seen.outputs]
    assert any(line.startswith("As given: ") for line in lines), lines
    assert not any("checks done" in line for line in lines), lines
    assert lines[-1] == "", "the line is cleared at the end"


@pytest.mark.engine
def test_buttons_save_check_and_hint(engine: Engine, tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    editor = bench.editor()
    press(editor, "hint")
    assert "Press Check first" in editor.message
    editor.source = "FROM <b>nowhere</b>\n"
    assert not editor.saved
    press(editor, "check")
    assert (tmp_path / "mine/Dockerfile").read_text() == editor.source
    assert editor.saved
    editor.wait(PATIENCE)
    assert "0/1" in editor.result.value
    assert "<b>nowhere" not in editor.result.value
    press(editor, "hint")
    assert "0/1" in editor.result.value, "a hint keeps the table"
    progress: list[list[Any]] = []
    editor.observe(lambda change: progress.append(change["new"]), "progress")
    editor.source = ANSWER  # typed, not saved: bench.check() saves it first
    assert bench.check().passed
    press(editor, "check")
    report = editor.wait(PATIENCE)
    assert report is not None
    assert report.passed
    assert editor.result.value.count("✓ passed") == len(GO.checks)
    assert {row[0] for row in progress if row} >= {check.title for check in GO.checks}
    assert editor.message == "18 of 18 points"


ENDING = """
import sys, threading, time
from pathlib import Path
from stagelens_course import timeouts
from stagelens_course.exercises import Workbench
folder = Path(sys.argv[1])
timeouts.current = timeouts.CourseTimeouts(kernel_exit=float(sys.argv[2]))
class Slow(Workbench):
    def grade(self, *, cancel=None, report=None):
        cancelled = threading.Event()
        cancel.on_request(cancelled.set)
        cancelled.wait()
        (folder / "cleaning").touch()
        while not (folder / "signaled").exists():
            time.sleep(0.01)
        (folder / "cleaned").touch()
Slow("multi-stage-go", folder / "work").editor().check()
"""


def test_check_cleans_up_although_a_second_signal_ends_the_kernel(tmp_path: Path) -> None:
    """Jupyter asks the kernel to end, sends SIGTERM some time later, and then SIGKILL."""
    with subprocess.Popen([sys.executable, "-c", ENDING, tmp_path, str(PATIENCE)]) as kernel:
        wait_until((tmp_path / "cleaning").exists, "the clean-up")
        kernel.send_signal(signal.SIGTERM)
        (tmp_path / "signaled").touch()
    assert (tmp_path / "cleaned").exists()
    assert kernel.returncode == -signal.SIGTERM


@pytest.mark.engine
def test_check_runs_beside_other_cells_and_can_be_cancelled(engine: Engine, tmp_path: Path) -> None:
    editor = Workbench("multi-stage-go", tmp_path / "mine").editor()
    building = threading.Event()
    editor.observe(lambda change: "sleep 600" in str(change["new"][:1]) and building.set(), "progress")
    press(editor, "check", "FROM diamol/base\nRUN sleep 600\n")
    assert building.wait(PATIENCE), "press() returned while the check runs"
    assert "check" in editor.disabled
    press(editor, "cancel")
    assert editor.wait(PATIENCE) is None
    assert editor.message == "Cancelled. Nothing was graded."
    assert editor.disabled == ["cancel"]
    assert editor.progress == []


@pytest.mark.engine
@pytest.mark.parametrize(("answer", "code"), [(ANSWER, 0), (ANSWER.replace("EXPOSE 80", ""), 1)])
def test_notebook_is_a_test_of_the_answer(tmp_path: Path, answer: str, code: int) -> None:
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
