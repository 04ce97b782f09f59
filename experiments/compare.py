"""Two evaluated folders to a verdict: the same as ``pos compare``; see --help."""

from pos.cli.commands import compare as main

if __name__ == "__main__":
    main()
