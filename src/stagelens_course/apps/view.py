"""A widget that shows the distributed application: states, addresses, logs, and a traced request."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import traitlets as t

from stagelens import text
from stagelens.errors import StagelensError
from stagelens.views.base import Handler, View
from stagelens_course.apps import App, RequestTrace, Service, logs, status, trace_request

# The calls between services as the chapter describes them; a trace shows the real ones.
_CALLS = (("image-gallery", "iotd"), ("image-gallery", "accesslog"))
_LINES = 200
_FOLDER = Path(__file__).parent


class AppView(View):
    """The containers of an `App`, and a request traced from container to container.

    Parameters
    ----------
    app
        The application, from `apps.up` or `apps.status`.
    trace
        A traced request to show.
    language
        The language, "en" or "ko"; by default the chosen one.

    Attributes
    ----------
    network
        The network's name (read only).
    services
        The name, image, state, health, URL and note of each container (read only).
    calls
        Pairs of services of which the first calls the second (read only).
    hops
        The calls of the traced request in the order of their starts, with times in seconds (read only).
    request_id
        The traced request's X-Request-Id (read only).
    selected
        The service whose log is shown.
    """

    _esm = _FOLDER / "static" / "app_view.js"
    _css = _FOLDER / "static" / "app_view.css"

    network = t.Unicode().tag(sync=True)
    services = t.List().tag(sync=True)
    calls = t.List().tag(sync=True)
    hops = t.List().tag(sync=True)
    request_id = t.Unicode().tag(sync=True)
    selected = t.Unicode().tag(sync=True)

    def __init__(self, app: App, trace: RequestTrace | None = None, *, language: str | None = None) -> None:
        self._app = app
        self._lock = threading.Lock()
        super().__init__(language=language, traits={"calls": [list(pair) for pair in _CALLS]})
        self._set_app(app)
        if trace is not None:
            self.show_trace(trace)

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers for the state, a service's log, and tracing a request."""
        return {"refresh": self.refresh, "log": self._log, "trace": self.trace}

    def refresh(self) -> None:
        """Update the states of the services."""
        with self._lock:
            self._update()

    def trace(self, path: str = "/") -> None:
        """Request a page, and show the calls that it caused and the states of the services.

        Parameters
        ----------
        path
            The path of the page.

        Raises
        ------
        NotRunning
            If the web page's service does not run or does not answer.
        """
        with self._lock:
            # Otherwise a service that has ended would look healthy beside a failed call.
            self._update()
            self.show_trace(trace_request(self._app, path))

    def show_trace(self, trace: RequestTrace) -> None:
        """Show a traced request.

        Parameters
        ----------
        trace
            The traced request.
        """
        started = min((hop.started for hop in trace.hops), default=0.0)
        with self.hold_sync():
            self.hops = [
                {
                    "service": text.inline(hop.service, 60),
                    "method": text.inline(hop.method, 10),
                    "url": text.inline(hop.url, 200),
                    "status": hop.status,
                    "start": round(hop.started - started, 4),
                    "seconds": round(hop.seconds, 4),
                    "inside": None if hop.inside is None else round(hop.inside, 4),
                    "error": text.inline(hop.error, 200),
                }
                for hop in trace.hops
            ]
            self.request_id = text.inline(trace.request_id, 60)

    def _update(self) -> None:
        self._set_app(status(self._app.engine, self._app.namespace))

    def _set_app(self, app: App) -> None:
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
        return self._render(
            _FOLDER / "templates" / "app_view.html", summary=self._summary(), state=self._state
        )

    def _state(self, row: dict[str, Any]) -> str:
        states = {
            "created": self.translate("created"),
            "dead": self.translate("dead"),
            "exited": self.translate("exited"),
            "missing": self.translate("missing"),
            "paused": self.translate("paused"),
            "restarting": self.translate("restarting"),
            "running": self.translate("running"),
        }
        healths = {"healthy": self.translate("healthy"), "unhealthy": self.translate("unhealthy")}
        parts = [states.get(row["state"], row["state"]), healths.get(row["health"], "")]
        return ", ".join(filter(None, parts))

    def _summary(self) -> str:
        up = sum(row["state"] == "running" for row in self.services)
        return self.translate("{n} of {all} running", n=up, all=len(self.services))

    def __str__(self) -> str:
        rows = [f"{row['name']}: {self._state(row)} {row['url'] or ''}".rstrip() for row in self.services]
        return "\n".join([f"{self.network}: {self._summary()}", *rows])


def _row(service: Service) -> dict[str, Any]:
    # Only a web address becomes a link.
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
