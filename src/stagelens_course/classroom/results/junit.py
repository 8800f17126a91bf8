"""Results as JUnit XML: a suite for each learner, a test for each check."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from stagelens_course.classroom.results.model import ClassResults, Result

# What XML 1.0 has no way to write.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(found: ClassResults) -> str:
    """The whole class; a refused submission and an error of the grader are errors, not failures."""
    suites = ElementTree.Element("testsuites", name=found.exercise.id)
    for result in found.results:
        suites.append(_suite(result))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(result: Result) -> ElementTree.Element:
    checks = result.report.checks if result.status == "graded" and result.report else ()
    failures = sum(not check.passed for check in checks)
    counts = {
        "tests": str(len(checks) or 1),
        "failures": str(failures),
        "errors": str(int(result.status != "graded")),
        "time": f"{result.seconds:.3f}",
    }
    suite = ElementTree.Element("testsuite", {"name": result.learner, **counts})
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", {"classname": result.learner, "name": check.id})
        if not check.passed:
            failure = ElementTree.SubElement(case, "failure", {"message": _xml(check.title)})
            failure.text = _xml(f"expected: {check.expected}\nseen: {check.seen}\nhint: {check.hint}")
    if result.status != "graded":
        case = ElementTree.SubElement(suite, "testcase", {"classname": result.learner, "name": result.status})
        error = ElementTree.SubElement(case, "error", {"message": result.status})
        error.text = _xml(result.error or "")
    return suite


def _xml(text: str) -> str:
    return _NO_XML.sub("�", text)
