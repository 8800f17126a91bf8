"""Findings of the doctor about proxies, settings and engines, with real faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stagelens.cli import proxies
from stagelens.cli.doctor import examine
from stagelens.cli.findings import Finding


def findings_of(name: str) -> list[Finding]:
    """Return the findings of that name."""
    return [finding for finding in proxies.examine(None) if finding.name == name]


def test_no_proxies_are_reported_as_none_set(bare_home: Path) -> None:
    found = {finding.name: finding.text for finding in proxies.examine(None)}
    assert found["proxies"] == found["proxies in docker's configuration"] == "none set"


def test_passwords_of_proxies_are_hidden(bare_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:s3cret@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "localhost")
    (finding,) = findings_of("proxies")
    assert finding.text == "NO_PROXY=localhost, https_proxy=http://***@proxy.example:3128"
    assert "s3cret" not in json.dumps(finding.facts)


def test_proxies_in_dockers_configuration_are_reported(bare_home: Path) -> None:
    (bare_home / ".docker").mkdir()
    configured = {"default": {"httpProxy": "http://proxy.example:1", "noProxy": "a,b"}}
    (bare_home / ".docker/config.json").write_text(json.dumps({"proxies": configured}))
    (finding,) = findings_of("proxies in docker's configuration")
    assert finding.facts == {"HTTP_PROXY": "http://proxy.example:1", "NO_PROXY": "a,b"}


@pytest.mark.parametrize("content", ["{", "[]", '{"proxies": {"default": "x"}}'])
def test_damaged_docker_configuration_is_noted(bare_home: Path, content: str) -> None:
    (bare_home / ".docker").mkdir()
    (bare_home / ".docker/config.json").write_text(content)
    (finding,) = findings_of("proxies in docker's configuration")
    assert finding.state == "note"
    assert str(bare_home / ".docker/config.json") in finding.text
    assert finding.remedy


@pytest.mark.parametrize(
    ("value", "noted"),
    [
        ("http://127.0.0.1:3128", True),
        ("http://me:pw@localhost", True),
        ("localhost:3128", True),
        ("http://127.proxy.example:3128", False),
        ("http://localhost.example:3128", False),
    ],
)
def test_loopback_proxy_is_noted(
    bare_home: Path, monkeypatch: pytest.MonkeyPatch, value: str, noted: bool
) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    assert [f.state for f in findings_of("proxies for builds")] == ["note"] * noted


def test_unwritable_home_is_a_problem(bare_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare_home / "file").touch()
    monkeypatch.setenv("STAGELENS_HOME", str(bare_home / "file"))
    (finding,) = examine()
    assert (finding.name, finding.state) == ("settings", "problem")
    assert str(bare_home / "file") in finding.text


def test_invalid_settings_are_a_problem(bare_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGELENS_LANGUAGE", "tlh")
    (finding,) = examine()
    assert (finding.name, finding.state) == ("settings", "problem")
    assert "language" in finding.text


def test_dead_engine_in_docker_host_is_a_problem(bare_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{bare_home}/dead")
    monkeypatch.setenv("STAGELENS_HOME", str(bare_home))
    monkeypatch.setattr("stagelens.engine.discovery.SYSTEM_RUN", bare_home)
    finding = next(iter(examine()))
    assert (finding.name, finding.state) == ("engine", "problem")
    assert "no such socket" in finding.text
    assert "unset DOCKER_HOST" in (finding.remedy or "")
