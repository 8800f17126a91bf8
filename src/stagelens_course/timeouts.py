"""Time limits of the course, in one value that tests replace; `stagelens.timeouts` has the library's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CourseTimeouts:
    """How long the course waits for kernels, clusters, registries and applications, in seconds.

    Attributes
    ----------
    application_health
        For the health of a running application.
    application_ready
        For all applications that start.
    cluster_connect
        For the connection to a Dask scheduler.
    cluster_workers
        For the first worker of a cluster.
    jupyter_end
        For the end of JupyterLab, before it is asked again.
    kernel_exit
        For the clean-up of a check when its kernel ends. Jupyter kills a kernel after 5 s.
    kernel_interrupt
        For the clean-up of an interrupted cell of a grading notebook.
    kernel_output
        For the output of a cell that has ended. nbclient drops later output, and its 4 s are too short for a
        busy machine.
    kernel_start
        For the start of a kernel.
    registry_first_event
        For the first answer of a registry.
    registry_next_event
        Between two events of a pull.
    """

    application_health: float = 2.0
    application_ready: float = 300.0
    cluster_connect: float = 10.0
    cluster_workers: float = 120.0
    jupyter_end: float = 5.0
    kernel_exit: float = 4.0
    kernel_interrupt: float = 30.0
    kernel_output: int = 60
    kernel_start: float = 120.0
    registry_first_event: float = 5.0
    registry_next_event: float = 120.0


current = CourseTimeouts()
