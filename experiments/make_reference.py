"""Real clips to reference statistics: the same as ``pos make_reference``; see --help."""

from pos.cli.commands import make_reference as main

if __name__ == "__main__":
    main()
