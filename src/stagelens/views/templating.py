"""HTML from Jinja2 templates, which escape each value for HTML and with `stagelens.text`.

A template begins with `{% extends "frame.html" %}`. `{{ value }}` prints a value in one line, the filter
`inline(limit)` also shortens it, and the filter `block(limit)` keeps its line breaks.
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
    # Imported with the first template: the command line renders none.
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
_THEME = Path(__file__).parent / "static" / "theme.css"


def render(template: Path, *, language: str = "en", **values: object) -> str:
    """Render a template's HTML.

    Parameters
    ----------
    template
        The template's file. It can use the templates in its folder and those of `stagelens.views`.
    language
        The language of the template's functions `translate`, `translate_count` and `render_reason`.
    **values
        The template's variables.
    """

    def translate(message: str, **names: object) -> str:
        return i18n.gettext(message, language, **names)

    def translate_count(one: str, many: str, number: int) -> str:
        return i18n.ngettext(one, many, number, language)

    def render_reason(reason: Reason) -> str:
        return i18n.render_reason(reason, language)

    variables = {
        "language": language,
        "theme": _theme(),
        "translate": translate,
        "translate_count": translate_count,
        "render_reason": render_reason,
    }
    return _environment(template.parent).get_template(template.name).render(variables | values)


@cache
def _environment(folder: Path) -> Environment:
    import jinja2
    from markupsafe import Markup, escape

    def escaping(sanitize: Callable[..., str]) -> Callable[..., Markup]:
        def escaped(value: object, *limit: int) -> Markup:
            return escape(sanitize(str(value), *limit))

        return escaped

    def finalize(value: object) -> object:
        return text.inline(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(inline=escaping(text.inline), block=escaping(text.block), size=format_size)
    return environment


@cache
def _theme() -> Markup:
    from markupsafe import Markup

    return Markup(_THEME.read_text(encoding="utf-8").strip())
