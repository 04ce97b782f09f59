"""Annotation files to a manifest: the same as ``pos make_manifest``; see --help."""

from pos.cli.commands import make_manifest as main

if __name__ == "__main__":
    main()
