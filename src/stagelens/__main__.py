"""`python -m stagelens`: the commands of the library."""

from stagelens.cli import main

main()
