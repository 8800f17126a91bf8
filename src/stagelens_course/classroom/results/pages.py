"""HTML pages: feedback for a learner, and the overview of a class. Without scripts or external resources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean, median
from urllib.parse import quote

from stagelens_course.classroom.results.model import ClassResults, LearnerResult
from stagelens_course.grading.model import CheckResult, Exercise, Report
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
# A second line of defense: even if a text were not escaped, the browser would run and load nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_NO_GRADE = {
    "refused": "The submission was refused. This is not a grade, and not zero points either.",
    "error": "The grader failed on this submission. This is not a grade, and not zero points either.",
}
_BINS = 10
_WIDTH, _HEIGHT = 600, 200


def feedback_page(result: LearnerResult, exercise: Exercise) -> str:
    """Return the page with a learner's feedback.

    Parameters
    ----------
    result
        The learner's result.
    exercise
        The exercise.
    """
    body = f"<h1>{text(exercise.title)}</h1><p>{text(result.name)}</p>"
    if result.status == "graded" and result.report is not None:
        body += f"<p><strong>{result.report.earned:g} of {result.report.points:g} points</strong></p>"
        body += check_table(result.report)
    else:
        body += f'<p class="error">{_NO_GRADE[result.status]}</p><pre>{text(result.error or "")}</pre>'
    versions = f"exercise {text(result.exercise)} {result.version[:12]}, files {result.digest[:12]}"
    body += f"<p><small>{versions}</small></p>"
    return _page(f"{exercise.title}: {result.name}", body)


def overview_page(found: ClassResults) -> str:
    """Return the instructor's page: totals, distribution of points, failed checks and all learners.

    Parameters
    ----------
    found
        The results of the class.
    """
    graded = found.with_status("graded")
    shares = [(r.earned or 0) / r.points for r in graded if r.points]
    body = f"<h1>{text(found.exercise.title)}</h1>" + _totals(found, shares)
    if graded:
        failed = [(title, count) for _, title, count in found.failed_checks if count][:10]
        body += f"<h2>Distribution of points</h2>{histogram_svg(shares)}"
        body += "<h2>Checks that failed most</h2>"
        body += _ranking_svg(failed, len(graded)) if failed else "<p>No check failed.</p>"
    body += "<h2>Learners</h2>" + _table(
        ("learner", "points", "", "notebook"), [_learner_row(result) for result in found.results]
    )
    if found.ignored:
        names = "".join(f"<li>{text(name)}</li>" for name in found.ignored)
        body += f"<h2>Files that belong to no learner</h2><ul>{names}</ul>"
    return _page(f"{found.exercise.title}: grades", body)


def check_table(report: Report) -> str:
    """Return a report's checks as HTML, or the error if the grader failed.

    Parameters
    ----------
    report
        The report. A failed check shows its expected and its observed result and a hint.
    """
    if report.error is not None:
        return f'<p class="error">The grader failed: this is not a grade.</p><pre>{text(report.error)}</pre>'
    notes = "".join(f"<p>{text(note)}</p>" for note in report.notes)
    rows = [
        [_verdict(check), f"{check.earned:g}/{check.points:g}", _details(check)] for check in report.checks
    ]
    return notes + _table(("", "points", "check"), rows)


def histogram_svg(shares: Sequence[float]) -> str:
    """Return a histogram in ten bins as SVG.

    Parameters
    ----------
    shares
        The share of the points that each learner earned, from 0 to 1; 1 is in the last bin.
    """
    counts = [0] * _BINS
    for share in shares:
        counts[min(_BINS - 1, max(0, int(share * _BINS + 1e-9)))] += 1
    top = max(counts) or 1
    step = _WIDTH / _BINS
    bars: list[str] = []
    for index, count in enumerate(counts):
        height = (_HEIGHT - 40) * count / top
        left, upper = index * step, _HEIGHT - 20 - height
        name = f"{index * 10} to {index * 10 + 10} %: {count}"
        bars.append(
            f'<g><title>{name}</title><rect x="{left + 2:.1f}" y="{upper:.1f}" width="{step - 4:.1f}" '
            f'height="{height:.1f}"/><text x="{left + step / 2:.1f}" y="{upper - 4:.1f}" '
            f'text-anchor="middle">{count or ""}</text><text x="{left + 2:.1f}" y="{_HEIGHT - 5}">'
            f"{index * 10} %</text></g>"
        )
    label = ", ".join(f"{index * 10}-{index * 10 + 10} %: {count}" for index, count in enumerate(counts))
    return _svg(_HEIGHT, f"Number of learners by share of the points: {label}", bars)


def _ranking_svg(rows: Sequence[tuple[str, int]], total: int) -> str:
    """Return a bar chart of names and counts as SVG; `total` is the length of a full bar."""
    bars: list[str] = []
    for index, (name, count) in enumerate(rows):
        upper = index * 40
        width = _WIDTH * count / (total or 1)
        bars.append(
            f'<text x="0" y="{upper + 14}">{text(name, 80)}: {count}</text>'
            f'<rect x="0" y="{upper + 19}" width="{width:.1f}" height="12"/>'
        )
    label = ", ".join(f"{name} {count}" for name, count in rows)
    return _svg(len(rows) * 40, f"Number of learners, of {total}, who failed each check: {label}", bars)


def _svg(height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {_WIDTH} {height}" width="100%" style="max-width:{_WIDTH}px" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{text(label)}</title>{"".join(parts)}</svg>'
    )


def _page(title: str, body: str) -> str:
    """Return a page; `title` is untrusted text, `body` is HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are HTML."""
    header = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{header}</tr></thead><tbody>\n{body}\n</tbody></table>"


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


def _totals(found: ClassResults, shares: list[float]) -> str:
    counts = f"{len(found.results)} submissions: {len(found.with_status('graded'))} graded"
    refused, failed = found.with_status("refused"), found.with_status("error")
    for some, label in ((refused, "refused"), (failed, "with an error of the grader")):
        if some:
            counts += f', <span class="error">{len(some)} {label}</span>'
    average = f" On average {mean(shares):.0%} of the points, median {median(shares):.0%}." if shares else ""
    return f"<p>{counts}.{average}</p>"


def _learner_row(result: LearnerResult) -> list[str]:
    folder = f"learners/{quote(result.learner)}"
    name = f'<a href="{folder}/feedback.html">{text(result.name)}</a>' + (" (late)" if result.late else "")
    if result.status != "graded":
        reason = (result.error or "").split("\n")[0]
        return [name, "", f'<span class="error">{result.status}: {text(reason, 200)}</span>', ""]
    complete = result.earned == result.points
    mark = '<span class="pass">✓</span>' if complete else '<span class="fail">✗</span>'
    link = f'<a href="{folder}/grading.ipynb">notebook</a>'
    return [name, f"{result.earned:g}/{result.points:g}", mark, link]
