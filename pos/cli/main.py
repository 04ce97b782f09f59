"""The console script ``pos``: ``pos COMMAND key=value ...``."""

from __future__ import annotations

import difflib
import sys

from pos import __version__
from pos.cli.commands import COMMANDS
from pos.cli.help import overview
from pos.config.folder import ConfigFolders, config_folder


def main() -> None:
    """Run the command that the first argument names, or list the commands."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        COMMANDS[name](words=2)
    elif name in ("-h", "--help"):
        sys.stdout.write(overview(ConfigFolders(config_folder()), list(COMMANDS)))
    elif name == "--version":
        sys.stdout.write(f"pos {__version__}\n")
    else:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        sys.stderr.write(f"error: There is no command '{name}': choose one of {', '.join(COMMANDS)}.{hint}\n")
        sys.exit(2)
