"""A class of submissions: taken in, graded, and their results."""
