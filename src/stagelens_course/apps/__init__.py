"""The distributed application: started, looked at, followed and taken away again.

>>> from stagelens_course import apps
>>> app = apps.up()                        # doctest: +SKIP
>>> print(app.url)                        # doctest: +SKIP
>>> apps.trace_request(app).hops           # doctest: +SKIP
>>> apps.down()                            # doctest: +SKIP
"""

from stagelens_course.apps.down import down
from stagelens_course.apps.errors import (
    AlreadyStarting,
    ImageMissing,
    NameTaken,
    NetworkFailed,
    NoFreePort,
    NotRunning,
    RunError,
    ServiceFailed,
)
from stagelens_course.apps.fetch import fetch
from stagelens_course.apps.logs import logs
from stagelens_course.apps.model import (
    APPLICATIONS,
    App,
    Definition,
    Health,
    Hop,
    LogEntry,
    Removed,
    RequestTrace,
    Response,
    Service,
)
from stagelens_course.apps.status import status
from stagelens_course.apps.trace import trace_request
from stagelens_course.apps.up import up

__all__ = [
    "APPLICATIONS",
    "AlreadyStarting",
    "App",
    "Definition",
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
    "RunError",
    "Service",
    "ServiceFailed",
    "down",
    "fetch",
    "logs",
    "status",
    "trace_request",
    "up",
]
