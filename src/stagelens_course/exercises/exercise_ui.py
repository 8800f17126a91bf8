"""An exercise in a notebook: an editor for the Dockerfile with a Check button, hints, and a comparison."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets

from stagelens import engine as engines
from stagelens import text
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.concurrency import defer_signals
from stagelens.errors import StagelensError, short_traceback_on_interrupt
from stagelens.paths import atomic_write_text
from stagelens.views.base import Handler
from stagelens.views.editor_base import EditorBase
from stagelens_course import timeouts
from stagelens_course.exercises import learner_copy
from stagelens_course.exercises.display import AnswerComparison, CheckProgress, compare_folders, show_progress
from stagelens_course.folder import learner_folder
from stagelens_course.grading import GradeReport, check_folder, load_exercise
from stagelens_course.grading.notebook import error_card, report_card

BACKUP_NAME = "Dockerfile.before"
_DISABLED_WHEN_IDLE, _DISABLED_WHILE_CHECKING = ["cancel"], ["check", "reset"]


class NotSolved(StagelensError):
    """An answer that was started and does not pass all checks."""


class NotSaved(StagelensError):
    """A learner's Dockerfile that cannot be written; the file is unchanged."""


class Workbench:
    """An exercise and a learner's copy of it, which the first `save` makes.

    Parameters
    ----------
    name
        The exercise, such as `multi-stage-go`.
    folder
        The folder of the copy; by default `default_copy_folder`.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.exercise = load_exercise(name)
        self.folder = folder or learner_copy.default_copy_folder(self.exercise)
        self._hint_count = 0
        self._editor: ExerciseEditor | None = None

    @property
    def checked_folder(self) -> Path:
        """The folder that is checked: the learner's copy if it exists, else the exercise's project."""
        return self.folder if self.started else self.exercise.folder

    @property
    def started(self) -> bool:
        """Whether the learner's copy exists."""
        return self.folder.is_dir()

    @property
    def displayed_folder(self) -> Path:
        """The folder of the copy, relative to the course folder if it is inside."""
        return _displayed(self.folder)

    @property
    def changed(self) -> bool:
        """Whether the Dockerfile differs from the exercise's."""
        return self.text != (self.exercise.folder / "Dockerfile").read_text(encoding="utf-8")

    @property
    def text(self) -> str:
        """The text of the Dockerfile; bytes that are not UTF-8 are replaced."""
        path = self.checked_folder / "Dockerfile"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def save(self, text: str) -> Path:
        """Write the learner's Dockerfile; the earlier file becomes `BACKUP_NAME`.

        Parameters
        ----------
        text
            The text to write.

        Returns
        -------
        Path
            The path of the Dockerfile.

        Raises
        ------
        NotSaved
            If the file cannot be written: the disk is full, for example.
        """
        path = self.folder / "Dockerfile"
        try:
            if not self.started:
                learner_copy.copy_exercise(self.exercise, self.folder)
            if not path.is_file() or path.read_bytes() != text.encode("utf-8", "replace"):
                atomic_write_text(path, text, backup=path.with_name(BACKUP_NAME))
        except OSError as error:
            raise NotSaved(
                "Your Dockerfile was not saved.",
                where=str(path),
                why=error.strerror or str(error),
                remedy="free some space on the disk or make the folder writable, and press Save again: "
                "the text in the editor stays",
            ) from error
        return path

    def reset(self) -> Path | None:
        """Start the exercise again.

        Returns
        -------
        Path or None
            The folder with the earlier files, in the form of `displayed_folder`; None if there were none.
        """
        backup = learner_copy.reset_copy(self.exercise, self.folder)[1] if self.folder.exists() else None
        return _displayed(backup) if backup else None

    @short_traceback_on_interrupt()
    def check(self) -> GradeReport:
        """Save what the editor contains, grade the answer, and show the progress below the cell.

        Raises
        ------
        NotSaved
            If the text in the editor cannot be saved.
        EngineNotFound
            If there is no engine.
        """
        if self._editor is not None and self._editor.edited:
            self._editor.save()
        with show_progress(self.exercise) as report:
            return self.grade(report=report)

    def grade(
        self, *, cancel: Cancel | None = None, report: Callable[[str], None] | None = None
    ) -> GradeReport:
        """Grade the saved answer.

        Parameters
        ----------
        cancel
            Stops the grading when it is called.
        report
            Called with what is being done.

        Raises
        ------
        EngineNotFound
            If there is no engine.
        BuildCancelled
            If `cancel` was called.
        """
        engine = engines.connect()
        try:
            return check_folder(
                self.exercise, self.checked_folder, engine=engine, cancel=cancel, report=report
            )
        finally:
            engine.api.close()

    def hint(self, report: GradeReport) -> str:
        """Return the hint of a check that failed; each call returns the next one.

        Parameters
        ----------
        report
            The report with the failed checks.
        """
        failed = [check for check in report.checks if not check.passed]
        if not failed:
            return "All checks passed."
        check = failed[self._hint_count % len(failed)]
        self._hint_count += 1
        return f"{check.title}: {check.hint} (see {check.lesson})"

    def require_passed(self, report: GradeReport) -> str:
        """Raise an error for a wrong answer, so that `pytest --nbval-lax` fails until the answer is right.

        Parameters
        ----------
        report
            The report of the answer.

        Returns
        -------
        str
            A sentence about an answer that is right or not started.

        Raises
        ------
        NotSolved
            If a check failed, or the grader did.
        """
        if report.passed:
            return f"All checks passed: {report.earned:g} of {report.points:g} points."
        if not self.changed and report.error is None:
            return "Not started: change the Dockerfile, and run this notebook again."
        failed = ", ".join(check.title for check in report.checks if not check.passed)
        raise NotSolved("The answer is not right yet.", why=report.error or failed)

    @short_traceback_on_interrupt()
    def compare(self, edit: str) -> AnswerComparison:
        """Compare the exercise's project with the answer: image size, files, and steps that run again.

        Parameters
        ----------
        edit
            The name of the exercise's edit after which both are built again.
        """
        folders = {"as given": self.exercise.folder}
        if self.changed:
            folders["yours"] = self.checked_folder
        return compare_folders(self.exercise, folders, edit)

    def editor(self) -> ExerciseEditor:
        """Return an editor for the Dockerfile, with buttons that save and check it."""
        self._editor = ExerciseEditor(self)
        return self._editor


