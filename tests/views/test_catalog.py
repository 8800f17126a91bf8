"""The catalogs are complete and compiled; a call or a setting chooses the language."""

from __future__ import annotations

from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

from stagelens.settings import SettingsInvalid
from stagelens.views import i18n
from stagelens.views.locale.update import HERE, texts

PO = HERE / "ko" / "LC_MESSAGES" / "stagelens.po"


@pytest.fixture(autouse=True)
def unchosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i18n, "_chosen", None)


@pytest.fixture(scope="module")
def korean() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="ko")


def test_every_text_of_the_sources_is_translated(korean: Catalog) -> None:
    wanted = {message.id for message in texts() if message.id}
    assert len(wanted) > 30
    assert {message.id for message in korean if message.id} == wanted
    untranslated = [m.id for m in korean if m.id and not (m.string and all(m.string))]
    assert not untranslated


def test_translations_have_the_placeholders_of_their_texts(korean: Catalog) -> None:
    assert not [error for _, errors in korean.check() for error in errors]
    for message in korean:
        # Of a text with a number there may be several forms; Korean has one, which must say the number.
        wanted = _placeholders(message.id if isinstance(message.id, str) else message.id[1])
        given = [message.string] if isinstance(message.string, str) else [*message.string]
        assert all(_placeholders(text) == wanted for text in given), message.id


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_compiled_catalog_equals_its_source(korean: Catalog) -> None:
    # Not by its bytes: the header names the Babel that wrote it.
    with PO.with_suffix(".mo").open("rb") as file:
        assert _strings(read_mo(file)) == _strings(korean)


def _strings(catalog: Catalog) -> list[list[str]]:
    pairs = [[message.id, message.string] for message in catalog if message.id]
    return sorted([each if isinstance(each, str) else "\0".join(each) for each in pair] for pair in pairs)


def test_language_is_english_until_another_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert i18n.gettext("final image") == "final image"
    monkeypatch.setenv("STAGELENS_LANGUAGE", "ko")
    assert i18n.gettext("final image") == "최종 이미지"
    i18n.language("en")
    assert i18n.ngettext("{n} file", "{n} files", 1) == "1 file"
    i18n.language("ko")
    assert i18n.ngettext("{n} file", "{n} files", 1200) == "파일 1,200개"


def test_unknown_language_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(i18n.UnknownLanguage):
        i18n.language("xx")
    monkeypatch.setenv("STAGELENS_LANGUAGE", "xx")
    with pytest.raises(SettingsInvalid):
        i18n.language()


def test_front_end_gets_translations_of_the_language() -> None:
    assert i18n.strings("en") == {}
    assert i18n.strings("ko")["{n} file"] == "파일 {n}개"
