"""Examine the proxies of this machine, of Docker's configuration and of the engine for the doctor."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from stagelens.cli.findings import Finding
from stagelens.engine import Engine, private_engine

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
_LOOPBACK = re.compile(r"^(?:\w+://)?(?:[^@/]*@)?(?:localhost|127\.[\d.]+|\[::1\])(?:[:/]|$)")


def examine(engine: Engine | None) -> Iterator[Finding]:
    """Examine the proxies of the environment, of Docker's configuration for builds, and of the engine.

    Nothing is changed, and passwords are hidden.

    Parameters
    ----------
    engine
        The engine; None where none answers.

    Yields
    ------
    Finding
        What was found.
    """
    environment = {name: os.environ[name] for name in sorted(os.environ) if name.upper() in PROXIES}
    yield _proxy("proxies", environment)
    configured, problem = _docker_configuration(engine.address if engine else "")
    if problem:
        remedy = "correct the file; until then docker and stagelens build as if it were empty"
        yield Finding("proxies in docker's configuration", "note", problem, remedy)
    else:
        yield _proxy("proxies in docker's configuration", configured)
    for where, given in (("the environment", environment), ("docker's configuration", configured)):
        local = sorted(name for name, value in given.items() if _is_proxy(name) and _LOOPBACK.match(value))
        if local:
            text = f"{', '.join(local)} of {where} is a loopback address, which build steps cannot reach"
            remedy = (
                "use an address of the proxy that containers can reach, such as this machine's in the network"
            )
            yield Finding("proxies for builds", "note", text, remedy)
    if engine:
        yield _engine_proxies(engine, environment | configured)


def _proxy(name: str, given: Mapping[str, str]) -> Finding:
    shown = {key: _without_password(value) for key, value in given.items()}
    text = ", ".join(f"{key}={value}" for key, value in shown.items()) or "none set"
    return Finding(name, "ok", text, facts=shown)


def _engine_proxies(engine: Engine, given: Mapping[str, str]) -> Finding:
    """Examine the proxies that the engine pulls images with."""
    configured = dict(engine.info.proxies)
    found = _proxy("the engine's proxies", configured)
    if any(_is_proxy(key) for key in configured) or not any(_is_proxy(key) for key in given):
        return found
    remedy = (
        "stagelens engine stop, then start it again with these variables"
        if engine.address == private_engine().address
        else "set the proxy in the engine's settings, too (docs.docker.com/engine/daemon/proxy)"
    )
    return Finding(found.name, "note", "none set: the engine pulls images without a proxy", remedy)


def _is_proxy(name: str) -> bool:
    return name.upper() != "NO_PROXY"


def _without_password(value: str) -> str:
    return re.sub(r"^(\w+://)?[^@/]*@", r"\1***@", value)


def _docker_configuration(address: str) -> tuple[dict[str, str], str | None]:
    """Return an engine's proxies in ~/.docker/config.json as variables, and what is wrong with the file.

    Format: https://docs.docker.com/engine/cli/proxy/
    """
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        proxies = json.loads(path.read_bytes()).get("proxies") or {}
        chosen: Mapping[str, object] = proxies.get(address) or proxies.get("default") or {}
        pairs = {re.sub(r"Proxy$", "_PROXY", key).upper(): str(value) for key, value in chosen.items()}
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError, AttributeError) as error:
        return {}, f"{path} cannot be read: {error}"
    return {name: value for name, value in pairs.items() if name in PROXIES}, None
