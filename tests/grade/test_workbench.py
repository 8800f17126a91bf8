"""The exercise's notebook: it passes as it is given and for a right answer, and fails for a wrong one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import ipywidgets as widgets
import pytest

from stagelens import grade
from stagelens.engine import Engine
from stagelens.grade.workbench import NotSolved, Workbench

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks/en/06-exercise.ipynb"
GO = grade.exercise("multi-stage-go")
ANSWER = (GO.solution / "Dockerfile").read_text()


def report(passed: bool) -> grade.Report:
    checks = [
        grade.CheckResult(
            name, f"The {name}", 1, float(passed), passed, "x", "y", f"Try {name}.", "01-multi-stage"
        )
        for name in ("size", "port")
    ]
    return grade.Report("multi-stage-go", tuple(checks), 2, 2.0 * passed, 1.0)


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


@pytest.mark.engine
def test_the_buttons(engine: Engine, tmp_path: Path) -> None:
    bench = Workbench("multi-stage-go", tmp_path / "mine")
    area, row, shown = bench.editor().children
    assert isinstance(row, widgets.HBox)
    save, check, hint = row.children
    hint.click()
    assert "Check first" in shown.value
    area.value = "FROM <b>nowhere</b>\n"
    save.click()
    assert bench.text == area.value
    check.click()
    assert "0/1" in shown.value
    assert "<b>nowhere" not in shown.value
    area.value = ANSWER
    check.click()
    assert shown.value.count("passed") == len(GO.checks)


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
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == code, done.stdout[-3000:]
    if code:
        assert "1 failed" in done.stdout
        assert "The port is declared" in done.stdout
