"""What the doctor finds about proxies, settings and engines; each fault is a real one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stagelens.cli import proxies
from stagelens.cli.doctor import examine
from stagelens.cli.findings import Finding


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without proxies, settings, extra CAs or an engine; the folder is its home."""
    for name in proxies.PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("DOCKER_CONFIG", "DOCKER_CONTEXT", "STAGELENS_EXTRA_CA", "STAGELENS_REGISTRY_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "ca").mkdir()
    return tmp_path


def look(name: str) -> list[Finding]:
    """Return the findings of that name."""
    return [finding for finding in proxies.examine(None) if finding.name == name]


def test_nothing_set(here: Path) -> None:
    found = {finding.name: finding.text for finding in proxies.examine(None)}
    assert found["proxies"] == found["proxies in docker's configuration"] == "none set"


def test_proxies_are_shown_without_their_passwords(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:s3cret@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "localhost")
    (finding,) = look("proxies")
    assert finding.text == "NO_PROXY=localhost, https_proxy=http://***@proxy.example:3128"
    assert "s3cret" not in json.dumps(finding.facts)


def test_proxies_of_dockers_configuration(here: Path) -> None:
    (here / ".docker").mkdir()
    configured = {"default": {"httpProxy": "http://proxy.example:1", "noProxy": "a,b"}}
    (here / ".docker/config.json").write_text(json.dumps({"proxies": configured}))
    (finding,) = look("proxies in docker's configuration")
    assert finding.facts == {"HTTP_PROXY": "http://proxy.example:1", "NO_PROXY": "a,b"}


@pytest.mark.parametrize("content", ["{", "[]", '{"proxies": {"default": "x"}}'])
def test_a_configuration_that_docker_cannot_read(here: Path, content: str) -> None:
    (here / ".docker").mkdir()
    (here / ".docker/config.json").write_text(content)
    (finding,) = look("proxies in docker's configuration")
    assert finding.state == "note"
    assert str(here / ".docker/config.json") in finding.text
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
def test_a_proxy_that_build_steps_cannot_reach(
    here: Path, monkeypatch: pytest.MonkeyPatch, value: str, noted: bool
) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    assert [f.state for f in look("proxies for builds")] == ["note"] * noted


def test_a_home_that_cannot_be_written_is_a_finding(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "file").touch()
    monkeypatch.setenv("STAGELENS_HOME", str(here / "file"))
    (finding,) = examine()
    assert (finding.name, finding.state) == ("settings", "problem")
    assert str(here / "file") in finding.text


def test_settings_that_cannot_be_read_are_a_finding(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGELENS_LANGUAGE", "tlh")
    (finding,) = examine()
    assert (finding.name, finding.state) == ("settings", "problem")
    assert "language" in finding.text


def test_a_dead_engine_that_somebody_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{here}/dead")
    monkeypatch.setenv("STAGELENS_HOME", str(here))
    monkeypatch.setattr("stagelens.engine.discovery.SYSTEM_RUN", here)
    finding = next(iter(examine()))
    assert (finding.name, finding.state) == ("engine", "problem")
    assert "no such socket" in finding.text
    assert "unset DOCKER_HOST" in (finding.remedy or "")
