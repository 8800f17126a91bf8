"""`python -m stagelens.cli`."""

from stagelens.cli import main

main()
