"""Findings of the doctor about certificates, mirrors, ports and images, with real faults."""

from __future__ import annotations

import datetime
import re
import socket
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stagelens.cli.doctor import examine
from stagelens.cli.findings import Finding
from stagelens.engine import Engine
from stagelens_course.cli.doctor import examine_course


def findings_of(name: str, folder: Path = Path("/nowhere")) -> list[Finding]:
    """Return the findings of that name; `folder` stands for the host's folder of local CAs."""
    return [finding for finding in examine_course(None, folder) if finding.name == name]


def test_no_certificates_and_mirror_are_reported_as_none(bare_home: Path) -> None:
    found = {finding.name: finding.text for finding in examine_course(None, bare_home / "ca")}
    assert (found["extra CA"], found["registry mirror"]) == ("none", "none set")


def test_certificates_are_listed_with_last_day(bare_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trustme.CA(organization_name="Host Org").cert_pem.write_to_path(str(bare_home / "ca/host.crt"))
    trustme.CA(organization_name="Set Org").cert_pem.write_to_path(str(bare_home / "set.pem"))
    monkeypatch.setenv("STAGELENS_EXTRA_CA", str(bare_home / "set.pem"))
    (finding,) = findings_of("extra CA", bare_home / "ca")
    assert finding.state == "ok"
    assert f"({bare_home / 'ca/host.crt'}), until 3000" in finding.text
    assert f"({bare_home / 'set.pem'}), until 3000" in finding.text


def make_ca(first: int, last: int, ca: bool = True) -> bytes:
    """Return a certificate that is valid from `first` to `last`, in days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "An Authority")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now + datetime.timedelta(first))
    made = made.not_valid_after(now + datetime.timedelta(last))
    made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (make_ca(-9, -1), "expired on"),
        (make_ca(1, 9), "clock"),
        (make_ca(-1, 9, ca=False), "may not sign"),
        (b"-----BEGIN CERTIFICATE-----\nMIIBszCC\n-----END CERTIFICATE-----\n", "damaged"),
        (b"nothing\n", "no certificate"),
        (None, "cannot be read"),
    ],
)
def test_useless_certificate_of_the_host_is_noted(bare_home: Path, content: bytes | None, words: str) -> None:
    path = bare_home / "ca/bad.crt"
    if content is None:
        path.symlink_to("nowhere")
    else:
        path.write_bytes(content)
    bad, rest = findings_of("extra CA", bare_home / "ca")
    assert (bad.state, rest.text) == ("note", "none")
    assert words in bad.text
    assert str(path) in bad.text
    assert "update-ca-certificates" in (bad.remedy or "")


@pytest.mark.parametrize("kind", ["missing", "empty folder", "no certificate"])
def test_setting_without_a_certificate_is_a_problem(
    bare_home: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = bare_home / "set"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "no certificate":
        path.write_text("nothing")
    monkeypatch.setenv("STAGELENS_EXTRA_CA", str(path))
    problem = findings_of("extra CA", bare_home / "ca")[0]
    assert problem.state == "problem"
    assert "STAGELENS_EXTRA_CA" in (problem.remedy or "")


def test_registry_mirror_is_reported(bare_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGELENS_REGISTRY_MIRROR", "mirror.example:5000")
    (finding,) = findings_of("registry mirror")
    assert finding.text == "STAGELENS_REGISTRY_MIRROR=mirror.example:5000"


def test_port_in_use_by_another_program_is_noted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (finding,) = (f for f in examine_course(None, ports=[port]) if f.name == f"port {port}")
    assert (finding.state, finding.text) == ("note", "in use by another program")


@pytest.mark.engine
def test_port_in_use_by_a_container_names_the_container(
    engine: Engine, bare_home: Path, unique: str, clean: object
) -> None:
    host = engine.api.create_host_config(port_bindings={80: ("127.0.0.1", None)})
    made = engine.api.create_container(
        "diamol/base", ["sleep", "600"], name=unique, ports=[80], host_config=host, stop_signal="SIGKILL"
    )
    engine.api.start(made)
    port = int(engine.api.port(made, 80)[0]["HostPort"])
    finding = next(f for f in examine_course(engine, ports=[port]) if f.name == f"port {port}")
    assert (finding.state, finding.facts) == ("note", {"container": unique})


@pytest.mark.engine
def test_facts_are_documented(engine: Engine, bare_home: Path) -> None:
    rows = (Path(__file__).parents[3] / "docs/reference/doctor.md").read_text().splitlines()
    cells = [row.strip("|").split(" | ", 1) for row in rows if row.startswith("| `")]
    documented = {re.findall(r"`([^`]+)`", names)[0]: facts for names, facts in cells}
    # The findings depend on the host's folder of CAs; the names of the facts do not.
    for finding in examine(examine_course):
        name = "diamol/base" if finding.name.startswith("diamol/") else finding.name
        name = "port 800" if name.startswith("port ") else name
        if "variables" not in documented[name]:
            listed = set(re.findall(r"`([^`]+)`", documented[name]))
            assert finding.facts.keys() <= listed, finding.name
