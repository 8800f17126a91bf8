"""HTML from Jinja2 templates that escape whatever they print, for HTML and as `stagelens.text` does.

A template begins with `{% extends "frame.html" %}` and prints a value in one line with `{{ value }}`. The
filter `inline(limit)` cuts the value, and `block(limit)` keeps its line breaks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from stagelens import text
from stagelens.cache import Reason
from stagelens.humanize import format_size
from stagelens.views import i18n

if TYPE_CHECKING:
    # Imported with the first picture only: the command line shows none.
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
_THEME = Path(__file__).parent / "static" / "theme.css"


def render(template: Path, *, language: str = "en", **values: object) -> str:
    """Render a template's HTML.

    Parameters
    ----------
    template
        The template's file. It may use the templates beside it and those of `stagelens.views`.
    language
        The language of `say`, `count` and `reason`, with which the template translates.
    values
        What the template prints.
    """

    def say(message: str, **names: object) -> str:
        return i18n.gettext(message, language, **names)

    def count(one: str, many: str, number: int) -> str:
        return i18n.ngettext(one, many, number, language)

    def reason(found: Reason) -> str:
        return i18n.told(found, language)

    names = {"language": language, "say": say, "count": count, "reason": reason, "theme": _theme()}
    return _environment(template.parent).get_template(template.name).render(names | values)


@cache
def _environment(folder: Path) -> Environment:
    import jinja2
    from markupsafe import Markup, escape

    def escaping(visible: Callable[..., str]) -> Callable[..., Markup]:
        def escaped(value: object, *limit: int) -> Markup:
            return escape(visible(str(value), *limit))

        return escaped

    def finalize(value: object) -> object:
        return text.inline(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(inline=escaping(text.inline), block=escaping(text.block), size=format_size)
    return found


@cache
def _theme() -> Markup:
    from markupsafe import Markup

    return Markup(_THEME.read_text(encoding="utf-8").strip())
