"""The command `stagelens build`, and what it shares with other commands that build."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from stagelens import cache
from stagelens.buildkit import FileSend, Output
from stagelens.builds import BuildTrace, LogLine, Vertex
from stagelens.cli import engine_commands, flags
from stagelens.cli.console import INTERRUPTED, err, out, print_json, spinner
from stagelens.dockerfile import context_name, find_dockerfile, ignore_file_paths, load, unread_ignore_files
from stagelens.humanize import format_size
from stagelens.text import inline

CONTEXT = click.argument("context", type=click.Path(path_type=Path))
FILE = click.option(
    "--file",
    "-f",
    type=flags.parse_file,
    metavar="PATH",
    help="Another Dockerfile, in the context or elsewhere.",
)
TARGET = click.option("--target", help="The stage to stop at.")
BUILD_ARGS = click.option(
    "--build-arg",
    "build_args",
    type=flags.parse_build_arg,
    metavar="NAME=VALUE",
    multiple=True,
    help="May be repeated.",
)
PLATFORM = click.option(
    "--platform",
    type=flags.parse_platform,
    metavar="OS/ARCH",
    help="The platform to build for, by default the engine's; one, not a list.",
)
BUILD_CONTEXTS = click.option(
    "--build-context",
    "build_contexts",
    type=flags.parse_build_context,
    metavar="NAME=FOLDER|docker-image://IMAGE|URL",
    multiple=True,
    help="A further build context, which FROM, COPY --from and mounts use by its name; may be repeated.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("build")
@CONTEXT
@click.option(
    "--tag",
    "-t",
    "tags",
    type=flags.parse_tag,
    metavar="NAME[:TAG]",
    multiple=True,
    help="A name for the image; may be repeated.",
)
@FILE
@TARGET
@BUILD_ARGS
@PLATFORM
@BUILD_CONTEXTS
@click.option("--no-cache", is_flag=True, help="Run every step again.")
@click.option(
    "--secret",
    "secrets",
    type=flags.parse_secret,
    multiple=True,
    metavar="id=ID,src=FILE|env=NAME",
    help="For RUN --mount=type=secret.",
)
@click.option(
    "--ssh",
    "agents",
    type=flags.parse_agent,
    multiple=True,
    metavar="default|ID=SOCKET",
    help="For RUN --mount=type=ssh.",
)
@click.option(
    "--output",
    "-o",
    type=flags.parse_output,
    metavar="FOLDER|-|type=tar,dest=FILE",
    help="Export the result instead of making an image; - writes a tar to the standard output.",
)
@click.option("--why", is_flag=True, help="Show why each step ran or was cached.")
@JSON
def build_command(
    context: Path,
    tags: tuple[str, ...],
    file: Path | None,
    target: str | None,
    build_args: tuple[str, ...],
    platform: str | None,
    build_contexts: tuple[tuple[str, str], ...],
    no_cache: bool,
    secrets: tuple[flags.SecretFlag, ...],
    agents: tuple[flags.SshFlag, ...],
    output: Output | None,
    why: bool,
    as_json: bool,
) -> None:
    """Build a folder and show what every step did.

    CONTEXT is a folder with a Dockerfile, or any folder with --file.
    """
    piped = isinstance(output, FileSend)
    if piped and as_json:
        raise click.UsageError("the standard output can hold the result or JSON, not both")
    values = parse_build_args(build_args)
    dockerfile = find_dockerfile(context, file)
    check_stages(dockerfile, target)
    print_unread_ignore_files(context, dockerfile)
    engine = engine_commands.find_engine()
    history = cache.BuildHistory()
    before = history.last(context, target=target, dockerfile=file)
    with report_cancellation(), spinner(f"building {context}") as update:
        record = cache.record(
            context,
            dockerfile=file,
            target=target,
            tags=tags,
            build_args=values,
            platform=platform,
            build_contexts=dict(build_contexts),
            no_cache=no_cache,
            secrets={secret.id: secret.value for secret in secrets},
            ssh={agent.id: agent.socket for agent in agents},
            output=output,
            engine=engine,
            on_vertex=lambda vertex, lines: show_progress(vertex, lines, update),
        )
    _store(history, record, context, file)
    print_unnoticed(record.inputs, context, dict(build_contexts))
    console = err if piped else out
    result = _trace_json(record.trace) if as_json else {}
    if why:
        from stagelens.cli import step_reports  # only this option needs the reasons

        steps = cache.explain(before, record)
        if as_json:
            result["why"] = step_reports.as_json(steps)
        else:
            step_reports.print_steps(steps, console)
    if as_json:
        print_json(result)
    else:
        _print_trace(record.trace, console, steps=not why)


def check_stages(file: Path, target: str | None, stage: str | None = None) -> None:
    """Refuse stages that the Dockerfile does not have, before an engine is used.

    Parameters
    ----------
    file
        The Dockerfile.
    target
        The stage to stop at; None for the last one.
    stage
        A stage that the build must reach.

    Raises
    ------
    StageNotFound
        If a stage does not exist.
    """
    named = [name for name in (target, stage) if name is not None]
    if named:
        dockerfile = load(file)
        for name in named:
            dockerfile.stage(name)


def parse_build_args(pairs: Iterable[str]) -> dict[str, str | None]:
    """Return `NAME=VALUE` strings as a mapping; a name alone takes the environment's value."""
    found: dict[str, str | None] = {}
    for pair in pairs:
        name, has_value, value = pair.partition("=")
        found[name] = value if has_value else os.environ.get(name)
    return found


