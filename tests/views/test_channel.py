"""Each request gets one answer, whatever is wrong with it."""

from __future__ import annotations

from stagelens.errors import StagelensError
from stagelens.views.channel import Channel


def refuse(why: str) -> None:
    raise StagelensError("Refused.", why=why, remedy="ask another")


channel = Channel({"double": lambda number: 2 * number, "refuse": refuse})


def request(name: str, **arguments: object) -> dict[str, object]:
    return {"type": "request", "id": 7, "name": name, "arguments": arguments}


def test_an_answer_has_the_requests_id() -> None:
    assert channel.answer(request("double", number=4)) == {"type": "answer", "id": 7, "value": 8}


def test_a_refusal_is_told_with_reason_and_remedy() -> None:
    answer = channel.answer(request("refuse", why="busy"))
    assert answer is not None
    assert answer["error"] == {"what": "Refused.", "why": "busy", "remedy": "ask another"}


def test_whatever_else_goes_wrong_is_answered_too() -> None:
    for wrong in (request("no such"), request("double", numbers=1), request("double", number=None)):
        answer = channel.answer(wrong)
        assert answer is not None
        assert answer["id"] == 7
        assert "Error" in answer["error"]["what"]


def test_what_is_no_request_has_no_answer() -> None:
    for message in (None, [], {"type": "event"}, {"type": "request", "id": "7", "name": "double"}):
        assert channel.answer(message) is None
