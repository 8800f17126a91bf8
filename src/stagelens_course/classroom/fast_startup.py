"""Importing this module first halves the start-up time of programs that read notebooks.

nbformat validates notebooks by jsonschema, which imports a grammar of internationalized addresses if one is
installed, and Jupyter installs one. The grammar is compiled at each start, but no notebook needs it. Import
this module only in processes that run no other code: a learner's kernel may need the grammar.
"""

from __future__ import annotations

import sys
from typing import Any, cast

# With None in `sys.modules`, Python raises ImportError for the module.
cast(dict[str, Any], sys.modules).setdefault("rfc3987_syntax", None)
