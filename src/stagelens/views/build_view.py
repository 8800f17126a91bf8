"""A widget that shows a running or finished build: stages, steps, times and logs, with a Cancel button."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Generator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, Unpack

import traitlets as t

from stagelens import text
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds import BuildOptions, BuildTrace, LogLine, Vertex, build, with_build_options
from stagelens.dockerfile import find_dockerfile, load
from stagelens.errors import StagelensError, short_traceback_on_interrupt
from stagelens.views import build_model
from stagelens.views.base import STATIC, Handler, View
from stagelens.views.templating import TEMPLATES

_UPDATE_SECONDS = 0.1
_CANCEL_SECONDS = 20.0
_MAX_LINES_PER_EVENT = 400
_BADGES = {"cached": "sl-cached", "done": "sl-added", "failed": "sl-removed", "running": "sl-changed"}


class BuildView(View):
    """A live view of a build: `trace = await BuildView().build("my-project")` in a notebook.

    The kernel handles messages of the front end while a cell awaits, so that the Cancel button and the logs
    work during the build (since ipykernel 7; with ipykernel 6 the notebook's stop button cancels). In other
    code `BuildView().build("my-project").result()` waits. To show a build that other code starts, pass
    `view.on_vertex` to `stagelens.build(on_vertex=...)`, then call `finish`.

    Parameters
    ----------
    language
        The language, "en" or "ko"; by default the chosen one.

    Attributes
    ----------
    phase
        "waiting", "running", "cancelling", "cancelled", "failed" or "done" (read only).
    outline
        The stages, their instructions, and the edges between stages (read only).
    steps
        The state of each vertex, with times in seconds since the build's start (read only).
    totals
        Counts of steps by state, seconds of work, seconds since the start, bytes of context sent (read only).
    problem
        The error's what, where, why and remedy (read only).
    selected
        The `id` of the step whose log is shown; empty for the running or failed one.
    search
        The text to search for in the log.
    fallback
        The class of the static fallback's element, which the widget hides (read only).
    vertices
        The build's vertices by digest.
    trace
        The finished build; None before its end.
    """

    _esm = STATIC / "build_view.js"
    _css = STATIC / "build_view.css"

    phase = t.Unicode("waiting").tag(sync=True)
    outline = t.Dict().tag(sync=True)
    steps = t.List().tag(sync=True)
    totals = t.Dict().tag(sync=True)
    problem = t.Dict().tag(sync=True)
    selected = t.Unicode().tag(sync=True)
    search = t.Unicode().tag(sync=True)
    fallback = t.Unicode().tag(sync=True)

    def __init__(self, *, language: str | None = None) -> None:
        self.vertices: dict[str, Vertex] = {}
        self.trace: BuildTrace | None = None
        self._started = self._completed = 0.0
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._sent_lines: dict[str, int] = {}
        self._cancel = Cancel()
        self._future: Future[BuildTrace] = Future()
        self._shown = self._fallback_shown = False
        super().__init__(language=language, traits={"fallback": f"sl-fallback-{uuid.uuid4().hex}"})

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers for a step's log and for cancelling the build."""
        return {"log": self._log, "cancel": self.cancel}

    def show(self) -> BuildView:
        """Display the view now, and its static fallback below it when the build ends.

        Returns
        -------
        BuildView
            This view.
        """
        # The fallback is a second display: updating the first one would recreate the widget during its use.
        from IPython.display import display  # slow to import, and used in notebooks only

        bundle, metadata = super()._repr_mimebundle_()
        display(bundle | {"text/plain": "", "text/html": ""}, metadata=metadata, raw=True)
        self._shown = True
        return self

    @with_build_options
    def build(self, context: str | Path, **options: Unpack[BuildOptions]) -> BuildView:
        """Start a build in a thread, and show it.

        Parameters
        ----------
        context
            The folder of the build context.
        **options
            The keyword arguments of `stagelens.build`.

        Returns
        -------
        BuildView
            This view; await it or call `result` to wait for the end.

        Raises
        ------
        DockerfileError
            If the Dockerfile is not valid.
        StagelensError
            If this view shows a running build.
        """
        path = find_dockerfile(context, options.get("dockerfile"))
        given = {k: v for k, v in (options.get("build_args") or {}).items() if v is not None}
        engine = options.get("engine")
        dockerfile = load(
            path,
            given,
            platform=options.get("platform"),
            build_platform=engine.info.platform if engine else None,
            target=options.get("target"),
            build_contexts=options.get("build_contexts") or (),
        )
        outline = build_model.outline(dockerfile, options.get("target"))
        with self._lock:
            if self.phase in ("running", "cancelling"):
                what = "This view already shows a running build."
                raise StagelensError(what, remedy="wait for its end, or cancel it")
            self._begin(outline)
        options["cancel"] = self._cancel = options.get("cancel") or self._cancel
        options["on_vertex"] = options.get("on_vertex") or self.on_vertex
        threading.Thread(target=self._run, args=(context, options, self._future), daemon=True).start()
        return self

    @short_traceback_on_interrupt()
    def result(self) -> BuildTrace:
        """Wait for the build's end; Ctrl-C cancels the build.

        Returns
        -------
        BuildTrace
            The finished build.

        Raises
        ------
        BuildFailed
            If a step fails.
        BuildCancelled
            If the build was cancelled.
        StagelensError
            If `stagelens.build` raises another error.
        """
        try:
            return self._future.result()
        except KeyboardInterrupt:
            self.cancel()
            wait([self._future], _CANCEL_SECONDS)
            raise
        finally:
            self._show_fallback()

    def __await__(self) -> Generator[Any, Any, BuildTrace]:
        """Display the view, and wait for `result` while the kernel handles other messages."""
        if not self._shown:
            self.show()
        return self._follow().__await__()

    async def _follow(self) -> BuildTrace:
        with short_traceback_on_interrupt():
            try:
                # A signal does not wake the event loop, so poll: otherwise the kernel's interrupt waits.
                while not self._future.done():
                    await asyncio.sleep(_UPDATE_SECONDS)
                return self._future.result()
            except (asyncio.CancelledError, KeyboardInterrupt):
                self.cancel()
                # The cell must not end before the engine has stopped the build.
                wait([self._future], _CANCEL_SECONDS)
                raise
            finally:
                self._show_fallback()

    def cancel(self) -> None:
        """Cancel the build."""
        if self.phase == "running":
            self.phase = "cancelling"
            self._cancel()

    def on_vertex(self, vertex: Vertex, lines: tuple[LogLine, ...]) -> None:
        """Show a change of a build that other code runs; the view updates at most ten times a second.

        Parameters
        ----------
        vertex
            The vertex that changed.
        lines
            Its new log lines.
        """
        with self._lock:
            if self.phase == "waiting":
                self._begin({})
            self.vertices[vertex.digest] = vertex
            if self._timer is None:
                self._timer = threading.Timer(_UPDATE_SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def finish(self, trace: BuildTrace) -> None:
        """Show the end of a build that other code ran.

        Parameters
        ----------
        trace
            The finished build.
        """
        self._end(trace)
        self._show_fallback()

    def clear(self) -> None:
        """Show no build; a running build stays."""
        with self._lock:
            if self.phase not in ("running", "cancelling"):
                self.vertices, self.trace = {}, None
                with self.hold_sync():
                    self.outline, self.problem, self.selected, self.phase = {}, {}, "", "waiting"
                self.flush()

    def flush(self) -> None:
        """Send the changes to the front end."""
        with self._lock:
            self._timer = None
            vertices = list(self.vertices.values())
            ended = self.phase in ("done", "failed", "cancelled")
            now = self._completed if ended else time.time()
            with self.hold_sync():
                stopped = self.phase in ("cancelled", "failed")
                self.steps = build_model.steps(vertices, now, self._started, stopped)
                sent = self.trace.context_bytes if self.trace else 0
                clock = {"seconds": round(now - self._started, 2), "sent": sent}
                self.totals = build_model.totals(vertices, stopped) | clock
            for vertex in vertices:
                self._send_log(vertex)

    def _begin(self, outline: dict[str, Any]) -> None:
        self.vertices, self.trace, self._sent_lines, self._fallback_shown = {}, None, {}, False
        self._started = time.time()
        self._cancel, self._future = Cancel(), Future()
        with self.hold_sync():
            self.outline, self.problem, self.selected, self.phase = outline, {}, "", "running"
        self.flush()

    def _run(self, context: str | Path, options: BuildOptions, future: Future[BuildTrace]) -> None:
        try:
            trace = build(context, **options)
            self._end(trace)
            future.set_result(trace)
        except BaseException as error:
            self._fail(error)
            future.set_exception(error)

    def _end(self, trace: BuildTrace) -> None:
        with self._lock:
            self.trace = trace
            self._started, self._completed = trace.started, trace.completed
            self.vertices = {vertex.digest: vertex for vertex in trace.vertices}
            self.outline = build_model.outline(trace.dockerfile, trace.target)
            self.phase = "done"
            self.flush()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._completed = time.time()
            trace = getattr(error, "trace", None)
            if isinstance(trace, BuildTrace):
                self.vertices = {vertex.digest: vertex for vertex in trace.vertices}
            self.phase = "cancelled" if isinstance(error, BuildCancelled) else "failed"
            if self.phase == "failed":
                self.problem = _error_facts(error)
            self.flush()

    def _show_fallback(self) -> None:
        """Display the static fallback for pages without a kernel; a live widget hides it."""
        if self._shown and not self._fallback_shown:
            from IPython.display import display

            self._fallback_shown = True
            display({"text/html": self._repr_html_(), "text/plain": str(self)}, raw=True)

    def _send_log(self, vertex: Vertex) -> None:
        sent = self._sent_lines.get(vertex.digest, 0)
        if len(vertex.logs) < sent:
            sent = 0  # the step runs again with a new log
        if len(vertex.logs) > sent:
            log = build_model.log(vertex.logs[: sent + _MAX_LINES_PER_EVENT], sent)
            self._sent_lines[vertex.digest] = len(vertex.logs)
            self.emit("log", log | {"id": vertex.digest[-16:], "total": len(vertex.logs)})

    def _log(self, step: str, start: int) -> dict[str, Any]:
        for vertex in self.vertices.values():
            if vertex.digest[-16:] == step:
                return build_model.log(vertex.logs, max(0, start))
        raise StagelensError("There is no such step.", where=ascii(step))

    def _repr_html_(self) -> str:
        return self._render(
            TEMPLATES / "build_view.html",
            name=self.fallback,
            title=f"{self._phase()} · {self.totals.get('seconds', 0):.1f} s",
            rows={(r["stage"], r["instruction"]): r for r in self.steps if r["instruction"] is not None},
            logs={vertex.digest[-16:]: vertex.logs for vertex in self.vertices.values()},
            failed={vertex.digest[-16:] for vertex in self.vertices.values() if vertex.error},
            seconds=max(self.totals.get("seconds", 0.0), 0.001),
            states={
                "waiting": self.translate("waiting"),
                "running": self.translate("running"),
                "cached": self.translate("cached"),
                "done": self.translate("done"),
                "failed": self.translate("failed"),
                "stopped": self.translate("stopped"),
            },
            badges=_BADGES,
        )

    def _phase(self) -> str:
        return {
            "waiting": self.translate("No build yet"),
            "running": self.translate("Building"),
            "cancelling": self.translate("Stopping"),
            "cancelled": self.translate("Cancelled"),
            "failed": self.translate("Failed"),
            "done": self.translate("Built"),
        }[self.phase]

    def __str__(self) -> str:
        steps = [v for v in self.vertices.values() if v.instruction is not None]
        cached = sum(v.cached for v in steps)
        failed = sum(build_model.state(v) == "failed" for v in steps)
        count = self.translate_count("{n} step", "{n} steps", len(steps))
        numbers = {"count": count, "cached": cached, "failed": failed}
        return self.translate("{count}, {cached} from the cache, {failed} failed", **numbers)


def _error_facts(error: BaseException) -> dict[str, str]:
    if not isinstance(error, StagelensError):
        return {"what": text.inline(f"{type(error).__name__}: {error}")}
    facts = {"what": error.what, "where": error.where, "why": error.why, "remedy": error.remedy}
    return {key: text.block(value) for key, value in facts.items() if value}
