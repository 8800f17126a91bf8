"""Replicas made with an extra CA trust a TLS server whose certificate that CA signed.

Server and clients share one container's loopback, so nothing leaves the machine.
"""

from __future__ import annotations

import io
import os
import secrets
import ssl
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from docker.errors import NotFound
from stagelens_testing.resources import wait_until

from stagelens.engine import Engine
from stagelens_course import images

pytestmark = [
    pytest.mark.engine,
    pytest.mark.network,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="replicas are made by root on Debian"
    ),
]
NAMESPACE = f"sltest-trust-{secrets.token_hex(3)}"  # parallel runs need different names
SERVER = """
const fs = require('fs');
const options = {key: fs.readFileSync('/key.pem'), cert: fs.readFileSync('/cert.pem')};
const server = require('https').createServer(options, (request, response) => response.end('trusted\\n'));
server.listen(8443, '127.0.0.1', () => console.log('listening'));
"""
NODE = """
require('https').get('https://localhost:8443', r => r.pipe(process.stdout))
  .on('error', e => { console.log(e.code); process.exit(1) });
"""
JAVA = """
public class Fetch {
  public static void main(String[] args) throws Exception {
    try (var in = new java.net.URL("https://localhost:8443").openStream()) { in.transferTo(System.out); }
  }
}
"""
OPENSSL = (
    "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -ign_eof -verify_return_error "
    "-CAfile /etc/ssl/certs/ca-certificates.crt -connect localhost:8443 2>/dev/null"
)
# (image, files, command)
Run = Callable[[str, dict[str, str], list[str]], tuple[int, str]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def replicas(
    engine: Engine, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    file: Path = tmp_path_factory.mktemp("ca") / "extra.pem"
    authority.cert_pem.write_to_path(str(file))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAGELENS_EXTRA_CA", str(file))
        images.ensure(engine, source="replica", namespace=NAMESPACE)
    yield
    for name in images.NAMES:
        with suppress(NotFound):
            engine.api.remove_image(f"{NAMESPACE}/{name.partition('/')[2]}", force=True)


@pytest.fixture
def run(engine: Engine, authority: trustme.CA, replicas: None, unique: str, clean: object) -> Run:
    issued = authority.issue_cert("localhost")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems).decode()
    files = {"server.js": SERVER, "key.pem": issued.private_key_pem.bytes().decode(), "cert.pem": chain}
    server = start(engine, f"{unique}-server", f"{NAMESPACE}/node", files, ["node", "/server.js"], None)
    wait_until(lambda: b"listening" in engine.api.logs(server), "the server's beginning")

    def client(image: str, files: dict[str, str], command: list[str]) -> tuple[int, str]:
        container = start(engine, f"{unique}-client", image, files, command, f"container:{server}")
        code = engine.api.wait(container)["StatusCode"]
        return code, engine.api.logs(container).decode()

    return client


def start(
    engine: Engine, name: str, image: str, files: dict[str, str], command: list[str], network: str | None
) -> str:
    host = engine.api.create_host_config(network_mode=network or "none")
    container: str = engine.api.create_container(image, command, name=name, host_config=host)["Id"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    engine.api.put_archive(container, "/", buffer.getvalue())
    engine.api.start(container)
    return container


def test_node_trusts_the_extra_ca(run: Run) -> None:
    assert run(f"{NAMESPACE}/node", {}, ["node", "-e", NODE]) == (0, "trusted\n")


def test_image_without_the_extra_ca_rejects_the_server(run: Run) -> None:
    code, output = run("diamol/node", {}, ["node", "-e", NODE])
    assert code == 1
    assert "UNABLE_TO_VERIFY_LEAF_SIGNATURE" in output or "SELF_SIGNED_CERT_IN_CHAIN" in output


def test_java_trusts_the_extra_ca(run: Run) -> None:
    code, output = run(f"{NAMESPACE}/maven", {"Fetch.java": JAVA}, ["java", "/Fetch.java"])
    assert (code, output) == (0, "trusted\n")


def test_java_trust_store_holds_the_extra_ca(run: Run, authority: trustme.CA) -> None:
    file = "/etc/ssl/certs/java/cacerts"
    command = ["keytool", "-list", "-rfc", "-keystore", file, "-storepass", "changeit"]
    code, output = run(f"{NAMESPACE}/openjdk", {}, command)
    assert code == 0
    assert _body(authority) in _flat(output)


@pytest.mark.parametrize("kind", ["golang", "openjdk"])
def test_programs_that_read_the_system_bundle_trust_the_extra_ca(run: Run, kind: str) -> None:
    code, output = run(f"{NAMESPACE}/{kind}", {}, ["sh", "-c", OPENSSL])
    assert code == 0
    assert output.endswith("trusted\n")


def test_bundle_of_the_base_image_holds_the_extra_ca(run: Run, authority: trustme.CA) -> None:
    code, output = run(f"{NAMESPACE}/base", {}, ["cat", "/etc/ssl/certs/ca-certificates.crt"])
    assert code == 0
    assert _body(authority) in _flat(output)


def _body(authority: trustme.CA) -> str:
    der = ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
    return _flat(ssl.DER_cert_to_PEM_cert(der))


def _flat(text: str) -> str:
    return "".join(text.split())
