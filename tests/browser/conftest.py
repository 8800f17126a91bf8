"""A real JupyterLab and headless Chromium, shared by the browser tests; SCREENSHOTS=folder saves pictures."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Locator, Page, Playwright, expect, sync_playwright
from stagelens_testing.resources import PATIENCE, free_port

from stagelens.paths import cache_dir

ROOT = Path(__file__).parents[2]
VIEWS_FRONTEND = ROOT / "src/stagelens/views/frontend"
APPS_FRONTEND = ROOT / "src/stagelens_course/apps/frontend"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Both applications show an idle indicator before they are connected to a kernel, so ask their session.
_KERNEL_READY = """() => {
    const session = window.jupyterapp?.shell.currentWidget?.sessionContext;
    const kernel = session?.session?.kernel;
    return session?.isReady && kernel?.connectionStatus === "connected" && kernel.status === "idle";
}"""
_RUN = """async (code) => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.model.sharedModel.addCell({cell_type: 'code', source: code});
    notebook.activeCellIndex = notebook.widgets.length - 1;
    await window.jupyterapp.commands.execute('notebook:run-cell');
}"""
_ENOUGH = 5
_TOKEN = "browser-tests"
_MILLISECONDS = PATIENCE * 1000
# The theme's colors are there, the page that was hidden meanwhile is shown, and no color is on its way.
_THEMED = """(light) => {
    const color = getComputedStyle(document.body).getPropertyValue("--jp-layout-color0").trim();
    const moving = document.getAnimations().some((each) => each instanceof CSSTransition);
    return (color === "white") === light && !moving && !document.querySelector("#main.lm-mod-hidden");
}"""
# Whatever a change of the page has widgets do, they do it before the second frame that follows.
_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
# The parts of a view that stick out of it on the right, and do not scroll in a part of their own.
_WIDER = """(selector) => [...document.querySelectorAll(selector)].flatMap((view) => {
    const edge = view.getBoundingClientRect().right + 1;
    const clips = (e) => getComputedStyle(e).overflowX !== "visible";
    const scrolls = (e) => e !== view && (clips(e) || scrolls(e.parentElement));
    return [...view.querySelectorAll("*")]
        .filter((e) => e.getBoundingClientRect().right > edge && !scrolls(e.parentElement))
        .map((e) => e.outerHTML.slice(0, 100));
})"""
expect.set_options(timeout=_MILLISECONDS)  # a loaded machine is no failure


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "the browser tests need Debian's package chromium"
    found = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
    yield found
    found.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def frontend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the front-end sources, with the packages of package-lock.json in its node_modules."""
    target = tmp_path_factory.mktemp("frontend")
    for folder in (VIEWS_FRONTEND, APPS_FRONTEND):
        copy = target / folder.relative_to(ROOT)
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("node_modules"))
    copy = target / VIEWS_FRONTEND.relative_to(ROOT)
    packages = _install(VIEWS_FRONTEND) / "node_modules"
    (copy / "node_modules").symlink_to(packages, target_is_directory=True)
    return copy


def _install(source: Path) -> Path:
    """The folder with the packages of package-lock.json; the cache has one for each lock file."""
    npm = shutil.which("npm")
    assert npm, "the front end's tests need Node.js with npm"
    digest = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    target = cache_dir() / f"frontend-{digest[:16]}"
    with FileLock(cache_dir() / "frontend.lock"):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(prefix="frontend-", dir=cache_dir()) as name:
                folder = Path(name, "packages")
                folder.mkdir()
                for file in ("package.json", "package-lock.json", ".npmrc"):
                    shutil.copy2(source / file, folder)
                subprocess.run([npm, "ci", "--no-fund", "--no-audit"], cwd=folder, check=True)
                folder.rename(target)
    return target


