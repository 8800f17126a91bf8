"""`stagelens build` and `stagelens explore`: a build and its stages in a terminal."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from stagelens import build as build_context
from stagelens import cache, images
from stagelens.build import BuildTrace, LogLine, Vertex
from stagelens.buildkit import BuildCancelled, Cancel, FileSend, Output
from stagelens.cli import engine as engine_commands
from stagelens.cli import flags, verdicts
from stagelens.cli.console import err, out, working
from stagelens.dockerfile import StageNotFound, load
from stagelens.snapshot import Entry, Exploration, StageFiles, explore
from stagelens.snapshot.prober import PROBE_IMAGE
from stagelens.views import markup

Context = Annotated[Path, typer.Argument(help="The build context: a folder with a Dockerfile.")]
BuildArgs = Annotated[list[str] | None, typer.Option("--build-arg", help="NAME=VALUE; may be repeated.")]
Target = Annotated[str | None, typer.Option(help="The stage to stop at.")]
File = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="Another Dockerfile, in the context or elsewhere.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SecretOption = Annotated[
    list[flags.GivenSecret] | None,
    typer.Option(parser=flags.secret, metavar="id=ID,src=FILE|env=NAME", help="For RUN --mount=type=secret."),
]
SshOption = Annotated[
    list[flags.Agent] | None,
    typer.Option(parser=flags.agent, metavar="default|ID=SOCKET", help="For RUN --mount=type=ssh."),
]
OutputOption = Annotated[
    Output | None,
    typer.Option(
        "--output",
        "-o",
        parser=flags.output,
        metavar="FOLDER|-|type=tar,dest=FILE",
        help="Where the result goes instead of an image; - is a tar on the standard output.",
    ),
]
_SHOWN_CHANGES = 12


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("build")(build_command)
    app.command("explore")(explore_command)


def build_command(
    context: Context,
    tag: Annotated[list[str] | None, typer.Option("--tag", "-t", help="A name for the image.")] = None,
    file: File = None,
    target: Target = None,
    build_arg: BuildArgs = None,
    no_cache: Annotated[bool, typer.Option(help="Run every step again.")] = False,
    secret: SecretOption = None,
    ssh: SshOption = None,
    output: OutputOption = None,
    why: Annotated[bool, typer.Option("--why", help="Say why each step ran or was cached.")] = False,
    as_json: Json = False,
) -> None:
    """Build a folder and say what every step did."""
    piped = isinstance(output, FileSend)
    if piped and as_json:
        raise typer.BadParameter("the standard output takes the result or JSON, not both")
    engine = engine_commands.find()
    history = cache.History()
    before = history.last(context, target=target, dockerfile=file)
    with cancellable() as cancel, working(f"building {context}") as say:
        record = cache.record(
            context,
            dockerfile=file,
            target=target,
            tags=tag or (),
            build_args=arguments(build_arg),
            no_cache=no_cache,
            secrets={given.id: given.value for given in secret or ()},
            ssh={given.id: given.socket for given in ssh or ()},
            output=output,
            engine=engine,
            on_vertex=lambda vertex, lines: _progress(vertex, lines, say),
            cancel=cancel,
        )
    _keep(history, record, context, file)
    steps = cache.explain(before, record) if why else ()
    if as_json:
        reasons = {"why": verdicts.as_json(steps)} if why else {}
        out.print_json(json.dumps(_trace_json(record.trace) | reasons))
        return
    console = err if piped else out
    if why:
        verdicts.print_steps(steps, console)
    _print_trace(record.trace, console, steps=not why)


def explore_command(
    context: Context,
    stage: Annotated[str | None, typer.Option(help="Only this stage.")] = None,
    file: File = None,
    target: Target = None,
    build_arg: BuildArgs = None,
    as_json: Json = False,
) -> None:
    """Build a folder and show what every instruction did to its stage's files."""
    _check_stages(file or context / "Dockerfile", build_arg, target, stage)
    engine = engine_commands.find()
    build_args = arguments(build_arg)
    with cancellable() as cancel, working(f"building {context}") as say:
        images.ensure(engine, [PROBE_IMAGE], report=say)
        trace = build_context(
            context,
            dockerfile=file,
            target=target,
            build_args=build_args,
            engine=engine,
            cancel=cancel,
            on_vertex=lambda vertex, lines: _progress(vertex, lines, say),
        )
        say("looking into the stages")
        exploration = explore(engine, context, trace, build_args=build_args, cancel=cancel)
    chosen = exploration.stages if stage is None else (exploration.stage(stage),)
    if as_json:
        out.print_json(json.dumps(_exploration_json(exploration, chosen)))
        return
    for files in chosen:
        out.print(_tree(files))


def arguments(pairs: list[str] | None) -> dict[str, str | None]:
    """`NAME=VALUE` strings as a mapping; a name alone takes the environment's value."""
    found: dict[str, str | None] = {}
    for pair in pairs or ():
        name, has_value, value = pair.partition("=")
        found[name] = value if has_value else os.environ.get(name)
    return found


