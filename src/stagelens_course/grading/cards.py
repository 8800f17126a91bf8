"""A grade as HTML for a notebook, like the views beside it."""

from __future__ import annotations

from stagelens.views import markup
from stagelens_course.grading.model import CheckResult, Report
from stagelens_course.grading.words import text

_STYLE = """<style>
.sl .sl-checks{container-type:inline-size}
.sl .sl-checks dl{display:grid;gap:2px 12px;grid-template-columns:max-content minmax(0,1fr);margin:4px 0 2px}
.sl .sl-checks dt,.sl .sl-checks dd{float:none;text-align:left;width:auto}
.sl .sl-checks dt{color:var(--sl-soft);font-weight:400;margin:0;padding:0;white-space:nowrap}
.sl .sl-checks dd{margin:0;overflow-wrap:anywhere;padding:0;white-space:pre-wrap}
.sl .sl-checks .sl-seen{font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px}
.sl .sl-note,.sl .sl-checks .sl-note{margin:0;overflow-wrap:anywhere;padding:8px 12px;white-space:pre-wrap}
@container(max-width:460px){.sl .sl-checks dl{grid-template-columns:minmax(0,1fr)}}
</style>"""
_GOOD, _BAD = "sl-added", "sl-removed"


def report_card(report: Report) -> str:
    """A report as HTML: the sum, and each check with what was expected and seen where it failed."""
    if report.error is not None:
        return error_card(report.error, "The grader failed: this is no grade.")
    sum_ = f"{report.earned:g} of {report.points:g} points"
    right = sum(check.passed for check in report.checks)
    head = markup.heading(sum_, f"{right} of {len(report.checks)} checks passed")
    notes = "".join(f'<p class="sl-note">{text(note)}</p>' for note in report.notes)
    rows = "".join(map(_row, report.checks))
    card = f'<div class="sl-card sl-checks">{head}{notes}<ul class="sl-reasons">{rows}</ul></div>'
    return markup.frame(_STYLE + card)


def error_card(why: str, title: str = "The check could not be made.") -> str:
    """Why there is no report, as HTML."""
    head = f'<div class="sl-head"><b class="sl-title {_BAD}">{text(title)}</b></div>'
    return markup.frame(f'{_STYLE}<div class="sl-card">{head}<div class="sl-note">{text(why)}</div></div>')


def _row(check: CheckResult) -> str:
    colour, word = (_GOOD, "✓ passed") if check.passed else (_BAD, "✗ failed")
    points = f'<span class="sl-soft">{check.earned:g}/{check.points:g}</span>'
    verdict = f'<b class="{colour}">{word}</b> {points}'
    return f"<li><div>{verdict}</div><div><b>{text(check.title)}</b>{_why(check)}</div></li>"


def _why(check: CheckResult) -> str:
    if check.passed:
        return ""
    told = [
        ("expected", "", check.expected),
        ("seen", "sl-seen", check.seen),
        ("hint", "", check.hint),
        ("read again", "", check.lesson),
    ]
    rows = (f'<dt>{name}</dt><dd class="{kind}">{text(value)}</dd>' for name, kind, value in told if value)
    return f"<dl>{''.join(rows)}</dl>"
