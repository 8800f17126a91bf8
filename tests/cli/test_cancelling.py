"""Ctrl-C in a command that builds."""

from __future__ import annotations

import os
import signal
import threading

import click
import pytest

from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.cli.build import cancellable

SECONDS = 20


def pressed() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_it_is_heard_while_the_program_holds_a_lock_that_cancelling_needs() -> None:
    """The lock of a connection to the engine, say: the handler runs in the midst of what holds it."""
    lock, got = threading.Lock(), list[bool]()

    def stop() -> None:
        got.append(lock.acquire(timeout=SECONDS))

    with cancellable() as cancel:
        cancel.on_request(stop)
        with lock:
            pressed()
    assert got == [True]


def test_it_may_be_pressed_as_often_as_one_likes() -> None:
    calls, done = list[None](), threading.Event()

    def build(cancel: Cancel) -> None:
        cancel.on_request(lambda: calls.append(None))
        cancel.on_request(done.set)
        for _ in range(100):
            pressed()
        assert done.wait(SECONDS)
        raise BuildCancelled("The build was cancelled.")

    with pytest.raises(click.exceptions.Exit) as ended, cancellable() as cancel:
        build(cancel)
    assert (ended.value.exit_code, len(calls)) == (130, 1)


def test_afterwards_it_ends_the_program_again() -> None:
    with cancellable():
        pass
    with pytest.raises(KeyboardInterrupt):
        pressed()
    assert not [thread for thread in threading.enumerate() if thread.name == "stagelens-cancel"]
