"""The base class of the widgets: translations, requests, and static fallbacks.

A request of the front end is `{"type": "request", "id": 7, "name": "list", "arguments": {…}}`. Its answer has
the same id and a `value`, or an `error` with what, where, why and remedy as `StagelensError` has them. The
kernel may also send an event, `{"type": "event", "name": …, "value": …}`. All messages are JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anywidget
import traitlets as t

from stagelens.errors import StagelensError
from stagelens.views import i18n, templating

STATIC = Path(__file__).parent / "static"

Handler = Callable[..., Any]


class View(anywidget.AnyWidget):
    """A widget whose `_repr_html_` says without scripts, and `str()` in plain text, what it shows.

    Traits
    ------
    language: "en" or "ko"; the picture follows at once.
    strings: the words of that language for the front end (read only).
    """

    language = t.Unicode().tag(sync=True)
    strings = t.Dict().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        """`traits` are those of the widget; `language` is the chosen one unless given."""
        code = i18n.known(traits.pop("language", None) or i18n.language())
        super().__init__(language=code, strings=i18n.strings(code), **traits)
        self.on_msg(self._on_message)

    def handlers(self) -> dict[str, Handler]:
        """Return the functions that answer requests, by name; their results are JSON."""
        return {}

    def request(self, name: str, /, **arguments: Any) -> Any:
        """Answer a request as if the front end had sent it.

        Parameters
        ----------
        name
            The name of the request, one of `handlers`.
        arguments
            The arguments of the request.

        Raises
        ------
        KeyError
            If the widget has no such request.
        StagelensError
            If the request is refused.
        """
        return self.handlers()[name](**arguments)

    def emit(self, name: str, value: object) -> None:
        """Send an event to the front end."""
        self.send({"type": "event", "name": name, "value": value})

    def say(self, message: str, **values: object) -> str:
        """Return a text in this widget's language."""
        return i18n.gettext(message, self.language, **values)

    def count(self, one: str, many: str, number: int, **values: object) -> str:
        """Return a text with a number in it, in this widget's language."""
        return i18n.ngettext(one, many, number, self.language, **values)

    @t.validate("language")
    def _language_is_known(self, proposal: dict[str, Any]) -> str:
        return i18n.known(proposal["value"])

    @t.observe("language")
    def _speak(self, change: dict[str, Any]) -> None:
        self.strings = i18n.strings(change["new"])

    def _on_message(self, _: object, content: object, __: object) -> None:
        answer = answer_message(self.request, content)
        if answer is not None:
            self.send(answer)

    def _repr_html_(self) -> str:
        raise NotImplementedError

    def _render(self, template: Path, **values: object) -> str:
        return templating.render(template, language=self.language, view=self, **values)

    def __str__(self) -> str:
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: Any) -> Any:
        found = cast("tuple[dict[str, Any], dict[str, Any]]", super()._repr_mimebundle_(**options))
        still = {"text/plain": str(self), "text/html": self._repr_html_()}
        return found[0] | still, found[1]


def answer_message(handle: Handler, message: object) -> dict[str, Any] | None:
    """Answer a message of the front end, with an error if the request fails in any way.

    Parameters
    ----------
    handle
        A function like `View.request`.
    message
        The message. It may be malformed.

    Returns
    -------
    dict or None
        The answer to send, None if the message is not a request.
    """
    if not isinstance(message, dict):
        return None
    request = cast("dict[str, Any]", message)
    if request.get("type") != "request" or not isinstance(request.get("id"), int):
        return None
    head = {"type": "answer", "id": request["id"]}
    try:
        return {**head, "value": handle(request["name"], **request.get("arguments", {}))}
    except StagelensError as error:
        facts = {"what": error.what, "where": error.where, "why": error.why, "remedy": error.remedy}
    except Exception as error:
        facts = {"what": f"{type(error).__name__}: {error}"}
    return {**head, "error": {key: text for key, text in facts.items() if text}}
