"""The distributed application on its network: states, addresses, logs, and a request on its way."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import traitlets as t

from stagelens import text
from stagelens.errors import StagelensError
from stagelens.views.base import STATIC, Handler, View
from stagelens_course.apps import App, RequestTrace, Service, logs, status, trace_request

# Who calls whom: the page calls the other two. (As the chapter has it; a trace shows the calls themselves.)
_CALLS = (("image-gallery", "iotd"), ("image-gallery", "accesslog"))
_LINES = 200
_TEMPLATE = Path(__file__).parent / "templates" / "app_view.html"


class AppView(View):
    """The containers of an `App`; "Trace a request" calls the page and shows its way.

    Traits
    ------
    network: the network's name (read only).
    services: name, image, state, health, url, note of each container (read only).
    calls: pairs of services, who calls whom (read only).
    hops: the traced request's calls in the order in which they began, times in seconds (read only).
    request_id: the traced request's X-Request-Id (read only).
    selected: the service whose log is shown.
    """

    _esm = STATIC / "app_view.js"
    _css = STATIC / "app_view.css"

    network = t.Unicode().tag(sync=True)
    services = t.List().tag(sync=True)
    calls = t.List().tag(sync=True)
    hops = t.List().tag(sync=True)
    request_id = t.Unicode().tag(sync=True)
    selected = t.Unicode().tag(sync=True)

    def __init__(self, app: App, trace: RequestTrace | None = None, **traits: Any) -> None:
        """`app` is what `run.up` or `run.status` gave; `trace` a request that was traced before."""
        self._app = app
        self._lock = threading.Lock()
        super().__init__(calls=[list(pair) for pair in _CALLS], **traits)
        self._take_app(app)
        if trace is not None:
            self.show_trace(trace)

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers for the state, a service's log and a traced request."""
        return {"refresh": self.refresh, "log": self._log, "trace": self.trace}

    def refresh(self) -> None:
        """Ask the engine and the applications how they are."""
        with self._lock:
            self._look()

    def trace(self, path: str = "/") -> None:
        """Call the page once and show the request's way, and how the services are by now.

        Raises
        ------
        NotRunning: the page does not run, or gave no answer.
        """
        with self._lock:
            # A service that ended meanwhile would be called healthy beside the call that it did not answer.
            self._look()
            self.show_trace(trace_request(self._app, path))

    def show_trace(self, trace: RequestTrace) -> None:
        """Show a traced request."""
        begun = min((hop.started for hop in trace.hops), default=0.0)
        with self.hold_sync():
            self.hops = [
                {
                    "service": text.inline(hop.service, 60),
                    "method": text.inline(hop.method, 10),
                    "url": text.inline(hop.url, 200),
                    "status": hop.status,
                    "start": round(hop.started - begun, 4),
                    "seconds": round(hop.seconds, 4),
                    "inside": None if hop.inside is None else round(hop.inside, 4),
                    "error": text.inline(hop.error, 200),
                }
                for hop in trace.hops
            ]
            self.request_id = text.inline(trace.request_id, 60)

    def _look(self) -> None:
        self._take_app(status(self._app.engine, self._app.namespace))

    def _take_app(self, app: App) -> None:
        self._app = app
        with self.hold_sync():
            self.network = text.inline(app.network, 80)
            self.services = [_row(service) for service in app.services]

    def _log(self, service: str) -> list[list[Any]]:
        if service not in {each.name for each in self._app.services}:
            raise StagelensError("There is no such service.", where=ascii(service))
        found = logs(service, engine=self._app.engine, namespace=self._app.namespace, tail=_LINES)
        return [[entry.stream, text.inline(entry.text, 1000)] for entry in found]

    def _repr_html_(self) -> str:
        return self._render(_TEMPLATE, summary=self._told(), state=self._state)

    def _state(self, row: dict[str, Any]) -> str:
        states = {
            "created": self.say("created"),
            "dead": self.say("dead"),
            "exited": self.say("exited"),
            "missing": self.say("missing"),
            "paused": self.say("paused"),
            "restarting": self.say("restarting"),
            "running": self.say("running"),
        }
        healths = {"healthy": self.say("healthy"), "unhealthy": self.say("unhealthy")}
        parts = [states.get(row["state"], row["state"]), healths.get(row["health"], "")]
        return ", ".join(filter(None, parts))

    def _told(self) -> str:
        up = sum(row["state"] == "running" for row in self.services)
        return self.say("{n} of {all} running", n=up, all=len(self.services))

    def __str__(self) -> str:
        rows = [f"{row['name']}: {self._state(row)} {row['url'] or ''}".rstrip() for row in self.services]
        return "\n".join([f"{self.network}: {self._told()}", *rows])


def _row(service: Service) -> dict[str, Any]:
    # What is no web address is shown as text and never made a link.
    url = service.url if service.url and service.url.startswith(("http://", "https://")) else None
    return {
        "name": text.inline(service.name, 60),
        "image": text.inline(service.image, 80),
        "container": text.inline(service.container, 80),
        "state": text.inline(service.state, 30),
        "health": service.health,
        "url": url,
        "note": text.inline(service.note, 300),
    }
