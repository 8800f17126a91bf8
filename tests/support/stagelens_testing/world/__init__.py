"""Whether stagelens is right about a folder of projects: used by `tests/world` and `benchmarks/world.py`."""
