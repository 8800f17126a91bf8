"""Time limits of the library, in one value that tests replace."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long stagelens waits for an engine or another program, in seconds.

    Attributes
    ----------
    build_cancel
        For the last answer of a cancelled build.
    build_graph
        For the graph of a build that has ended.
    build_retry_pauses
        Before each further attempt at a build after a fault of the engine.
    build_status
        For the last events of a build that has ended.
    cache_listing
        For the list of an engine's cache, which it refuses while it makes one for another client.
    engine_probe
        For the first answer of an engine.
    engine_probe_patient
        For the first answer of an engine that has no alternative. An engine that builds for a class is slow.
    engine_probe_ssh
        For the first answer of an engine behind ssh.
    engine_read
        Between two bytes of an answer. A commit or a save of a large image may pause for long.
    force_quit
        After Ctrl-C, until a second Ctrl-C ends a clean-up. An earlier one counts as a double press.
    gateway_close
        For the end of a gateway's build and its programs.
    gateway_create
        For a container that the engine is creating when the build is cancelled.
    private_engine_start
        For the first answer of a private engine that starts.
    private_engine_stop
        For the end of a private engine, which first stops its containers.
    removal_pauses
        Before each further attempt to remove a container or network.
    ssh_connect
        For ssh to connect.
    ssh_exit
        For ssh to end after its connection has ended.
    """

    build_cancel: float = 5.0
    build_graph: float = 20.0
    build_retry_pauses: tuple[float, ...] = (0.2, 1.0, 3.0)
    build_status: float = 20.0
    cache_listing: float = 5.0
    engine_probe: float = 3.0
    engine_probe_patient: float = 20.0
    engine_probe_ssh: float = 15.0
    engine_read: int = 600
    force_quit: float = 10.0
    gateway_close: float = 20.0
    gateway_create: float = 5.0
    private_engine_start: float = 60.0
    private_engine_stop: float = 30.0
    removal_pauses: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
    ssh_connect: int = 10
    ssh_exit: float = 5.0


current = Timeouts()
