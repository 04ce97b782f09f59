"""Published weights to safetensors: the same as ``pos convert``; see --help."""

from pos.cli.commands import convert as main

if __name__ == "__main__":
    main()
