"""Add new texts to the catalogs and compile them; needs Babel."""

from __future__ import annotations

from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

HERE = Path(__file__).parent
VIEWS = HERE.parent
_SOURCES = (VIEWS, VIEWS.parent / "cache", VIEWS.parents[1] / "stagelens_course" / "apps")
_METHODS = [
    ("frontend/src/**.ts*", "javascript"),
    ("templates/**.html", "jinja2.ext:babel_extract"),
    ("*.py", "python"),
]
_KEYWORDS = {"t": None, "tn": (1, 2), "translate": None, "sentence": None, "translate_count": (1, 2)}


def texts() -> Catalog:
    """Return all texts of the views and of cache reasons, from the sources."""
    found = Catalog(project="stagelens", charset="utf-8")
    options = {
        "frontend/src/**.ts*": {"jsx_support": True, "parse_template_string": True},
        "templates/**.html": {"silent": "false", "trimmed": "false"},
    }
    for folder in _SOURCES:
        for file, line, message, _, _ in extract_from_dir(
            folder,
            _METHODS,
            options,
            keywords=_KEYWORDS,
            directory_filter=lambda folder: "node_modules" not in folder,
        ):
            found.add(message, locations=[(file, line)])
    return found


def main() -> None:
    """Update all catalogs; the translation of a new text is empty."""
    template = texts()
    for file in sorted(HERE.glob("*/LC_MESSAGES/stagelens.po")):
        with file.open("rb") as source:
            catalogue = read_po(source, locale=file.parts[-3])
        template.creation_date = catalogue.creation_date  # the same texts give the same bytes
        catalogue.update(template, no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        with file.open("wb") as sink:
            write_po(sink, catalogue, width=110, no_location=True, sort_output=True, omit_header=False)
        with file.with_suffix(".mo").open("wb") as sink:
            write_mo(sink, catalogue)


if __name__ == "__main__":
    main()
