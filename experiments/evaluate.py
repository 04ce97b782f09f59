"""Videos to metrics: the same as ``pos evaluate``; see --help."""

from pos.cli.commands import evaluate as main

if __name__ == "__main__":
    main()
