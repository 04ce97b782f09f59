"""Train a network: the same as ``pos train``; see --help."""

from pos.cli.commands import train as main

if __name__ == "__main__":
    main()