class ExerciseEditor(EditorBase):
    """An editor for an exercise's Dockerfile with the buttons Save, Check, Cancel, Hint and Start over.

    A check runs in a thread, so that the kernel can run other cells meanwhile.

    Parameters
    ----------
    bench
        The exercise.

    Attributes
    ----------
    report
        The report of the last check; None before the first one.
    result
        The widget below the text that shows the report.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self.report: GradeReport | None = None
        self._cancel = Cancel()
        self._thread: threading.Thread | None = None
        # Requests of the buttons arrive in another thread while a cell runs.
        self._state_lock = threading.Lock()
        self._check_progress = CheckProgress(bench.exercise)
        self.result = widgets.HTML()
        super().__init__(
            self.result,
            path=self._displayed_path(),
            source=bench.text,
            actions=["save", "check", "cancel", "hint", "reset"],
            disabled=_DISABLED_WHEN_IDLE,
            exists=bench.started,
        )

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers of the buttons; Save and Check send the browser's text."""
        return {
            "save": self.save,
            "check": self.check,
            "cancel": self.cancel,
            "hint": self.hint,
            "reset": self.reset,
        }

    def save(self, source: str | None = None) -> None:
        """Write the text to the learner's copy, which the first save makes.

        Parameters
        ----------
        source
            The text; by default the editor's.

        Raises
        ------
        NotSaved
            If the text cannot be saved; it stays in the editor.
        """
        note = self._save(source)
        self.message = note or f"Saved: {self.path}"

    def check(self, source: str | None = None) -> None:
        """Save the text, and start a check in a thread unless one is running; `wait` waits for its end.

        Parameters
        ----------
        source
            The text; by default the editor's.

        Raises
        ------
        NotSaved
            If the text cannot be saved; no check starts.
        """
        with self._state_lock:
            if self._thread is not None:
                return
            note = self._save(source)
            self._cancel = Cancel()
            self._set_running(True)
            self._thread = threading.Thread(
                target=self._run_check, args=(note,), daemon=True, name="stagelens-check"
            )
            atexit.register(self._cancel_at_exit)
            self._thread.start()

    def cancel(self) -> None:
        """Cancel the check; it removes what it made before it ends."""
        if self._thread is not None:
            self.progress = ["Stopping", self._check_progress.done, self._check_progress.total]
            self._cancel()

    def hint(self) -> None:
        """Show the hint of a check that failed; each call shows the next one."""
        self.message = (
            self._bench.hint(self.report)
            if self.report
            else "Press Check first: hints are about failed checks."
        )

    def reset(self) -> None:
        """Start the exercise again; the learner's files move to a folder beside the copy."""
        if self._thread is not None:
            return
        backup = self._bench.reset()
        self._load()
        self.report, self.result.value = None, ""
        self.message = "The project is as it was at the start."
        if backup is not None:
            self.message += f" Your earlier files are in {text.file_name(str(backup))}"

    def wait(self, seconds: float | None = None) -> GradeReport | None:
        """Wait for the end of a running check, and return the last report.

        Parameters
        ----------
        seconds
            How long to wait; without a limit by default.
        """
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return self.report

    def _run_check(self, note: str) -> None:
        outcome = "The answer could not be checked: see below."
        try:
            self.report = self._bench.grade(cancel=self._cancel, report=self._show_activity)
            self.result.value = report_card(self.report)
            if self.report.error is None:
                outcome = f"{self.report.earned:g} of {self.report.points:g} points"
        except BuildCancelled:
            outcome = "Cancelled. Nothing was graded."
        except StagelensError as error:
            self.result.value = error_card(error.render())
        except Exception as error:
            # An exception of this thread would only reach the kernel's log.
            self.result.value = error_card(f"{type(error).__name__}: {error}")
        finally:
            atexit.unregister(self._cancel_at_exit)
            with self._state_lock:
                self.message = f"{note} {outcome}".strip()
                self._set_running(False)
                self._thread = None

    def _show_activity(self, activity: str) -> None:
        if not self._cancel.requested:
            shown = text.inline(self._check_progress.update(activity), 200)
            self.progress = [shown, self._check_progress.done, self._check_progress.total]

    def _set_running(self, running: bool) -> None:
        self.disabled = _DISABLED_WHILE_CHECKING if running else _DISABLED_WHEN_IDLE
        self._check_progress = CheckProgress(self._bench.exercise)
        self.progress = ["Starting", 0, self._check_progress.total] if running else []

    def _cancel_at_exit(self) -> None:
        # Jupyter sends SIGTERM meanwhile, which would end the kernel at once.
        with defer_signals():
            self._cancel()
            self.wait(timeouts.current.kernel_exit)

    def _save(self, source: str | None) -> str:
        """Save the text; return a note if another editor changed the file, else an empty text."""
        note = self.save_file(self.source if source is None else source)
        self._update_path()
        return note

    def _read_bytes(self) -> bytes | None:
        path = self._bench.folder / "Dockerfile"
        return path.read_bytes() if path.is_file() else None

    def _write(self, source: str, conflict: bool) -> str:
        self._bench.save(source)
        return BACKUP_NAME

    def _load(self) -> None:
        self.source = self._bench.text
        self.saved_text = self.source
        self._update_path()

    def _update_path(self) -> None:
        self.path = self._displayed_path()
        self.exists = self._bench.started

    def _displayed_path(self) -> str:
        return text.file_name(str(self._bench.displayed_folder / "Dockerfile"))


def _displayed(path: Path) -> Path:
    root = learner_folder()
    return path.relative_to(root) if path.is_relative_to(root) else path
