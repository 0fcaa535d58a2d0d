"""`python -m aar.cli`."""

from aar.cli import main

main()
