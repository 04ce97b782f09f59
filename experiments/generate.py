"""Prompts to videos: the same as ``pos generate``; see --help."""

from pos.cli.commands import generate as main

if __name__ == "__main__":
    main()
