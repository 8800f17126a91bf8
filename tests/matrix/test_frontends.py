"""`# syntax=`: a real frontend, pulled through the session from a registry that wants a login."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stagelens_testing import frontend
from stagelens_testing.registry import PASSWORD, USER, Registry
from stagelens_testing.resources import wait_until

import stagelens
from stagelens.builds import BuildFailed
from stagelens.engine import Engine, connect

pytestmark = [pytest.mark.engine, pytest.mark.network]

# Engine 20.10's own frontend knows neither here-documents nor --link.
TEXT = """\
# escape=\\
# syntax={frontend}
FROM diamol/base AS work
COPY --link a /linked/a
RUN --mount=type=secret,id=pw <<EOF
cat /linked/a
wc -c < /run/secrets/pw
EOF
FROM scratch
COPY --from=work /linked /
"""


@pytest.mark.timeout(1200)  # the frontend is built here once, with Go
def test_frontend_is_pulled_with_the_login_and_builds_through_the_session(
    engine: Engine,
    login_registry: Registry,
    tmp_path: Path,
    unique: str,
    clean: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if reason := frontend.unavailable_reason():
        pytest.skip(reason)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    image = frontend.push(login_registry, engine, unique)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(TEXT.format(frontend=image))
    (context / "a").write_text(f"{unique}\n")

    def build(client: Engine) -> stagelens.BuildTrace:
        return stagelens.build(context, engine=client, secrets={"pw": b"1234567"}, tags=[f"{unique}:x"])

    with configured(engine, tmp_path, {}) as client, pytest.raises(BuildFailed) as caught:
        build(client)
    assert caught.value.line == 2
    assert f"docker login {login_registry.address}" in str(caught.value)

    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    with configured(engine, tmp_path, {"auths": {login_registry.address: {"auth": login}}}) as client:
        trace = build(client)
        files = stagelens.explore(context, trace, engine=client)
    pulled = f"GET /v2/course/{unique}-frontend/blobs/"
    both = "the pull of a layer and a configuration"
    wait_until(
        lambda: len({line for line in login_registry.requests() if line.startswith(pulled)}) == 2, both
    )
    assert trace.backend == "session"
    step = trace.vertex(0, 2)
    assert step is not None
    assert [line.text for line in step.logs] == [unique, "7"]
    assert [entry.path for entry in files.stage(0).changes(1).added] == ["linked", "linked/a"]


@contextmanager
def configured(engine: Engine, folder: Path, config: dict[str, object]) -> Generator[Engine]:
    """A client that has read this as docker's config file."""
    (folder / "config.json").write_text(json.dumps(config))
    client = connect(engine.address, start=False)
    try:
        yield client
    finally:
        client.api.close()