@contextmanager
def report_cancellation() -> Generator[None]:
    """Exit on Ctrl-C with the message that the engine has stopped the build."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("cancelled; the engine has stopped the build", style="yellow")
        raise click.exceptions.Exit(INTERRUPTED) from None


def _store(history: cache.BuildHistory, record: cache.BuildRecord, context: Path, file: Path | None) -> None:
    try:
        history.store(record, context, dockerfile=file)
    except OSError as error:
        note = f"note: the next --why cannot compare with this build: {error}"
        err.print(note, style="yellow", markup=False, soft_wrap=True)


def print_unread_ignore_files(context: Path, dockerfile: Path) -> None:
    """Name the ignore files that the build does not read, and those that it would read."""
    for path in unread_ignore_files(context, dockerfile):
        specific, general = map(str, ignore_file_paths(context, dockerfile))
        note = f"note: {path} is not read: a build reads {specific}, or else {general}"
        err.print(inline(note), style="yellow", markup=False, soft_wrap=True)


def print_unnoticed(inputs: cache.BuildInputs, context: Path, build_contexts: Mapping[str, str]) -> None:
    """Warn of changed files whose old state the engine uses, and name the remedy."""
    folders = {context_name(name): folder for name, folder in build_contexts.items()}
    trees = [(str(context), inputs.files)]
    trees += [(folders[name], files) for name, files in inputs.context_files.items()]
    for folder, files in trees:
        if reason := cache.unnoticed_reason(cache.unnoticed_changes(files.values()), folder):
            err.print(f"warning: {inline(str(reason))}", style="yellow", markup=False, soft_wrap=True)


def show_progress(vertex: Vertex, lines: tuple[LogLine, ...], update: Callable[[str], None]) -> None:
    """Show the last line that a vertex printed, or its name where it printed none."""
    update(lines[-1].text if lines else vertex.name)


def _print_trace(trace: BuildTrace, console: Console, *, steps: bool = True) -> None:
    for vertex in trace.vertices:
        if vertex.instruction is None or not steps:
            continue
        state = "CACHED" if vertex.cached else f"{vertex.seconds or 0:.1f} s"
        console.print(f"{state:>8}  {escape(vertex.name)}", soft_wrap=True)
    cached = sum(v.cached for v in trace.vertices)
    sent = format_size(trace.context_bytes)
    summary = f"{trace.image_id or 'no image'}  {trace.seconds:.1f} s, {cached} cached, {sent} sent"
    console.print(summary, soft_wrap=True)
    for line in trace.limitations:
        err.print(f"note: {line}", style="yellow", markup=False, soft_wrap=True)


def _trace_json(trace: BuildTrace) -> dict[str, object]:
    return {
        "image": trace.image_id,
        "backend": trace.backend,
        "seconds": round(trace.seconds, 3),
        "context_bytes": trace.context_bytes,
        "limitations": list(trace.limitations),
        "steps": [
            {
                "stage": trace.dockerfile.stages[stage].label,
                "line": trace.dockerfile.stages[stage].instructions[instruction].start_line,
                "name": v.name,
                "cached": v.cached,
                "seconds": v.seconds,
                "log": [line.text for line in v.logs],
            }
            for v in trace.vertices
            for stage, instruction in v.instructions
        ],
    }
