"""Generated message classes; see buildkit.proto and generate.py."""
