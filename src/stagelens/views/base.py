"""What all widgets share: bundle, words, requests, and the two forms that need no kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import anywidget
import traitlets as t

from stagelens.views import i18n, templating
from stagelens.views.channel import Channel, Handler, event

STATIC = Path(__file__).parent / "static"


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
        self._channel = Channel(self.handlers())
        code = i18n.known(traits.pop("language", None) or i18n.language())
        super().__init__(language=code, strings=i18n.strings(code), **traits)
        self.on_msg(self._take)

    def handlers(self) -> dict[str, Handler]:
        """What the front end may ask for."""
        return {}

    def emit(self, name: str, value: object) -> None:
        """Send an event to the front end."""
        self.send(event(name, value))

    def say(self, message: str, **values: object) -> str:
        """A text in this widget's language."""
        return i18n.gettext(message, self.language, **values)

    def count(self, one: str, many: str, number: int, **values: object) -> str:
        """A text with a number in it, in this widget's language."""
        return i18n.ngettext(one, many, number, self.language, **values)

    @t.validate("language")
    def _language_is_known(self, proposal: dict[str, Any]) -> str:
        return i18n.known(proposal["value"])

    @t.observe("language")
    def _speak(self, change: dict[str, Any]) -> None:
        self.strings = i18n.strings(change["new"])

    def _take(self, _: object, content: object, __: object) -> None:
        answer = self._channel.answer(content)
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
