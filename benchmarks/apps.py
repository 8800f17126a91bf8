"""What the chapter's three applications cost: a cold build, a build that is all cached, and the image's size.

    python benchmarks/apps.py

Builds each application with no cache, again with it, and its builder stage alone, on the engine that
stagelens finds; the base images are there before the clock starts. The names it made are removed.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

from docker.errors import APIError
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from stagelens import engine as engines
from stagelens.builds import build
from stagelens_course import images
from stagelens_course.apps import APPLICATIONS, ApplicationSpec


def measure(engine: engines.Engine, spec: ApplicationSpec) -> tuple[str, ...]:
    """Seconds of the cold and the cached build, and the sizes of the builder stage and of the image."""
    assert spec.context is not None
    tag = f"slbench-{secrets.token_hex(4)}"
    try:
        cold = build(spec.context, tags=[tag], engine=engine, no_cache=True)
        again = build(spec.context, tags=[tag], engine=engine)
        size = int(engine.api.inspect_image(tag)["Size"])
        build(spec.context, tags=[f"{tag}-builder"], target="builder", engine=engine)
        builder = int(engine.api.inspect_image(f"{tag}-builder")["Size"])
    finally:
        for name in (tag, f"{tag}-builder"):
            with suppress(APIError):
                engine.api.remove_image(name)
    times = (f"{cold.seconds:.1f} s", f"{again.seconds:.2f} s")
    return (spec.image, *times, decimal(builder), decimal(size), f"{builder / size:.1f}")


def main() -> None:
    engine = engines.connect()
    images.ensure(engine)
    table = Table("application", "cold build", "cached build", "builder stage", "image", "ratio")
    for spec in APPLICATIONS:
        table.add_row(*measure(engine, spec))
    console = Console(width=100)
    console.print(table)
    console.print(f"Engine {engine.info.version}, {engine.info.cpus} CPUs")


if __name__ == "__main__":
    main()
