"""Start, inspect and remove the distributed application of the course.

>>> from stagelens_course import apps
>>> app = apps.up()                        # doctest: +SKIP
>>> print(app.url)                        # doctest: +SKIP
>>> apps.trace_request(app).hops           # doctest: +SKIP
>>> apps.down()                            # doctest: +SKIP
"""

from stagelens_course.apps.container_logs import logs
from stagelens_course.apps.container_status import find_running, status
from stagelens_course.apps.http_requests import fetch, trace_request
from stagelens_course.apps.lifecycle import down, down_all, up
from stagelens_course.apps.model import (
    APPLICATIONS,
    AlreadyStarting,
    App,
    ApplicationSpec,
    AppsError,
    Health,
    Hop,
    ImageMissing,
    LogEntry,
    NameTaken,
    NetworkFailed,
    NoFreePort,
    NotRunning,
    Removed,
    RequestTrace,
    Response,
    RunningApp,
    Service,
    ServiceFailed,
)

__all__ = [
    "APPLICATIONS",
    "AlreadyStarting",
    "App",
    "ApplicationSpec",
    "AppsError",
    "Health",
    "Hop",
    "ImageMissing",
    "LogEntry",
    "NameTaken",
    "NetworkFailed",
    "NoFreePort",
    "NotRunning",
    "Removed",
    "RequestTrace",
    "Response",
    "RunningApp",
    "Service",
    "ServiceFailed",
    "down",
    "down_all",
    "fetch",
    "find_running",
    "logs",
    "status",
    "trace_request",
    "up",
]
