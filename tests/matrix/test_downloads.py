"""Downloads of ADD count by their name and content, and a checksum or commit makes them certain."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from stagelens_testing import engines
from stagelens_testing.world.runner import serve_folder

import stagelens
from stagelens.cache import forecast, read_inputs
from stagelens.engine import Engine

pytestmark = pytest.mark.engine

BODY = "same\n"
SUM = hashlib.sha256(BODY.encode()).hexdigest()
# The ADD before and after, what the forecast says of it, and what it does.
CASES = {
    "checksum": (f"--checksum=sha256:{SUM} A/x", f"--checksum=sha256:{SUM} A/x", "cached", "cached"),
    "checksum at another address": (
        f"--checksum=sha256:{SUM} A/x",
        f"--checksum=sha256:{SUM} B/x",
        "cached",
        "cached",
    ),
    "checksum of another name": (
        f"--checksum=sha256:{SUM} A/x",
        f"--checksum=sha256:{SUM} B/y",
        "runs",
        "ran",
    ),
    "checksum that is new": ("A/x", f"--checksum=sha256:{SUM} A/x", "depends", "cached"),
    "no checksum": ("A/x", "A/x", "depends", "cached"),
    "no checksum, another address": ("A/x", "B/x", "depends", "cached"),
    "no checksum, another name": ("A/x", "B/y", "runs", "ran"),
}


def test_downloads_are_forecast_as_certain_or_unknown(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    served, context = tmp_path / "served", tmp_path / "context"
    for path in ("a/x", "b/x", "b/y"):
        (served / path).parent.mkdir(parents=True, exist_ok=True)
        (served / path).write_text(BODY)
    context.mkdir()

    def write(number: int, add: str, address: str) -> None:
        add = add.replace("A/", f"{address}/a/").replace("B/", f"{address}/b/")
        text = f"FROM diamol/base\nRUN echo {unique} {number}\nADD {add} /d\n"
        (context / "Dockerfile").write_text(text)

    with serve_folder(served, engines.namespace_pid(engine)) as address:
        for number, (name, (first, second, expected, happened)) in enumerate(CASES.items()):
            if "--checksum" in first + second and engine.info.version.startswith("20."):
                continue  # Engine 20.10's own frontend does not know the flag
            write(number, first, address)
            before = stagelens.record(context, engine=engine, tags=[f"{unique}:x"])
            write(number, second, address)
            said = forecast(before, read_inputs(context, engine=engine))[-1]
            did = stagelens.explain(before, stagelens.record(context, engine=engine, tags=[f"{unique}:x"]))[
                -1
            ]
            assert (said.outcome, did.outcome) == (expected, happened), f"{name}\n{said}\n{did}"
