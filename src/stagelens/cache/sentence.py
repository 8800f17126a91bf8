"""What is said of a step, in whatever language it is read: English texts that are the keys of a catalogue.

This room knows no language but that of the keys. Whoever shows a reason hands in a translation; the views
take theirs from the catalogue in `stagelens/views/locale`, where every text of this room is found by `say`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from stagelens.text import inline

Translate: TypeAlias = Callable[[str], str]

# English words that begin a sentence of ours and are no name: small after a colon.
_SMALL = frozenset({"The", "This", "Nothing", "It", "No", "Build", "What"})


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text with `{places}`, and what stands in them: plain text, sentences, or a reason after a colon."""

    text: str
    values: tuple[tuple[str, str | Sentence | Reason], ...] = ()

    def of(self, **values: str | Sentence | Reason) -> Sentence:
        """This sentence with its places filled."""
        return Sentence(self.text, (*self.values, *values.items()))

    def told(self, translate: Translate = str) -> str:
        """The sentence, its text and those in its places translated."""
        values = {name: _value(value, translate) for name, value in self.values}
        return translate(self.text).format(**values)


@dataclass(frozen=True, slots=True)
class Reason:
    """Sentences that stand one after another; empty where there is nothing to say."""

    sentences: tuple[Sentence, ...] = ()

    def told(self, translate: Translate = str) -> str:
        """The sentences in one line."""
        return " ".join(sentence.told(translate) for sentence in self.sentences)

    def __str__(self) -> str:
        return self.told()

    def __add__(self, other: Reason) -> Reason:
        return Reason(self.sentences + other.sentences)


def say(text: str, **values: str | Sentence | Reason) -> Sentence:
    """A sentence; `text` is written out where it is said, for the catalogue to find it."""
    return Sentence(text).of(**values)


def _value(value: str | Sentence | Reason, translate: Translate) -> str:
    if isinstance(value, Reason):
        return _rest(value.told(translate))
    return value.told(translate) if isinstance(value, Sentence) else value


def _rest(text: str) -> str:
    """A reason as the rest of another sentence, which has a full stop of its own."""
    first = text.split(" ")[0]
    small = text[:1].lower() + text[1:] if first in _SMALL else text
    return f": {small.rstrip('.')}" if text else ""


def row(state: str, line: int, title: str, why: str) -> str:
    """What a terminal shows of a step: its state, line and title, and the reason below."""
    shown = "CACHED" if state == "cached" else state
    return f"{shown:>8}  line {line:<3} {inline(title)}\n{'':>10}{inline(why)}"
