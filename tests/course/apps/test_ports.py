"""A service gets the wanted port, else the next free one."""

from __future__ import annotations

import socket

import pytest
from stagelens_testing.resources import free_port

from stagelens_course.apps import ports


def test_wanted_port_comes_first_and_unavailable_ports_are_left_out() -> None:
    found = ports.candidates(801, {800, 802, 803})
    assert [next(found) for _ in range(3)] == [801, 804, 805]


def test_browsers_accept_every_candidate_port() -> None:
    # https://fetch.spec.whatwg.org/#bad-port, those above 800.
    refused = {989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566}
    refused |= {6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
    assert not refused & set(ports.candidates(800, ()))


def test_port_with_a_listener_is_in_use() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert ports.is_in_use(port)
    assert not ports.is_in_use(port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Bind for 127.0.0.1:800 failed: port is already allocated", ports.BUSY),
        ("listen tcp4 127.0.0.1:800: bind: address already in use", ports.BUSY),
        ("rootlessport cannot expose privileged port 800, you can add …", ports.PRIVILEGED),
        ("listen tcp4 127.0.0.1:800: bind: permission denied", ports.PRIVILEGED),
        ("no such image", None),
    ],
)
def test_port_errors_of_the_engine_are_recognized(text: str, reason: str | None) -> None:
    assert ports.refusal_reason(text) == reason


@pytest.mark.parametrize(
    ("address", "public", "host"),
    [
        ("unix:///var/run/docker.sock", False, "127.0.0.1"),
        ("tcp://127.0.0.1:2375", False, "127.0.0.1"),
        ("tcp://engine.example:2376", False, None),
        ("tcp://engine.example:2376", True, "engine.example"),
        ("ssh://ada@engine.example", True, "engine.example"),
    ],
)
def test_host_of_published_ports_depends_on_the_engine(address: str, public: bool, host: str | None) -> None:
    assert ports.reachable_host(address, public) == host
