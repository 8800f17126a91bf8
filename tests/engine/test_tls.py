"""Messages about an engine behind TLS whose files, names or dates do not match.

The server is a registry: like an engine, it has Go's HTTP and TLS with their words and alerts.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from stagelens_testing import packages
from stagelens_testing.registry import registry

from stagelens.cli.doctor import examine
from stagelens.engine import Engine, EngineNotFound, connect

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(packages.unavailable_reason() is not None, reason=packages.unavailable_reason() or ""),
]
OLD = {
    "not_before": datetime.datetime(2019, 1, 1, tzinfo=datetime.UTC),
    "not_after": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
}
Change = Callable[[Path, trustme.CA], object]


def client(folder: Path, authority: trustme.CA, **dates: datetime.datetime) -> None:
    """Write a user's certificate and key with docker's file names."""
    certificate = authority.issue_cert("client", **dates)
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")


def server(folder: Path, authority: trustme.CA, name: str, **dates: datetime.datetime) -> None:
    certificate = authority.issue_cert(name, **dates)
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server-key.pem")


@contextmanager
def connection_error(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch, change: Change, tls: bool = True
) -> Iterator[EngineNotFound]:
    """Connect to a server at DOCKER_HOST, after `change` to the files that match; yield the error."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.cert_pem.write_to_path(folder / "clients.pem")
    client(folder, authority)
    server(folder, authority, "127.0.0.1")
    change(folder, authority)
    if tls:
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(folder))
    with registry(engine, tls=folder) as found:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{found.address}")
        with pytest.raises(EngineNotFound) as caught:
            connect(start=False)
        yield caught.value


CASES: list[tuple[str, Change, str, str]] = [
    (
        "a CA that has not signed it",
        lambda folder, ca: trustme.CA().cert_pem.write_to_path(folder / "ca.pem"),
        "the CA in {folder}/ca.pem has not signed the engine's certificate",
        "put the certificate of the CA that signed the engine's into {folder}/ca.pem",
    ),
    (
        "another name",
        lambda folder, ca: server(folder, ca, "engine.example"),
        "the engine's certificate is for another name",
        "use a name that is in its certificate",
    ),
    (
        "an old certificate of the engine",
        lambda folder, ca: server(folder, ca, "127.0.0.1", **OLD),
        "the engine's certificate is not valid now: certificate has expired",
        "renew it",
    ),
    (
        "an old certificate of the user",
        lambda folder, ca: client(folder, ca, **OLD),
        "the engine reports that your certificate {folder}/cert.pem has expired",
        "ask the engine's administrator for a new cert.pem and key.pem",
    ),
    (
        "a certificate of another CA",
        lambda folder, ca: client(folder, trustme.CA()),
        "the engine does not accept your certificate {folder}/cert.pem",
        "ask the engine's administrator for a cert.pem and key.pem of its CA",
    ),
    (
        "a key of another certificate",
        lambda folder, ca: ca.issue_cert("x").private_key_pem.write_to_path(folder / "key.pem"),
        "{folder}/key.pem is not the key of {folder}/cert.pem",
        "are ca.pem, cert.pem and key.pem",
    ),
    (
        "a file that is no certificate",
        lambda folder, ca: (folder / "ca.pem").write_text("nothing"),
        "{folder}/ca.pem, {folder}/cert.pem or {folder}/key.pem cannot be read",
        "are ca.pem, cert.pem and key.pem",
    ),
    (
        "missing files",
        lambda folder, ca: [(folder / name).unlink() for name in ("cert.pem", "key.pem")],
        "the TLS settings do not work: {folder} has no cert.pem, key.pem",
        "set DOCKER_CERT_PATH to the folder that has them",
    ),
]


@pytest.mark.parametrize(
    ("change", "reason", "remedy"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_mismatch_is_reported_with_its_file_and_a_remedy(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, reason: str, remedy: str
) -> None:
    with connection_error(engine, tmp_path, monkeypatch, change) as error:
        (rejected,) = error.rejected
        assert reason.format(folder=tmp_path) in rejected.reason
        assert remedy.format(folder=tmp_path) in (error.remedy or "")
        (finding,) = [found for found in examine() if found.name == "engine"]
        assert rejected.reason in finding.text
        assert finding.remedy == error.remedy


def test_tls_port_is_asked_without_tls(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(variable, raising=False)
    with connection_error(engine, tmp_path, monkeypatch, lambda *_: None, tls=False) as error:
        assert error.rejected[0].reason == "the engine uses TLS, and the request did not"
        assert "export DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=" in (error.remedy or "")


def test_plain_port_is_asked_with_tls(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client(tmp_path, authority)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with registry(engine) as found:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{found.address}")
        with pytest.raises(EngineNotFound, match="does not use TLS") as caught:
            connect(start=False)
    assert "unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH" in (caught.value.remedy or "")
