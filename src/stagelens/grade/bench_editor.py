"""The exercise's editor: a check runs beside the kernel's other work, is followed, and can be cancelled."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.errors import StagelensError
from stagelens.grade.model import Report
from stagelens.grade.results.markup import check_table

if TYPE_CHECKING:
    from stagelens.grade.workbench import Workbench

_GOODBYE_SECONDS = 4  # Jupyter kills a kernel 5 s after it was asked to end


class BenchEditor(widgets.VBox):
    """The Dockerfile to edit, with Save, Check, Cancel and Hint; what they say is shown below.

    `report` is what the last check found, None before.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self.report: Report | None = None
        self._cancel = Cancel()
        self._thread: threading.Thread | None = None
        self.area = widgets.Textarea(bench.text, layout=widgets.Layout(width="100%", height="22em"))
        self.area.add_class("stagelens-editor")
        self.save_button = self._button("Save", self._save)
        self.check_button = self._button("Check", self.check)
        self.cancel_button = self._button("Cancel", self.cancel)
        self.cancel_button.disabled = True
        self.hint_button = self._button("Hint", self._hint)
        self._bar = widgets.IntProgress(max=len(bench.exercise.checks), layout=widgets.Layout(display="none"))
        self.doing = widgets.Label()
        self.shown = widgets.HTML()
        buttons = [self.save_button, self.check_button, self.cancel_button, self.hint_button]
        super().__init__(
            [self.area, widgets.HBox(buttons), widgets.HBox([self._bar, self.doing]), self.shown]
        )

    def check(self) -> None:
        """Save, and begin to check in a thread; `wait` waits for the end. One check at a time.

        Raises
        ------
        NotSaved: nothing is checked then.
        """
        if self._thread is not None:
            return
        self._save()
        self._cancel = Cancel()
        self._running(True)
        self._thread = threading.Thread(target=self._check, daemon=True, name="stagelens-check")
        atexit.register(self._goodbye)
        self._thread.start()

    def cancel(self) -> None:
        """Stop the check; what it made is removed before it ends."""
        self.doing.value = "Stopping"
        self._cancel()

    def wait(self, seconds: float | None = None) -> Report | None:
        """Wait until nothing is being checked, at most so long; the last report."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return self.report

    def _check(self) -> None:
        try:
            with self._shown_errors():
                self.shown.value = self._result(self._bench.check(cancel=self._cancel, report=self._say))
        finally:
            atexit.unregister(self._goodbye)
            self._running(False)
            self._thread = None

    @contextmanager
    def _shown_errors(self) -> Generator[None]:
        """Show what goes wrong: errors of a thread, or of a button, go to the kernel's log alone."""
        try:
            yield
        except BuildCancelled:
            self.shown.value = "Cancelled. Nothing was graded."
        except StagelensError as error:
            self.shown.value = _error(error.render())
        except Exception as error:
            self.shown.value = _error(f"{type(error).__name__}: {error}")

    def _result(self, report: Report) -> str:
        self.report = report
        if report.error is not None:
            return _error(report.error)
        points = f"<p><strong>{report.earned:g} of {report.points:g} points</strong></p>"
        return points + check_table(report)

    def _say(self, text: str) -> None:
        if self._cancel.requested:
            return
        titles = [check.title for check in self._bench.exercise.checks]
        if text in titles:
            self._bar.value = titles.index(text)
        self.doing.value = text

    def _running(self, running: bool) -> None:
        self.check_button.disabled = running
        self.cancel_button.disabled = not running
        self._bar.value = 0
        self._bar.layout.display = None if running else "none"
        self.doing.value = "Beginning" if running else ""

    def _goodbye(self) -> None:
        self._cancel()
        self.wait(_GOODBYE_SECONDS)

    def _save(self) -> None:
        self.shown.value = f"Saved: {escape(str(self._bench.save(self.area.value)))}"

    def _hint(self) -> None:
        told = self._bench.hint(self.report) if self.report else "Check first: hints are about what fails."
        self.shown.value = escape(told)

    def _button(self, label: str, action: Callable[[], Any]) -> widgets.Button:
        button = widgets.Button(description=label)

        def clicked(_: object) -> None:
            with self._shown_errors():
                action()

        button.on_click(clicked)
        return button


def _error(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"
