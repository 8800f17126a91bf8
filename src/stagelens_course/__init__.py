"""The course on multi-stage Docker builds: lessons, exercises and grading, the applications, the base images.

It is built upon the library `stagelens`, which knows nothing of it.
"""
