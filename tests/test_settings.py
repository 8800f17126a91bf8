"""Settings from environment variables and from the user's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagelens.paths import cache_dir, state_dir
from stagelens.settings import Settings, SettingsInvalid, config_file


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HOME", "REGISTRY_MIRROR", "EXTRA_CA"):
        monkeypatch.delenv(f"STAGELENS_{name}", raising=False)
    path = config_file()
    path.parent.mkdir(parents=True)
    return path


def test_defaults(file: Path) -> None:
    assert (Settings().home, Settings().registry_mirror, Settings().extra_ca) == (None, None, None)


def test_variable_overrides_the_file_unless_empty(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('registry_mirror = "file.example"\n')
    assert Settings().registry_mirror == "file.example"
    monkeypatch.setenv("STAGELENS_REGISTRY_MIRROR", "variable.example")
    assert Settings().registry_mirror == "variable.example"
    monkeypatch.setenv("STAGELENS_REGISTRY_MIRROR", "")
    assert Settings().registry_mirror == "file.example"


@pytest.mark.parametrize(
    ("text", "word"), [("registry_miror = 'x'", "registry_miror"), ("home = 3", "home"), ("home =", "")]
)
def test_invalid_file_is_reported_with_its_path(file: Path, text: str, word: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsInvalid) as caught:
        Settings()
    assert caught.value.where == str(file)
    assert word in (caught.value.why or "")


def test_home_moves_state_and_cache(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path / "lens"))
    assert (state_dir(), cache_dir()) == (tmp_path / "lens/state", tmp_path / "lens/cache")
    assert state_dir().is_dir()
    monkeypatch.setenv("STAGELENS_HOME", "~/lens")
    assert Settings().home == tmp_path / "lens"


def test_relative_home_is_rejected(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STAGELENS_HOME", "lens")
    with pytest.raises(SettingsInvalid, match=f"home: it must be an absolute path, such as {tmp_path}/lens"):
        state_dir()
