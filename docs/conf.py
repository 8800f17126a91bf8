"""Sphinx configuration; `stagelens docs` builds the site."""

from importlib.metadata import version as _version

project = "stagelens"
author = "The stagelens project"
release = version = _version("stagelens")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"stagelens {release}"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# The signatures have the types; docstrings describe the values.
autodoc_typehints = "signature"
autodoc_member_order = "groupwise"
autodoc_default_options = {"members": True, "imported-members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
# Files that pages link to as they are.
html_extra_path = ["reference/results.schema.json"]
suppress_warnings = ["myst.xref_missing"]
