"""`stagelens why`: what the next build of a folder would run again, without building it."""

from __future__ import annotations

import json

import typer

from stagelens import cache
from stagelens.cli import engine as engine_commands
from stagelens.cli import verdicts
from stagelens.cli.build import BuildArgs, Context, File, Json, Target, arguments
from stagelens.cli.console import out
from stagelens.errors import StagelensError


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("why")(why_command)


def why_command(
    context: Context,
    file: File = None,
    target: Target = None,
    build_arg: BuildArgs = None,
    as_json: Json = False,
) -> None:
    """Say which steps the next build would run again, and why; nothing is built."""
    engine = engine_commands.find()
    now = cache.read_inputs(
        context, dockerfile=file, target=target, build_args=arguments(build_arg), engine=engine
    )
    before = cache.History().last(context, target=target, dockerfile=file)
    if before is None:
        raise StagelensError(
            "No earlier build of this folder is known to compare with.",
            where=str(context),
            remedy=f"build it first: stagelens build {context}",
        )
    steps = cache.forecast(before, now)
    if as_json:
        out.print_json(json.dumps(verdicts.as_json(steps)))
        return
    verdicts.print_steps(steps)
    running = sum(step.expected == "runs" for step in steps)
    out.print(f"{running} of {len(steps)} steps would run again")
