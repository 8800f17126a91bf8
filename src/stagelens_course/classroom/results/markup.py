"""The parts of the pages. Texts of a submission pass `text`; no scripts, nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stagelens_course.grading.model import CheckResult, Report
from stagelens_course.grading.words import text

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--bad:#cf222e;--odd:#9a6700;--bar:#0969da}
@media(prefers-color-scheme:dark){:root{--good:#4ac26b;--bad:#ff8182;--odd:#d4a72c;--bar:#4493f8}}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font-size:13px}
.pass{color:var(--good)}.fail{color:var(--bad)}.error{color:var(--odd)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:0}dt{opacity:.7}dd{margin:0}
svg text{font:12px system-ui,sans-serif;fill:currentColor}svg rect{fill:var(--bar)}
"""
# A page of ours needs nothing: should a text ever come through, a browser still runs and loads nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, body: str) -> str:
    """A whole page; `title` is a text, `body` HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table of cells that are HTML already."""
    header = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    title = f"<caption>{caption}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{header}</tr></thead><tbody>\n{body}\n</tbody></table>"


def check_table(report: Report) -> str:
    """A report's checks: what passed, and for what failed what was expected, what was seen and a hint.

    Where the grader failed there are none; its error is told instead.
    """
    if report.error is not None:
        return f'<p class="error">The grader failed: this is no grade.</p><pre>{text(report.error)}</pre>'
    notes = "".join(f"<p>{text(note)}</p>" for note in report.notes)
    rows = [
        [_verdict(check), f"{check.earned:g}/{check.points:g}", _details(check)] for check in report.checks
    ]
    return notes + table(("", "points", "check"), rows)


def _verdict(check: CheckResult) -> str:
    return '<span class="pass">✓ passed</span>' if check.passed else '<span class="fail">✗ failed</span>'


def _details(check: CheckResult) -> str:
    title = f"<strong>{text(check.title)}</strong>"
    if check.passed:
        return title
    pairs = [
        ("expected", check.expected),
        ("seen", check.seen),
        ("hint", check.hint),
        ("read again", check.lesson),
    ]
    rows = "".join(f"<dt>{name}</dt><dd><pre>{text(value)}</pre></dd>" for name, value in pairs if value)
    return f"{title}<dl>{rows}</dl>"
