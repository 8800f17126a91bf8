"""Builds through a session over TCP and over TLS with certificates of both sides, as for a remote engine."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from stagelens_testing.resources import PATIENCE

import stagelens
from stagelens.engine import Engine, connect

pytestmark = pytest.mark.engine


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
    writer.close()


@contextmanager
def remote(engine: Engine, context: ssl.SSLContext | None) -> Generator[int]:
    """The engine behind a TCP port on loopback, with TLS where there is a context; gives the port."""
    ready: list[int] = []
    begun, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(engine.address.removeprefix("unix://"))
        await asyncio.gather(relay(reader, far_writer), relay(far_reader, writer))

    async def serve() -> None:
        server = await asyncio.start_server(both, "127.0.0.1", 0, ssl=context)
        ready.append(server.sockets[0].getsockname()[1])
        begun.set()
        await over.wait()
        server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert begun.wait(PATIENCE)
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def certificates(folder: Path) -> ssl.SSLContext:
    """docker's three files for a client in `folder`; the server's side, which asks for the client's."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    client = authority.issue_cert("client")
    client.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    client.private_key_pem.write_to_path(str(folder / "key.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_session_works_with_a_remote_engine(
    tls: bool, engine: Engine, tmp_path: Path, unique: str, clean: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        "FROM diamol/base\nCOPY big text /\n"
        "RUN --mount=type=secret,id=word cat /run/secrets/word /text > /both\n"
    )
    (context / "big").write_bytes(bytes(range(256)) * 20_000)
    (context / "text").write_text(unique)
    if tls:
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
        # A company's proxy has its own: that says nothing about the engine's.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", ssl.get_default_verify_paths().openssl_cafile)
    with remote(engine, certificates(tmp_path) if tls else None) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        far = connect(start=False)
        try:
            assert far.api.base_url.startswith("https" if tls else "http:")
            trace = stagelens.build(context, tags=[unique], secrets={"word": b"secret "}, engine=far)
            assert (trace.backend, trace.context_bytes) == ("session", 5_120_000 + len(unique))
            lens = stagelens.explore(context, trace, engine=far)
            assert stagelens.read_file(lens, 0, None, "both").text == f"secret {unique}"
        finally:
            far.api.close()
