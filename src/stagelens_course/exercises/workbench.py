"""The exercise in a notebook: an editor for the Dockerfile, a Check button, hints, before and after."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from stagelens import engine as engines
from stagelens.buildkit import Cancel
from stagelens.concurrency import run_cancellable
from stagelens.engine import Engine
from stagelens.errors import StagelensError, short_traceback_on_interrupt
from stagelens.humanize import format_size
from stagelens.paths import atomic_write_text
from stagelens.views.status_line import StatusLine
from stagelens_course import images
from stagelens_course.exercises import learner_copy
from stagelens_course.exercises.bench_editor import ExerciseEditor
from stagelens_course.exercises.display import AnswerComparison, show_progress
from stagelens_course.folder import learner_folder
from stagelens_course.grading.catalog import load_exercise
from stagelens_course.grading.grader import Progress, check_folder, required_images
from stagelens_course.grading.model import GradeReport
from stagelens_course.grading.submission_probe import SubmissionProbe


class NotSolved(StagelensError):
    """An answer was begun and is not right yet."""


class NotSaved(StagelensError):
    """A learner's Dockerfile could not be written; what was there is there still."""


class Workbench:
    """One exercise and the learner's own copy of it, which the first `save` makes.

    `folder` is that copy; until it is there, the project as it was given is looked at.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.exercise = load_exercise(name)
        self.folder = folder or learner_copy.default_folder(self.exercise)
        self._hints = 0
        self._editor: ExerciseEditor | None = None

    @property
    def place(self) -> Path:
        """The folder that is checked: the learner's copy, or what was given."""
        return self.folder if self.started else self.exercise.folder

    @property
    def started(self) -> bool:
        """Whether there is a learner's copy."""
        return self.folder.is_dir()

    @property
    def shown(self) -> Path:
        """The learner's copy, made or not, as one would name it at the top of the checkout."""
        return _named(self.folder)

    @property
    def begun(self) -> bool:
        """Whether the Dockerfile is another one than the given."""
        return self.text != (self.exercise.folder / "Dockerfile").read_text(encoding="utf-8")

    @property
    def text(self) -> str:
        """The Dockerfile by now; what another editor saved in it that is not UTF-8 is replaced."""
        path = self.place / "Dockerfile"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def save(self, text: str) -> Path:
        """Write the learner's Dockerfile; what is there already keeps a copy as Dockerfile.before.

        Raises
        ------
        NotSaved: a full disk, say, or a folder that is not the learner's to write.
        """
        path = self.folder / "Dockerfile"
        try:
            if not self.started:
                learner_copy.copy_exercise(self.exercise, self.folder)
            if not path.is_file() or path.read_bytes() != text.encode("utf-8", "replace"):
                atomic_write_text(path, text, backup=path.with_name("Dockerfile.before"))
        except OSError as error:
            raise NotSaved(
                "Your Dockerfile was not saved.",
                where=str(path),
                why=error.strerror or str(error),
                remedy="make room on the disk, or the folder writable, and press Save again: the text stays",
            ) from error
        return path

    def reset(self) -> Path | None:
        """Begin again with what was given; the folder of the old files, named as in `shown`, if any."""
        kept = learner_copy.reset_copy(self.exercise, self.folder)[1] if self.folder.exists() else None
        return _named(kept) if kept else None

    @short_traceback_on_interrupt()
    def check(self) -> GradeReport:
        """Grade the answer as it is by now, in the editor if it was not saved; say how far it is.

        Raises
        ------
        EngineNotFound: there is no engine.
        """
        if self._editor is not None and self._editor.edited:
            self._editor.save()
        with show_progress(self.exercise) as tell:
            return self.grade(report=tell)

    def grade(self, *, cancel: Cancel | None = None, report: Progress | None = None) -> GradeReport:
        """Grade the answer as it was saved.

        Raises
        ------
        EngineNotFound: there is no engine. BuildCancelled: `cancel` was called.
        """
        found = engines.connect()
        try:
            return check_folder(self.exercise, self.place, engine=found, cancel=cancel, report=report)
        finally:
            found.api.close()

    def hint(self, report: GradeReport) -> str:
        """Return the hint of one check that failed, another one each time."""
        failed = [check for check in report.checks if not check.passed]
        if not failed:
            return "Everything is right."
        check = failed[self._hints % len(failed)]
        self._hints += 1
        return f"{check.title}: {check.hint} (see {check.lesson})"

    def must_be_right(self, report: GradeReport) -> str:
        """Require that an answer that was started is right, as `pytest --nbval-lax` asks.

        Raises
        ------
        NotSolved: it is not, or it could not be graded.
        """
        if report.passed:
            return f"Right: {report.earned:g} of {report.points:g} points."
        if not self.begun and report.error is None:
            return "Not begun yet: change the Dockerfile, and run this notebook again."
        failed = ", ".join(check.title for check in report.checks if not check.passed)
        raise NotSolved("The answer is not right yet.", why=report.error or failed)

    @short_traceback_on_interrupt()
    def compare(self, edit: str) -> AnswerComparison:
        """Compare the given project with the answer: size, files, and what an edit runs again."""
        found = engines.connect()
        try:
            with StatusLine() as line:
                stop = Cancel()
                rows = run_cancellable(lambda relay: self._rows(found, edit, relay.wrap(line), stop), stop)
        finally:
            found.api.close()
        file = self.exercise.edits[edit].file
        head = ["", "size of the image", "files in it", f"RUN steps that run again after a change of {file}"]
        return AnswerComparison(head, rows)

    def editor(self) -> ExerciseEditor:
        """Return the Dockerfile to edit, with buttons that save and check it."""
        self._editor = ExerciseEditor(self)
        return self._editor

    def _both(self) -> list[tuple[str, Path]]:
        given = [("as given", self.exercise.folder)]
        return [*given, ("yours", self.place)] if self.begun else given

    def _rows(self, found: Engine, edit: str, tell: Progress, cancel: Cancel) -> list[list[str]]:
        images.ensure(found, required_images(self.exercise), report=tell, cancel=cancel)
        rows: list[list[str]] = []
        for label, folder in self._both():
            with SubmissionProbe(
                self.exercise, folder, found, cancel, partial(_labelled, tell, label)
            ) as probe:
                rows.append([label, *_compared(probe, edit)])
        return rows


def _labelled(tell: Progress, label: str, part: str) -> None:
    tell(f"{label.capitalize()}: {part}")


def _compared(probe: SubmissionProbe, edit: str) -> list[str]:
    if probe.first.problem is not None:
        return ["does not build", "", ""]
    again = probe.edited(edit).ran
    seconds = sum(step.seconds or 0 for step in again)
    told = f"{len(again)}, taking {seconds:.1f} s" if again else "none"
    return [format_size(int(probe.image["Size"])), f"{len(probe.files):,}", told]


def _named(path: Path) -> Path:
    """Return a path as one would name it at the top of the checkout."""
    root = learner_folder()
    return path.relative_to(root) if path.is_relative_to(root) else path
