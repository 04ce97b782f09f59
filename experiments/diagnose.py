"""What guided noise promises on a model and a pool: the same as ``pos diagnose``; see --help."""

from pos.cli.commands import diagnose as main

if __name__ == "__main__":
    main()
