"""The front-end sources pass their checks and tests, and the bundles in the package are built from them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
FOLDERS = (SRC / "stagelens/views", SRC / "stagelens_course/apps")
BUNDLES = [path for folder in FOLDERS for path in (folder / "static").iterdir()]

pytestmark = [pytest.mark.browser, pytest.mark.network]


@pytest.mark.parametrize("script", ["check", "test"])
def test_front_end_passes_its_own_checks_and_tests(frontend: Path, script: str) -> None:
    subprocess.run(["npm", "run", script], cwd=frontend, check=True)


def test_committed_bundles_equal_a_fresh_build(frontend: Path, tmp_path: Path) -> None:
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=frontend, check=True)
    built = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.glob("*/*")}
    committed = {Path(path.parents[1].name, path.name): path.read_bytes() for path in BUNDLES}
    assert built == committed, "run: npm ci && npm run build"


def test_bundles_load_nothing_from_elsewhere() -> None:
    for bundle in BUNDLES:
        text = bundle.read_text(encoding="utf-8")
        assert "import(" not in text, bundle.name
        assert "@import" not in text, bundle.name
        assert "://" not in text.replace("http://www.w3.org/", ""), bundle.name


def test_custom_properties_that_a_style_sheet_uses_are_defined() -> None:
    sheets = [path for path in BUNDLES if path.suffix == ".css"]
    assert sheets
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8")
        used = set(re.findall(r"var\((--sl-[\w-]+)\)", text))
        # Elements that belong to a stage set its color.
        assert used <= {"--sl-stage", *re.findall(r"(--sl-[\w-]+):", text)}, sheet.name


def test_sources_never_turn_text_into_markup() -> None:
    sources = [path for folder in FOLDERS for path in (folder / "frontend/src").rglob("*.ts*")]
    assert sources
    for source in sources:
        text = source.read_text(encoding="utf-8")
        assert "innerHTML" not in text, source.name
        assert "dangerouslySetInnerHTML" not in text, source.name