def _check_stages(
    file: Path, build_arg: list[str] | None, target: str | None, stage: str | None = None
) -> None:
    """Refuse stages that the Dockerfile does not have, before an engine is asked for anything."""
    if target is None and stage is None:
        return
    given = {name: value for name, value in arguments(build_arg).items() if value is not None}
    dockerfile = load(file, given)
    needed = dockerfile.needed(target)
    if stage is not None and dockerfile.stage(stage).index not in needed:
        labels = [dockerfile.stages[index].label for index in needed]
        raise StageNotFound(stage, dockerfile.path, labels, "the build does not need it")


@contextmanager
def cancellable() -> Generator[Cancel]:
    """Ctrl-C stops the build in the engine, too, before the program ends."""
    cancel = Cancel()

    def stop(_: int, __: FrameType | None) -> None:
        cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    except BuildCancelled:
        err.print("cancelled; the engine has stopped the build", style="yellow")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGINT, before)


def _keep(history: cache.History, record: cache.BuildRecord, context: Path, file: Path | None) -> None:
    try:
        history.keep(record, context, dockerfile=file)
    except OSError as error:
        note = f"note: the next --why cannot compare with this build: {error}"
        err.print(note, style="yellow", markup=False, soft_wrap=True)


def _progress(vertex: Vertex, lines: tuple[LogLine, ...], say: Callable[[str], None]) -> None:
    say(lines[-1].text if lines else vertex.name)


def _print_trace(trace: BuildTrace, console: Console, *, steps: bool = True) -> None:
    for vertex in trace.vertices:
        if vertex.instruction is None or not steps:
            continue
        state = "CACHED" if vertex.cached else f"{vertex.seconds or 0:.1f} s"
        console.print(f"{state:>8}  {escape(vertex.name)}", soft_wrap=True)
    cached = sum(v.cached for v in trace.vertices)
    sent = markup.size(trace.context_bytes)
    summary = f"{trace.image_id or 'no image'}  {trace.seconds:.1f} s, {cached} cached, {sent} sent"
    console.print(summary, soft_wrap=True)
    for line in trace.missing:
        err.print(f"note: {line}", style="yellow", markup=False, soft_wrap=True)


def _trace_json(trace: BuildTrace) -> dict[str, object]:
    return {
        "image": trace.image_id,
        "backend": trace.backend,
        "seconds": round(trace.seconds, 3),
        "context_bytes": trace.context_bytes,
        "missing": list(trace.missing),
        "steps": [
            {
                "stage": trace.dockerfile.stages[v.stage].label,
                "line": trace.dockerfile.stages[v.stage].instructions[v.instruction].start_line,
                "name": v.name,
                "cached": v.cached,
                "seconds": v.seconds,
                "log": [line.text for line in v.logs],
            }
            for v in trace.vertices
            if v.stage is not None and v.instruction is not None
        ],
    }


def _exploration_json(exploration: Exploration, chosen: tuple[StageFiles, ...]) -> dict[str, object]:
    def entry(e: Entry) -> dict[str, object]:
        return {
            "path": _utf8(e.path),
            "kind": e.kind,
            "mode": f"{e.mode:04o}",
            "uid": e.uid,
            "gid": e.gid,
            "size": e.size,
            "mtime": e.mtime,
            "link_target": None if e.link_target is None else _utf8(e.link_target),
        }

    return {
        "dockerfile": exploration.trace.dockerfile.path,
        "stages": [
            {
                "name": files.stage.label,
                "files": len(files.final),
                "instructions": [
                    {
                        "line": i.start_line,
                        "text": markup.title(i, 500),
                        "added": [entry(e) for e in files.changes(i).added] if i.index else [],
                        "changed": [entry(after) for _, after in files.changes(i).changed],
                        "removed": [_utf8(e.path) for e in files.changes(i).removed],
                    }
                    for i in files.stage.instructions
                ],
            }
            for files in chosen
        ],
    }


def _tree(files: StageFiles) -> Tree:
    tree = Tree(f"[bold]{escape(files.stage.label)}[/bold]  {len(files.final)} files")
    for instruction in files.stage.instructions:
        change = files.changes(instruction)
        branch = tree.add(f"{escape(markup.title(instruction))}  [dim]{markup.counts(change)}[/dim]")
        if not instruction.index:
            continue
        rows = [
            *(("green", "+", e) for e in change.added),
            *(("yellow", "~", after) for _, after in change.changed),
            *(("red", "-", e) for e in change.removed),
        ]
        for colour, sign, e in rows[:_SHOWN_CHANGES]:
            branch.add(f"[{colour}]{sign} /{escape(_printable(e.path))}[/{colour}]  {markup.size(e.size)}")
        if len(rows) > _SHOWN_CHANGES:
            branch.add(f"[dim]and {len(rows) - _SHOWN_CHANGES} more (--json has them all)[/dim]")
    return tree


def _utf8(text: str) -> str:
    """A path for JSON: bytes that are not UTF-8 become replacement characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
