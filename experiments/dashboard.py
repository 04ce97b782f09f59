"""The dashboard of W&B: the same as ``pos dashboard``; see --help."""

from pos.cli.commands import dashboard as main

if __name__ == "__main__":
    main()
