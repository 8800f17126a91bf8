"""The bundles in the package are those that the sources give."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / "src/stagelens/views/static"

pytestmark = [pytest.mark.browser, pytest.mark.network]


def test_the_committed_bundles_are_what_the_sources_give(frontend: Path, tmp_path: Path) -> None:
    subprocess.run(["npx", "tsc", "--noEmit"], cwd=frontend, check=True)
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=frontend, check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in STATIC.iterdir()}, "run: npm ci && npm run build"


def test_no_widget_loads_anything_from_elsewhere_or_takes_text_for_markup() -> None:
    for bundle in STATIC.glob("*.js"):
        text = bundle.read_text(encoding="utf-8")
        assert "import(" not in text, bundle.name
        assert "://" not in text.replace("http://www.w3.org/", ""), bundle.name


def test_the_sources_never_make_markup_of_text(frontend: Path) -> None:
    sources = [path for path in (frontend / "src").rglob("*.ts*") if path.is_file()]
    assert sources
    for source in sources:
        text = source.read_text(encoding="utf-8")
        assert "innerHTML" not in text, source.name
        assert "dangerouslySetInnerHTML" not in text, source.name
