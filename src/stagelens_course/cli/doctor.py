"""The command `stagelens doctor` with what lessons need: images, certificates, a mirror and ports."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from stagelens.cli.doctor import attempt_fix, examine, report
from stagelens.cli.findings import Finding, State
from stagelens.engine import Engine
from stagelens.humanize import format_size
from stagelens.settings import Settings
from stagelens_course import images
from stagelens_course.apps import APPLICATIONS, names
from stagelens_course.cli.images import provide_images
from stagelens_course.images import certificates


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Fix what can be fixed safely.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as docs/reference/doctor.md describes it.")
def doctor_command(fix: bool, as_json: bool) -> None:
    """Check that lessons can run here; exit 0 only if they can.

    --fix starts a private engine where none answers and provides the base images; it removes and replaces
    nothing.
    """
    fixed = attempt_fix(provide_images) if fix else ()
    report([*fixed, *examine(examine_course)], as_json)


def examine_course(
    engine: Engine | None,
    authorities: Path = certificates.HOST_FOLDER,
    ports: Iterable[int] = tuple(each.port for each in APPLICATIONS),
) -> Iterator[Finding]:
    """Examine what lessons need, without a change.

    Parameters
    ----------
    engine
        The engine that lessons use; None where none answers.
    authorities
        The folder with this machine's local certificate authorities.
    ports
        The ports that the applications publish.

    Yields
    ------
    Finding
        What was found.
    """
    if engine is not None:
        yield from _images(engine)
    yield from _certificates(authorities)
    yield _mirror(engine)
    rows: list[dict[str, Any]] = engine.api.containers() if engine else []
    yield from map(partial(_port, rows=rows), ports)


def _images(engine: Engine) -> Iterator[Finding]:
    for image in images.describe(engine):
        facts = asdict(image)
        if image.origin == "missing":
            needed = any(image.name in names for names in images.LESSON_IMAGES.values())
            state: State = "problem" if needed else "note"
            yield Finding(image.name, state, "missing", f"stagelens images {image.name}", facts)
        else:
            yield Finding(
                image.name, "ok", f"{image.origin}, {format_size(image.size)} unpacked", facts=facts
            )


def _certificates(folder: Path) -> Iterator[Finding]:
    """Examine the extra CAs of the host's local folder and of the setting."""
    try:
        certificates.extra_certificates(folder)
    except images.ImagesError as error:
        yield Finding("extra CA", "problem", f"{error.what} {error.where}: {error.why}", error.remedy)
    setting = Settings().extra_ca
    found = certificates.inspect_certificates(folder)
    for each in found:
        if each.problem:
            ours = setting is not None and each.path.is_relative_to(setting)
            remedy = "replace or remove the file" + ("" if ours else ", then run: update-ca-certificates")
            label = f"{each.subject}: " if each.subject else ""
            yield Finding("extra CA", "note", f"{label}{each.path} {each.problem}", remedy, _facts(each))
    good = [each for each in found if each.problem is None]
    lines = [f"{each.subject} ({each.path}), until {_day(each.expires)}" for each in good]
    facts = {"setting": str(setting) if setting else None, "certificates": [_facts(c) for c in found]}
    yield Finding("extra CA", "ok", "; ".join(lines) or "none", facts=facts)


def _facts(certificate: certificates.Certificate) -> dict[str, object]:
    return {
        "path": str(certificate.path),
        "subject": certificate.subject,
        "expires": _day(certificate.expires),
        "problem": certificate.problem,
    }


def _day(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _mirror(engine: Engine | None) -> Finding:
    setting = Settings().registry_mirror
    mirrors = list(engine.info.mirrors) if engine else []
    parts = [f"STAGELENS_REGISTRY_MIRROR={setting}"] if setting else []
    parts += [f"the engine's: {', '.join(mirrors)}"] if mirrors else []
    text = "; ".join(parts) or "none set"
    return Finding("registry mirror", "ok", text, facts={"setting": setting, "engine": mirrors})


def _port(port: int, rows: list[dict[str, Any]]) -> Finding:
    """Examine a port; a busy one is no problem, since `up` takes the next free one."""
    name = f"port {port}"
    for row in rows:
        if any(each.get("PublicPort") == port for each in row.get("Ports") or ()):
            holder = str(row["Names"][0]).lstrip("/")
            if names.APP_LABEL in (row.get("Labels") or {}):
                return Finding(
                    name, "ok", f"used by the course's container {holder}", facts={"container": holder}
                )
            remedy = f"docker stop {holder}, or let stagelens up take the next free port"
            text = f"in use by the container {holder}"
            return Finding(name, "note", text, remedy, {"container": holder})
    with socket.socket() as trial:
        # Ignore connections that have just ended.
        if os.name == "posix":
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except PermissionError:
            return Finding(name, "ok", "needs privileges here; the engine usually has them")
        except OSError:
            remedy = "stop what uses it, or let stagelens up take the next free port"
            return Finding(name, "note", "in use by another program", remedy)
    return Finding(name, "ok", "free")
