"""The command `stagelens why`: forecast what the next build of a folder would run again."""

from __future__ import annotations

from pathlib import Path

import click

from stagelens import cache
from stagelens.cli import engine_commands, step_reports
from stagelens.cli.build import (
    BUILD_ARGS,
    BUILD_CONTEXTS,
    CONTEXT,
    FILE,
    JSON,
    PLATFORM,
    TARGET,
    parse_build_args,
    print_unnoticed,
    print_unread_ignore_files,
)
from stagelens.cli.console import out, print_json
from stagelens.dockerfile import find_dockerfile
from stagelens.errors import StagelensError


@click.command("why")
@CONTEXT
@FILE
@TARGET
@BUILD_ARGS
@PLATFORM
@BUILD_CONTEXTS
@JSON
def why_command(
    context: Path,
    file: Path | None,
    target: str | None,
    build_args: tuple[str, ...],
    platform: str | None,
    build_contexts: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """Show what the next build would run again, and why.

    CONTEXT is a folder that was built before. Nothing is built now.
    """
    print_unread_ignore_files(context, find_dockerfile(context, file))
    engine = engine_commands.find_engine()
    now = cache.read_inputs(
        context,
        dockerfile=file,
        target=target,
        build_args=parse_build_args(build_args),
        platform=platform,
        build_contexts=dict(build_contexts),
        engine=engine,
    )
    before = cache.BuildHistory().last(context, target=target, dockerfile=file)
    if before is None:
        raise StagelensError(
            "No earlier build of this folder is known to compare with.",
            where=str(context),
            remedy=f"build it first: stagelens build {context}",
        )
    steps = cache.forecast(before, now)
    print_unnoticed(now, context, dict(build_contexts))
    if as_json:
        print_json(step_reports.as_json(steps))
        return
    step_reports.print_steps(steps)
    running = sum(step.outcome == "runs" for step in steps)
    out.print(f"{running} of {len(steps)} steps would run again")
