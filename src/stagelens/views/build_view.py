"""A build while it runs, and after it: stages and steps, their times and logs, and a way to stop it."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Generator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import traitlets as t

from stagelens import text
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds import BuildTrace, LogLine, Vertex, build
from stagelens.dockerfile import load
from stagelens.errors import StagelensError, short_traceback_on_interrupt
from stagelens.views import build_model
from stagelens.views.base import STATIC, Handler, View
from stagelens.views.templating import TEMPLATES

_SECONDS_BETWEEN = 0.1
_SECONDS_TO_STOP = 20.0
_LINES_AT_ONCE = 400
_BADGES = {"cached": "sl-cached", "done": "sl-added", "failed": "sl-removed", "running": "sl-changed"}


class BuildView(View):
    """Shows a build live: `trace = await BuildView().build("my-project")` in a notebook.

    A cell that awaits lets the front end's messages in, so that the Cancel button and the logs work meanwhile
    (since ipykernel 7; before it the notebook's stop button does what Cancel does). Elsewhere
    `BuildView().build("my-project").result()` waits. To show a build that other code starts, give
    `view.on_vertex` to `stagelens.build(on_vertex=...)`, then call `finish`.

    Traits
    ------
    phase: "waiting", "running", "cancelling", "cancelled", "failed" or "done" (read only).
    outline: stages, their instructions, the edges between them (read only).
    steps: a row for each vertex, times in seconds from the build's start (read only).
    totals: counts of steps by state, seconds of work, seconds so far, bytes of context sent (read only).
    problem: what went wrong, as a StagelensError tells it (read only).
    selected: the step whose log is shown, its `id`; empty for the one that runs or failed.
    search: what is looked for in that log.
    fallback: the class of the static fallback's element, which the widget hides (read only).
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

    def __init__(self, **traits: Any) -> None:
        """`traits` are those of the widget."""
        self.vertices: dict[str, Vertex] = {}
        self.trace: BuildTrace | None = None
        self._begun = self._over = 0.0
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._told: dict[str, int] = {}
        self._cancel = Cancel()
        self._ended: Future[BuildTrace] = Future()
        self._shown = self._settled = False
        super().__init__(fallback=f"sl-fallback-{uuid.uuid4().hex}", **traits)

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers for a step's log and for stopping the build."""
        return {"log": self._log, "cancel": self.cancel}

    def show(self) -> BuildView:
        """Display the view now, and its static fallback below it when the build ends.

        An update of the display instead would recreate the widget while somebody uses it.
        """
        from IPython.display import display  # slow to import, and nobody needs it outside a notebook

        bundle, metadata = super()._repr_mimebundle_()
        display(bundle | {"text/plain": "", "text/html": ""}, metadata=metadata, raw=True)
        self._shown = True
        return self

    def build(self, context: str | Path, **options: Any) -> BuildView:
        """Begin to build `context` as `stagelens.build` does, with its options, and return at once.

        Raises
        ------
        DockerfileError: the Dockerfile cannot be read.
        """
        path = Path(options.get("dockerfile") or Path(context) / "Dockerfile")
        given = {k: v for k, v in (options.get("build_args") or {}).items() if v is not None}
        dockerfile = load(
            path,
            given,
            platform=options.get("platform"),
            build_platform=options["engine"].info.platform if options.get("engine") else None,
            target=options.get("target"),
            build_contexts=options.get("build_contexts") or (),
        )
        outline = build_model.outline(dockerfile, options.get("target"))
        with self._lock:
            if self.phase in ("running", "cancelling"):
                what = "This view shows a build already."
                raise StagelensError(what, remedy="wait for its end, or cancel it")
            self._begin(outline)
        self._cancel = options.setdefault("cancel", self._cancel)
        options.setdefault("on_vertex", self.on_vertex)
        threading.Thread(target=self._run, args=(context, options, self._ended), daemon=True).start()
        return self

    @short_traceback_on_interrupt()
    def result(self) -> BuildTrace:
        """Wait for the build's end. Ctrl-C stops the build in the engine.

        Raises
        ------
        BuildFailed, BuildCancelled, StagelensError: as `stagelens.build` does.
        """
        try:
            return self._ended.result()
        except KeyboardInterrupt:
            self.cancel()
            wait([self._ended], _SECONDS_TO_STOP)
            raise
        finally:
            self._settle()

    def __await__(self) -> Generator[Any, Any, BuildTrace]:
        """Wait for `result` while other messages are handled; display the view first."""
        if not self._shown:
            self.show()
        return self._follow().__await__()

    async def _follow(self) -> BuildTrace:
        with short_traceback_on_interrupt():
            try:
                # A signal does not wake the event loop by itself: the kernel's interrupt waits for its turn.
                while not self._ended.done():
                    await asyncio.sleep(_SECONDS_BETWEEN)
                return self._ended.result()
            except (asyncio.CancelledError, KeyboardInterrupt):
                self.cancel()
                # Nothing may be left running when the cell ends; it takes a moment.
                wait([self._ended], _SECONDS_TO_STOP)
                raise
            finally:
                self._settle()

    def cancel(self) -> None:
        """Stop the build in the engine."""
        if self.phase == "running":
            self.phase = "cancelling"
            self._cancel()

    def on_vertex(self, vertex: Vertex, lines: tuple[LogLine, ...]) -> None:
        """Take a change in; the picture follows at most ten times a second."""
        with self._lock:
            if self.phase == "waiting":
                self._begin({})
            self.vertices[vertex.digest] = vertex
            if self._timer is None:
                self._timer = threading.Timer(_SECONDS_BETWEEN, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def finish(self, trace: BuildTrace) -> None:
        """Show the last state of a build that was taken in piece by piece."""
        self._end(trace)
        self._settle()

    def clear(self) -> None:
        """Show no build any more; one that runs is left alone."""
        with self._lock:
            if self.phase not in ("running", "cancelling"):
                self.vertices, self.trace = {}, None
                with self.hold_sync():
                    self.outline, self.problem, self.selected, self.phase = {}, {}, "", "waiting"
                self.flush()

    def flush(self) -> None:
        """Send what changed to the front end."""
        with self._lock:
            self._timer = None
            vertices = list(self.vertices.values())
            ended = self.phase in ("done", "failed", "cancelled")
            now = self._over if ended else time.time()
            with self.hold_sync():
                stopped = self.phase in ("cancelled", "failed")
                self.steps = build_model.steps(vertices, now, self._begun, stopped)
                sent = self.trace.context_bytes if self.trace else 0
                clock = {"seconds": round(now - self._begun, 2), "sent": sent}
                self.totals = build_model.totals(vertices, stopped) | clock
            for vertex in vertices:
                self._tell(vertex)

    def _begin(self, outline: dict[str, Any]) -> None:
        self.vertices, self.trace, self._told, self._settled = {}, None, {}, False
        self._begun = time.time()
        self._cancel, self._ended = Cancel(), Future()
        with self.hold_sync():
            self.outline, self.problem, self.selected, self.phase = outline, {}, "", "running"
        self.flush()

    def _run(self, context: str | Path, options: dict[str, Any], ended: Future[BuildTrace]) -> None:
        try:
            trace = build(context, **options)
            self._end(trace)
            ended.set_result(trace)
        except BaseException as error:
            self._fail(error)
            ended.set_exception(error)

    def _end(self, trace: BuildTrace) -> None:
        with self._lock:
            self.trace = trace
            self._begun, self._over = trace.started, trace.completed
            self.vertices = {vertex.digest: vertex for vertex in trace.vertices}
            self.outline = build_model.outline(trace.dockerfile, trace.target)
            self.phase = "done"
            self.flush()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._over = time.time()
            trace = getattr(error, "trace", None)
            if isinstance(trace, BuildTrace):
                self.vertices = {vertex.digest: vertex for vertex in trace.vertices}
            self.phase = "cancelled" if isinstance(error, BuildCancelled) else "failed"
            if self.phase == "failed":
                self.problem = _told(error)
            self.flush()

    def _settle(self) -> None:
        """Leave the last state for pages without a kernel; where the widget lives it hides its fallback."""
        if self._shown and not self._settled:
            from IPython.display import display

            self._settled = True
            display({"text/html": self._repr_html_(), "text/plain": str(self)}, raw=True)

    def _tell(self, vertex: Vertex) -> None:
        told = self._told.get(vertex.digest, 0)
        if len(vertex.logs) < told:
            told = 0  # it runs once more, and its log begins again
        if len(vertex.logs) > told:
            found = build_model.log(vertex.logs[: told + _LINES_AT_ONCE], told)
            self._told[vertex.digest] = len(vertex.logs)
            self.emit("log", found | {"id": vertex.digest[-16:], "total": len(vertex.logs)})

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
                "waiting": self.say("waiting"),
                "running": self.say("running"),
                "cached": self.say("cached"),
                "done": self.say("done"),
                "failed": self.say("failed"),
                "stopped": self.say("stopped"),
            },
            badges=_BADGES,
        )

    def _phase(self) -> str:
        return {
            "waiting": self.say("No build yet"),
            "running": self.say("Building"),
            "cancelling": self.say("Stopping"),
            "cancelled": self.say("Cancelled"),
            "failed": self.say("Failed"),
            "done": self.say("Built"),
        }[self.phase]

    def __str__(self) -> str:
        steps = [v for v in self.vertices.values() if v.instruction is not None]
        cached = sum(v.cached for v in steps)
        failed = sum(build_model.state(v) == "failed" for v in steps)
        count = self.count("{n} step", "{n} steps", len(steps))
        numbers = {"count": count, "cached": cached, "failed": failed}
        return self.say("{count}, {cached} from the cache, {failed} failed", **numbers)


def _told(error: BaseException) -> dict[str, str]:
    if not isinstance(error, StagelensError):
        return {"what": text.inline(f"{type(error).__name__}: {error}")}
    facts = {"what": error.what, "where": error.where, "why": error.why, "remedy": error.remedy}
    return {key: text.block(value) for key, value in facts.items() if value}
