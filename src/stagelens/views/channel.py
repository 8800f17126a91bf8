"""Requests and answers between a widget's front end and the kernel, whatever carries the messages.

A request is `{"type": "request", "id": 7, "name": "list", "arguments": {…}}`. Its answer has the same id and
a `value`, or an `error` with what, where, why and remedy as `StagelensError` has them. The kernel may also
send an event, `{"type": "event", "name": …, "value": …}`, unasked. All of it is JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from stagelens.errors import StagelensError

Handler = Callable[..., Any]
Message = dict[str, Any]


class Channel:
    """Gives each request to its handler; `answer` does not raise, so that nobody waits in vain."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        """`handlers` take a request's arguments by keyword and return a value that is JSON."""
        self._handlers = dict(handlers)

    def answer(self, message: object) -> Message | None:
        """The answer to a request, None for a message that is no request."""
        if not isinstance(message, dict):
            return None
        request = cast("dict[str, Any]", message)
        if request.get("type") != "request" or not isinstance(request.get("id"), int):
            return None
        head = {"type": "answer", "id": request["id"]}
        try:
            handler = self._handlers[request["name"]]
            return {**head, "value": handler(**request.get("arguments", {}))}
        except StagelensError as error:
            told = {"what": error.what, "where": error.where, "why": error.why, "remedy": error.remedy}
        except Exception as error:
            told = {"what": f"{type(error).__name__}: {error}"}
        return {**head, "error": {key: text for key, text in told.items() if text}}


def event(name: str, value: object) -> Message:
    """A message that answers nothing."""
    return {"type": "event", "name": name, "value": value}
