"""The views' words in the learner's language, from one gettext catalog for Python and the front end.

The English text is the key. `locale/` holds the catalogs; `python -m stagelens.views.locale.update`
takes new texts in and compiles.
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
    """A language that the views do not speak."""


def language(code: str | None = None) -> str:
    """Choose the language of views made from now on ("en" or "ko"), or ask for it.

    Until one is chosen it is that of the setting STAGELENS_LANGUAGE, English without it.

    Raises
    ------
    UnknownLanguage: there is no catalog for it.
    """
    global _chosen
    if code is not None:
        _chosen = known(code)
    return _chosen or known(Settings().language)


def known(code: str) -> str:
    """`code` if there is a catalog for it. Raises UnknownLanguage else."""
    if code not in LANGUAGES:
        raise UnknownLanguage(
            "The views do not speak this language.",
            where=ascii(code),
            remedy=f"one of: {', '.join(LANGUAGES)}",
        )
    return code


@cache
def _catalogue(code: str) -> _gettext.NullTranslations:
    return _gettext.translation("stagelens", LOCALE, [code], fallback=code == "en")


def gettext(text: str, code: str | None = None, /, **values: object) -> str:
    """Return a text in the language, its `{names}` filled with `values`."""
    return _catalogue(code or language()).gettext(text).format(**values)


def told(reason: Reason, code: str | None = None, /) -> str:
    """Why a step ran or came from the cache, in the language."""
    return reason.render(_catalogue(code or language()).gettext)


def ngettext(one: str, many: str, count: int, code: str | None = None, /, **values: object) -> str:
    """Return a text that depends on a number, which its `{n}` shows."""
    return _catalogue(code or language()).ngettext(one, many, count).format(n=f"{count:,}", **values)


@cache
def strings(code: str) -> dict[str, str]:
    """Return the catalog for the front end: English text (the singular if there are two) to translation."""
    found: dict[str, str] = {}
    for key, value in getattr(_catalogue(code), "_catalog", {}).items():
        text = key[0] if isinstance(key, tuple) else key
        if text and (not isinstance(key, tuple) or key[1] == 0):
            found[text] = value
    return found