@pytest.fixture(scope="session")
def accessible(frontend: Path) -> Callable[[Page], None]:
    """Asserts that axe-core finds nothing serious in the widgets of a page, in its theme."""
    axe = (frontend / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")

    def check(page: Page) -> None:
        page.evaluate(axe)
        size = page.viewport_size
        assert size
        # What is scrolled out of view counts as hidden, and so does all that is in JupyterLab's body, which
        # has no height and hides what overflows. What is hidden passes: the check would say nothing.
        page.set_viewport_size({"width": size["width"], "height": 9000})
        page.evaluate("document.body.style.overflow = 'visible'")
        # A notebook that an earlier test scrolled stays so, however high the window has become.
        page.evaluate("for (const e of document.querySelectorAll('.jp-WindowedPanel-outer')) e.scrollTop = 0")
        try:
            found = _axe(page)
        finally:
            page.evaluate("document.body.style.overflow = ''")
            page.set_viewport_size(size)
        assert _seen(found) > _ENOUGH
        serious = [rule for rule in found["violations"] if rule["impact"] in ("serious", "critical")]
        assert not serious, [(r["id"], [n["html"][:200] for n in r["nodes"][:3]]) for r in serious]

    return check


@pytest.fixture(scope="session")
def settled() -> Callable[[Page], None]:
    """Waits until a page has done what a change of it makes it do, but for what the kernel has to say."""
    return lambda page: page.wait_for_function(_FRAMES)


@pytest.fixture(scope="session")
def fits(settled: Callable[[Page], None]) -> Callable[[Page, str, int], None]:
    """Asserts that at a width nothing sticks out of the views that a selector finds."""

    def check(page: Page, selector: str, width: int) -> None:
        size = page.viewport_size
        assert size
        page.set_viewport_size({"width": width, "height": size["height"]})
        settled(page)
        for _ in range(50):
            if not page.evaluate(_WIDER, selector):
                break
            settled(page)
        assert page.locator(selector).count()
        assert page.evaluate(_WIDER, selector) == []

    return check


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JupyterLab's settings: all cells in the page, not just those in view; no question about news."""
    folder = tmp_path_factory.mktemp("settings")
    choices = {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false"},
    }
    for name, values in choices.items():
        path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    return folder


@dataclass(frozen=True)
class Lab:
    """A JupyterLab server of the tests; notebooks are files in `folder`."""

    address: str
    folder: Path

    def open(self, page: Page, name: str, *cells: str, where: str = "doc/tree") -> Locator:
        """Open a new notebook and run its cells; returns the last cell's output area.

        `where`: "doc/tree" is JupyterLab, "notebooks" is Jupyter Notebook.
        """
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
        )
        nbformat.write(notebook, self.folder / f"{name}.ipynb")
        page.set_default_timeout(_MILLISECONDS)
        page.goto(f"{self.address}/{where}/{name}.ipynb?token={_TOKEN}&reset")
        expect(page.locator(".jp-Notebook .jp-CodeCell").first).to_be_visible()
        # Before the kernel is ready, cells would not run, or JupyterLab would ask which kernel to use.
        page.wait_for_function(_KERNEL_READY)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        return page.locator(".jp-Notebook .jp-CodeCell").last.locator(".jp-OutputArea")

    def saved(self, page: Page, name: str) -> nbformat.NotebookNode:
        """The open notebook as it is saved."""
        page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        return nbformat.read(self.folder / f"{name}.ipynb", as_version=4)

    def theme(self, page: Page, name: str) -> None:
        """Change to "Light" or "Dark"."""
        _change_theme(page, name)

    def run(self, page: Page, code: str) -> Locator:
        """Run one more cell in the notebook that is open; returns its output area."""
        page.evaluate(_RUN, code)
        return page.locator(".jp-Notebook .jp-CodeCell").last.locator(".jp-OutputArea")


def _axe(page: Page) -> Any:
    """What axe finds once it sees the widgets: what JupyterLab lays over a page takes a while to go."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = page.evaluate("axe.run('[class*=sl-view-]')")
        if _seen(found) > _ENOUGH or time.monotonic() > deadline:
            return found
        page.wait_for_timeout(200)


def _seen(found: Any) -> int:
    """How many elements axe saw well enough to judge their colors."""
    return sum(len(rule["nodes"]) for rule in found["passes"] if rule["id"] == "color-contrast")


def _change_theme(page: Page, name: str) -> None:
    """Change JupyterLab's theme to "Light" or "Dark"."""
    command = "apputils:change-theme"
    page.evaluate(f"window.jupyterapp.commands.execute('{command}', {{theme: 'JupyterLab {name}'}})")
    light = "true" if name == "Light" else "false"
    expect(page.locator(f"body[data-jp-theme-light={light}]")).to_be_attached()
    page.wait_for_function(_THEMED, arg=name == "Light")
    expect(page.locator("#jupyterlab-splash")).to_have_count(0)  # it lies over the page until all is drawn


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, settings: Path) -> Iterator[Lab]:
    """A server that serves notebooks to all tests; each notebook has a kernel of its own."""
    port = free_port()
    place = tmp_path_factory.mktemp("lab")
    folder = place / "notebooks"
    folder.mkdir()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--log-level=WARN"),
        *(f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={folder}"),
        *("--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True"),
        *(
            f"--IdentityProvider.token={_TOKEN}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ),
    ]
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "IPYTHONDIR": str(place / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
    }
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    try:
        _wait(f"http://127.0.0.1:{port}/api?token={_TOKEN}", process, place / "log")
        yield Lab(f"http://127.0.0.1:{port}", folder)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace"))


@pytest.fixture(scope="session")
def picture() -> Callable[[Page | Locator, str], None]:
    """Keeps screenshots where SCREENSHOTS names a folder: of a widget one in each theme."""

    def take(target: Page | Locator, name: str) -> None:
        folder = os.environ.get("SCREENSHOTS")
        if folder and isinstance(target, Page):
            target.screenshot(path=Path(folder) / f"{name}.png")
        elif folder:
            for theme in ("Dark", "Light"):
                _change_theme(target.page, theme)
                target.screenshot(path=Path(folder) / f"{name}-{theme.lower()}.png")

    return take
