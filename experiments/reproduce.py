"""A table of the paper on a benchmark: the same as ``pos reproduce``; see --help."""

from pos.cli.commands import reproduce as main

if __name__ == "__main__":
    main()
