"""``python -m greenai`` is the command line."""

from greenai.cli import main

main()
