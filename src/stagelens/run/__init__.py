"""The distributed application: started, looked at, followed and taken away again.

>>> from stagelens import run
>>> app = run.up()                        # doctest: +SKIP
>>> print(app.url)                        # doctest: +SKIP
>>> run.trace_request(app).hops           # doctest: +SKIP
>>> run.down()                            # doctest: +SKIP
"""

from stagelens.run.down import down
from stagelens.run.errors import (
    AlreadyStarting,
    ImageMissing,
    NameTaken,
    NetworkFailed,
    NoFreePort,
    NotRunning,
    RunError,
    ServiceFailed,
)
from stagelens.run.fetch import fetch
from stagelens.run.logs import logs
from stagelens.run.model import (
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
from stagelens.run.status import status
from stagelens.run.trace import trace_request
from stagelens.run.up import up

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
