"""Imported first by programs of our own that read notebooks: they start with half of the work.

nbformat checks notebooks by jsonschema, which imports a grammar of international addresses where one is
installed (Jupyter brings it). It is compiled at each start, and nothing in a notebook is checked by it. A
program that is not ours, a learner's kernel say, may want it.
"""

from __future__ import annotations

import sys
from typing import Any, cast

# None is Python's own word for a module that is not to be had.
cast(dict[str, Any], sys.modules).setdefault("rfc3987_syntax", None)
