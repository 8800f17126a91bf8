"""The application in JupyterLab: three real containers, their logs, and a traced request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

from stagelens.engine import Engine
from stagelens_course import apps

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = [pytest.mark.browser, pytest.mark.engine]

# Small services with the chapter's names, which log their requests as the chapter's applications do.
DOCKERFILE = """\
FROM diamol/base
COPY www/ /www/
RUN chmod +x /www/cgi-bin/*
STOPSIGNAL SIGKILL
CMD ["sh", "-c", "echo '<img src=x onerror=window.hacked=1>'; exec busybox httpd -f -p 80 -h /www"]
"""
ANSWER = """#!/bin/sh
printf '{"request_id":"%s","method":"GET","path":"%s","status":200,"ms":4,"ts":"%s"}\\n' \
 "$HTTP_X_REQUEST_ID" "$SCRIPT_NAME" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" > /proc/1/fd/1
printf 'Content-Type: text/plain\\r\\n\\r\\nwell'
"""
PAGE = """#!/bin/sh
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
call() { wget -q -O /dev/null --header "X-Request-Id: $HTTP_X_REQUEST_ID" "$1"
 printf '{"method":"GET","url":"%s","status":200,"ms":%s,"ts":"%s"}' "$1" "$2" "$now"; }
calls="$(call http://iotd/cgi-bin/answer 9),$(call http://accesslog/cgi-bin/answer 6)"
printf '{"request_id":"%s","method":"GET","path":"/","status":200,"ms":30,"ts":"%s","calls":[%s]}\\n' \
 "$HTTP_X_REQUEST_ID" "$now" "$calls" > /proc/1/fd/1
printf 'Content-Type: text/plain\\r\\n\\r\\npage'
"""
CELL = """
from stagelens_course import apps, timeouts
timeouts.current = timeouts.CourseTimeouts(application_health=600)  # a loaded machine's services answer late
from stagelens_course.apps.view import AppView
AppView(apps.status(namespace={namespace!r}))
"""


@pytest.fixture
def namespace(engine: Engine, unique: str, clean: object, tmp_path: Path) -> str:
    (tmp_path / "www/cgi-bin").mkdir(parents=True)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    for name, content in (("health", "well"), ("cgi-bin/answer", ANSWER), ("cgi-bin/index.cgi", PAGE)):
        (tmp_path / "www" / name).write_text(content)
    services = [
        apps.ApplicationSpec(each.name, f"{unique}-light", None if number else tmp_path, each.port)
        for number, each in enumerate(apps.APPLICATIONS)
    ]
    apps.up(engine, namespace=unique, services=services)
    return unique


@pytest.fixture(autouse=True)
def taken_down(engine: Engine, unique: str) -> object:
    yield
    apps.down(engine, unique)
    for image in engine.api.images():
        for tag in image.get("RepoTags") or ():
            if unique in tag:
                engine.api.remove_image(tag, force=True)


def test_request_is_traced_through_the_containers(
    page: Page,
    lab: Lab,
    engine: Engine,
    accessible: Callable[[Page], None],
    namespace: str,
    picture: Callable[[Page | Locator, str], None],
) -> None:
    page.emulate_media(reduced_motion="reduce")
    view = lab.open(page, "app", CELL.format(namespace=namespace)).locator(".sl-app")
    expect(view.get_by_role("status")).to_have_text("3 of 3 running")
    expect(view.locator(".sl-up")).to_have_count(3)
    links = view.get_by_role("link")
    expect(links).to_have_count(3)
    answer = page.request.get(links.nth(0).get_attribute("href") or "")
    assert answer.ok

    trace = view.get_by_role("button", name="Trace a request")
    trace.press("Enter")
    way = view.get_by_role("region", name="The traced request").get_by_role("listitem")
    expect(way).to_have_count(3)
    expect(way.nth(1)).to_contain_text("http://iotd/cgi-bin/answer")
    expect(view.locator(".sl-order")).to_have_text(["1", "2", "3"])
    expect(trace).to_be_focused()

    view.get_by_role("button", name="Log iotd").press("Enter")
    log = view.get_by_role("region", name="Log of iotd")
    expect(log.locator(".sl-traced")).to_contain_text('"path":"/cgi-bin/answer"')
    expect(log).to_contain_text("<img src=x onerror=window.hacked=1>")
    assert page.evaluate("window.hacked") is None
    # Who closes the log by the keyboard is where they opened it.
    opener = view.get_by_role("button", name="Log iotd")
    for part, key in ((log.get_by_role("button", name="Close"), "Enter"), (log.locator("pre"), "Escape")):
        part.press(key)
        expect(log).to_have_count(0)
        expect(opener).to_be_focused()
        opener.press("Enter")
    picture(view, "app-view")
    accessible(page)

    # What has ended meanwhile is not called healthy beside the call that it did not answer.
    engine.api.kill(f"iotd-{namespace}")
    trace.press("Enter")
    expect(view.get_by_role("status")).to_have_text("2 of 3 running")
    expect(trace).to_have_attribute("aria-disabled", "false")
