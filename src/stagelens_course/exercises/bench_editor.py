"""The exercise's editor: a check runs beside the kernel's other work, is followed, and can be cancelled."""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING

import ipywidgets as widgets

from stagelens import text
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.concurrency import defer_signals
from stagelens.errors import StagelensError
from stagelens.views.base import Handler
from stagelens.views.editor_base import EditorBase
from stagelens_course.exercises.display import CheckProgress
from stagelens_course.grading.cards import error_card, report_card
from stagelens_course.grading.model import GradeReport

if TYPE_CHECKING:
    from stagelens_course.exercises.workbench import Workbench

_GOODBYE_SECONDS = 4  # Jupyter kills a kernel 5 s after it was asked to end
_IDLE, _CHECKING = ["cancel"], ["check", "reset"]


class ExerciseEditor(EditorBase):
    """The Dockerfile to edit, with Save, Check, Cancel, Hint and Start over.

    `report` is what the last check found, None before; `shown`, below the text, tells it.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self.report: GradeReport | None = None
        self._cancel = Cancel()
        self._thread: threading.Thread | None = None
        # Buttons are heard while a cell runs, in a thread of the kernel's.
        self._changing = threading.Lock()
        self._parts = CheckProgress(bench.exercise)
        self.shown = widgets.HTML()
        super().__init__(
            self.shown,
            path=self._where(),
            source=bench.text,
            actions=["save", "check", "cancel", "hint", "reset"],
            disabled=_IDLE,
            exists=bench.started,
        )

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers of the buttons; the first two bring the text as it is in the browser."""
        return {
            "save": self.save,
            "check": self.check,
            "cancel": self.cancel,
            "hint": self.hint,
            "reset": self.reset,
        }

    def save(self, source: str | None = None) -> None:
        """Write the text to the learner's copy, which the first time is made.

        Raises
        ------
        NotSaved: the text stays as it is, unsaved.
        """
        note = self._save(source)
        self.message = note or f"Saved: {self.path}"

    def check(self, source: str | None = None) -> None:
        """Save, and begin to check in a thread; `wait` waits for the end. One check at a time.

        Raises
        ------
        NotSaved: nothing is checked then.
        """
        with self._changing:
            if self._thread is not None:
                return
            note = self._save(source)
            self._cancel = Cancel()
            self._running(True)
            self._thread = threading.Thread(
                target=self._check_it, args=(note,), daemon=True, name="stagelens-check"
            )
            atexit.register(self._goodbye)
            self._thread.start()

    def cancel(self) -> None:
        """Stop the check; what it made is removed before it ends."""
        if self._thread is not None:
            self.progress = ["Stopping", self._parts.done, self._parts.all]
            self._cancel()

    def hint(self) -> None:
        """Help with one thing that failed, another one each time."""
        self.message = (
            self._bench.hint(self.report) if self.report else "Check first: hints are about what fails."
        )

    def reset(self) -> None:
        """Begin again with the project as it was given; what was there is kept beside it."""
        if self._thread is not None:
            return
        kept = self._bench.reset()
        self._read_again()
        self.report, self.shown.value = None, ""
        self.message = "This is the project as it was given."
        if kept is not None:
            self.message += f" What you had is in {text.file_name(str(kept))}"

    def wait(self, seconds: float | None = None) -> GradeReport | None:
        """Wait until nothing is being checked, at most so long; the last report."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return self.report

    def _check_it(self, note: str) -> None:
        said = "The check could not be made: see below."
        try:
            self.report = self._bench.grade(cancel=self._cancel, report=self._say)
            self.shown.value = report_card(self.report)
            if self.report.error is None:
                said = f"{self.report.earned:g} of {self.report.points:g} points"
        except BuildCancelled:
            said = "Cancelled. Nothing was graded."
        except StagelensError as error:
            self.shown.value = error_card(error.render())
        except Exception as error:
            # Nobody else would hear of it: this thread's errors go to the kernel's log.
            self.shown.value = error_card(f"{type(error).__name__}: {error}")
        finally:
            atexit.unregister(self._goodbye)
            with self._changing:
                self.message = f"{note} {said}".strip()
                self._running(False)
                self._thread = None

    def _say(self, part: str) -> None:
        if not self._cancel.requested:
            self.progress = [text.inline(self._parts.of(part), 200), self._parts.done, self._parts.all]

    def _running(self, running: bool) -> None:
        self.disabled = _CHECKING if running else _IDLE
        self._parts = CheckProgress(self._bench.exercise)
        self.progress = ["Beginning", 0, self._parts.all] if running else []

    def _goodbye(self) -> None:
        # Jupyter sends SIGTERM half-way, of which a kernel would die at once.
        with defer_signals():
            self._cancel()
            self.wait(_GOODBYE_SECONDS)

    def _save(self, source: str | None) -> str:
        """Save; what there is to tell of a file that another editor has changed meanwhile, else nothing."""
        wanted, there = self.source if source is None else source, self._bench.text
        if wanted == self.saved_text != there:
            self._read_again()
            return "Another editor has changed the file: this is what it says now."
        self._bench.save(wanted)
        note = (
            "" if there in (self.saved_text, wanted) else "What another editor wrote is in Dockerfile.before."
        )
        self.saved_text = wanted
        self._look()
        return note

    def _read_again(self) -> None:
        self.source = self._bench.text
        self.saved_text = self.source
        self._look()

    def _look(self) -> None:
        self.path = self._where()
        self.exists = self._bench.started

    def _where(self) -> str:
        return text.file_name(str(self._bench.shown / "Dockerfile"))
