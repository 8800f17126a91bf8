"""The base class of the widgets: translations, requests, and static fallbacks.

The front end sends a request, `{"type": "request", "id": 7, "name": "list", "arguments": {…}}`. The answer
has the same id and either a `value` or an `error` with the fields of `StagelensError`: what, where, why and
remedy. The kernel also sends events, `{"type": "event", "name": …, "value": …}`. All messages are JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import anywidget
import traitlets as t

from stagelens.errors import StagelensError
from stagelens.views import i18n, templating

STATIC = Path(__file__).parent / "static"

Handler = Callable[..., Any]


class View(anywidget.AnyWidget):
    """A widget with translations, requests, and a static fallback in HTML and plain text.

    A subclass overrides `_repr_html_`, which needs no scripts, and `__str__`.

    Parameters
    ----------
    language
        The language, "en" or "ko"; by default the chosen one.
    traits
        Initial values of the subclass's traits, by name.

    Raises
    ------
    UnknownLanguage
        If there is no catalog for the language.

    Attributes
    ----------
    language
        The language, "en" or "ko"; a displayed widget changes at once.
    strings
        The translations for the front end (read only).
    """

    language = t.Unicode().tag(sync=True)
    strings = t.Dict().tag(sync=True)

    def __init__(self, *, language: str | None = None, traits: Mapping[str, object] | None = None) -> None:
        code = i18n.check_language(language or i18n.language())
        super().__init__(language=code, strings=i18n.strings(code), **traits or {})
        self.on_msg(self._on_message)

    def handlers(self) -> dict[str, Handler]:
        """Return the functions that handle the front end's requests, by name; they return JSON values."""
        return {}

    def request(self, name: str, /, **arguments: Any) -> Any:
        """Handle a request as if the front end had sent it.

        Parameters
        ----------
        name
            The name of the request, one of `handlers`.
        **arguments
            The arguments of the request.

        Returns
        -------
        Any
            The result, a JSON value.

        Raises
        ------
        KeyError
            If the widget has no such request.
        StagelensError
            If the request fails.
        """
        return self.handlers()[name](**arguments)

    def emit(self, name: str, value: object) -> None:
        """Send an event to the front end.

        Parameters
        ----------
        name
            The name of the event.
        value
            A JSON value.
        """
        self.send({"type": "event", "name": name, "value": value})

    def translate(self, message: str, **values: object) -> str:
        """Translate a text into the widget's language.

        Parameters
        ----------
        message
            The English text.
        **values
            Values for the `{names}` in it.
        """
        return i18n.gettext(message, self.language, **values)

    def translate_count(self, one: str, many: str, number: int, **values: object) -> str:
        """Translate a text that depends on a number into the widget's language.

        Parameters
        ----------
        one
            The English text for one.
        many
            The English text for other numbers.
        number
            The number, which replaces `{n}`.
        **values
            Values for the other `{names}` in it.
        """
        return i18n.ngettext(one, many, number, self.language, **values)

    @t.validate("language")
    def _check_language(self, proposal: dict[str, Any]) -> str:
        return i18n.check_language(proposal["value"])

    @t.observe("language")
    def _update_strings(self, change: dict[str, Any]) -> None:
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
        bundle, metadata = cast("tuple[dict[str, Any], dict[str, Any]]", super()._repr_mimebundle_(**options))
        return bundle | {"text/plain": str(self), "text/html": self._repr_html_()}, metadata


def answer_message(handle: Handler, message: object) -> dict[str, Any] | None:
    """Answer a message of the front end; a request that fails is answered with an error.

    Parameters
    ----------
    handle
        A function such as `View.request`.
    message
        The message, which may be malformed.

    Returns
    -------
    dict or None
        The answer to send; None if the message is not a request.
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
