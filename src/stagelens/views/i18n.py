"""Translations of the views, from gettext catalogs that Python and the front end share.

The English text is the key. The folder `locale` has the catalogs; `python -m stagelens.views.locale.update`
adds new texts to them and compiles them.
"""

from __future__ import annotations

import gettext as _gettext
from functools import cache
from pathlib import Path

from stagelens.cache import Reason
from stagelens.errors import StagelensError
from stagelens.settings import Settings

LOCALE = Path(__file__).parent / "locale"
LANGUAGES = ("en", "ko")
_chosen: str | None = None


class UnknownLanguage(StagelensError):
    """A language without a catalog."""


def language(code: str | None = None) -> str:
    """Return the language of new views, after choosing it if `code` is given.

    Parameters
    ----------
    code
        The language to choose, "en" or "ko".

    Returns
    -------
    str
        The chosen language; before the first choice that of the setting STAGELENS_LANGUAGE, by default "en".

    Raises
    ------
    UnknownLanguage
        If there is no catalog for the language.
    """
    global _chosen
    if code is not None:
        _chosen = check_language(code)
    return _chosen or check_language(Settings().language)


def check_language(code: str) -> str:
    """Return a language that has a catalog unchanged.

    Parameters
    ----------
    code
        The language, "en" or "ko".

    Raises
    ------
    UnknownLanguage
        If there is no catalog for the language.
    """
    if code not in LANGUAGES:
        raise UnknownLanguage(
            "The views are not translated into this language.",
            where=ascii(code),
            remedy=f"use one of: {', '.join(LANGUAGES)}",
        )
    return code


@cache
def _catalog(code: str) -> _gettext.NullTranslations:
    return _gettext.translation("stagelens", LOCALE, [code], fallback=code == "en")


def gettext(text: str, code: str | None = None, /, **values: object) -> str:
    """Translate a text.

    Parameters
    ----------
    text
        The English text.
    code
        The language; by default the chosen one.
    **values
        Values for the `{names}` in the text.
    """
    return _catalog(code or language()).gettext(text).format(**values)


def ngettext(one: str, many: str, count: int, code: str | None = None, /, **values: object) -> str:
    """Translate a text that depends on a number.

    Parameters
    ----------
    one
        The English text for one.
    many
        The English text for other numbers.
    count
        The number, which replaces `{n}`.
    code
        The language; by default the chosen one.
    **values
        Values for the other `{names}` in the text.
    """
    return _catalog(code or language()).ngettext(one, many, count).format(n=f"{count:,}", **values)


def render_reason(reason: Reason, code: str | None = None, /) -> str:
    """Return the text of the reason why a step ran or came from the cache.

    Parameters
    ----------
    reason
        The reason.
    code
        The language; by default the chosen one.
    """
    return reason.render(_catalog(code or language()).gettext)


@cache
def strings(code: str) -> dict[str, str]:
    """Return the catalog of a language for the front end.

    Parameters
    ----------
    code
        The language.

    Returns
    -------
    dict
        The translation of each English text; of a text with a plural, the key is the singular.
    """
    found: dict[str, str] = {}
    for key, value in getattr(_catalog(code), "_catalog", {}).items():
        text = key[0] if isinstance(key, tuple) else key
        if text and (not isinstance(key, tuple) or key[1] == 0):
            found[text] = value
    return found
