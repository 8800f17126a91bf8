"""The command `stagelens explore`: show what every instruction did to its stage's files."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.tree import Tree

from stagelens import build as build_context
from stagelens import text
from stagelens.cli import engine_commands
from stagelens.cli.build import (
    BUILD_ARGS,
    BUILD_CONTEXTS,
    CONTEXT,
    FILE,
    JSON,
    PLATFORM,
    TARGET,
    check_stages,
    parse_build_args,
    print_unread_ignore_files,
    report_cancellation,
    show_progress,
)
from stagelens.cli.console import out, print_json, spinner
from stagelens.dockerfile import Dockerfile, StageNotFound, find_dockerfile, load
from stagelens.humanize import format_size, instruction_title
from stagelens.snapshot import Diff, Entry, Exploration, StageFiles, explore

_SHOWN_CHANGES = 12


@click.command("explore")
@CONTEXT
@click.option("--stage", help="Only this stage.")
@FILE
@TARGET
@BUILD_ARGS
@PLATFORM
@BUILD_CONTEXTS
@JSON
def explore_command(
    context: Path,
    stage: str | None,
    file: Path | None,
    target: str | None,
    build_args: tuple[str, ...],
    platform: str | None,
    build_contexts: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """Show what every instruction did to its stage's files.

    CONTEXT is a folder with a Dockerfile, or any folder with --file. It is built first.
    """
    values = parse_build_args(build_args)
    path = find_dockerfile(context, file)
    check_stages(path, target, stage)
    print_unread_ignore_files(context, path)
    engine = engine_commands.find_engine()
    if stage is not None:
        given = {name: value for name, value in values.items() if value is not None}
        dockerfile = load(
            path,
            given,
            platform=platform,
            build_platform=engine.info.platform,
            target=target,
            build_contexts=dict(build_contexts),
        )
        _check_needed(dockerfile, target, stage)
    with report_cancellation(), spinner(f"building {context}") as update:
        trace = build_context(
            context,
            dockerfile=file,
            target=target,
            build_args=values,
            platform=platform,
            build_contexts=dict(build_contexts),
            engine=engine,
            on_vertex=lambda vertex, lines: show_progress(vertex, lines, update),
        )
        update("exploring the stages")
        exploration = explore(engine, context, trace)
    chosen = exploration.stages if stage is None else (exploration.stage(stage),)
    if as_json:
        print_json(_exploration_json(exploration, chosen))
        return
    for files in chosen:
        out.print(_tree(files))


def _check_needed(dockerfile: Dockerfile, target: str | None, stage: str) -> None:
    """Refuse a stage that the build does not need, before it is built."""
    needed = dockerfile.needed_stages(target)
    if dockerfile.stage(stage).index not in needed:
        labels = [dockerfile.stages[index].label for index in needed]
        raise StageNotFound(stage, dockerfile.path, labels, "the build does not need it")


def _exploration_json(exploration: Exploration, chosen: tuple[StageFiles, ...]) -> dict[str, object]:
    def entry(e: Entry) -> dict[str, object]:
        return {
            "path": text.file_name(e.path),
            "kind": e.kind,
            "mode": f"{e.mode:04o}",
            "uid": e.uid,
            "gid": e.gid,
            "size": e.size,
            "mtime": e.mtime,
            "link_target": None if e.link_target is None else text.file_name(e.link_target),
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
                        "text": text.inline(instruction_title(i, 500)),
                        "added": [entry(e) for e in files.changes(i).added] if i.index else [],
                        "changed": [entry(after) for _, after in files.changes(i).changed],
                        "removed": [text.file_name(e.path) for e in files.changes(i).removed],
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
        title = escape(text.inline(instruction_title(instruction)))
        branch = tree.add(f"{title}  [dim]{_summary(change)}[/dim]")
        if not instruction.index:
            continue
        rows = [
            *(("green", "+", e) for e in change.added),
            *(("yellow", "~", after) for _, after in change.changed),
            *(("red", "-", e) for e in change.removed),
        ]
        for color, sign, e in rows[:_SHOWN_CHANGES]:
            branch.add(f"[{color}]{sign} /{escape(text.file_name(e.path))}[/{color}]  {format_size(e.size)}")
        if len(rows) > _SHOWN_CHANGES:
            branch.add(f"[dim]and {len(rows) - _SHOWN_CHANGES} more (--json has them all)[/dim]")
    return tree


def _summary(change: Diff) -> str:
    kinds = {"added": change.added, "changed": change.changed, "removed": change.removed}
    parts = [f"{len(entries):,} {kind}" for kind, entries in kinds.items() if entries]
    size = format_size(change.bytes_added + change.bytes_changed)
    return f"{', '.join(parts)} ({size})" if parts else "no file changes"
