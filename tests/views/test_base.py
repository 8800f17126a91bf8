"""Requests of the front end: each gets exactly one answer, whatever fails."""

from __future__ import annotations

from typing import Any

import pytest

from stagelens.errors import StagelensError
from stagelens.views.base import View, answer_message


def refuse(why: str) -> None:
    raise StagelensError("Refused.", why=why, remedy="ask another")


class Calculator(View):
    _esm = "export default {}"

    def handlers(self) -> dict[str, Any]:
        return {"double": lambda number: 2 * number, "refuse": refuse}


@pytest.fixture
def view() -> Calculator:
    return Calculator()


def message(name: str, **arguments: object) -> dict[str, object]:
    return {"type": "request", "id": 7, "name": name, "arguments": arguments}


def test_request_returns_the_value_or_raises(view: Calculator) -> None:
    assert view.request("double", number=4) == 8
    with pytest.raises(StagelensError, match="ask another"):
        view.request("refuse", why="busy")
    with pytest.raises(KeyError):
        view.request("no such")


def test_answer_has_the_id_of_its_request(view: Calculator) -> None:
    answer = answer_message(view.request, message("double", number=4))
    assert answer == {"type": "answer", "id": 7, "value": 8}


def test_refused_request_is_answered_with_reason_and_remedy(view: Calculator) -> None:
    answer = answer_message(view.request, message("refuse", why="busy"))
    assert answer is not None
    assert answer["error"] == {"what": "Refused.", "why": "busy", "remedy": "ask another"}


def test_any_other_failure_is_answered(view: Calculator) -> None:
    for wrong in (message("no such"), message("double", numbers=1), message("double", number=None)):
        answer = answer_message(view.request, wrong)
        assert answer is not None
        assert answer["id"] == 7
        assert "Error" in answer["error"]["what"]


def test_other_messages_are_not_answered(view: Calculator) -> None:
    for other in (None, [], {"type": "event"}, {"type": "request", "id": "7", "name": "double"}):
        assert answer_message(view.request, other) is None


def test_message_of_the_front_end_is_answered(view: Calculator, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr(view, "send", sent.append)
    view._handle_custom_msg(message("double", number=4), [])
    view._handle_custom_msg({"type": "event"}, [])
    assert sent == [{"type": "answer", "id": 7, "value": 8}]
