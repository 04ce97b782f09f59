"""The command line: Hydra with prompts of any text, errors in one sentence and help from the configs.

Nothing here imports torch before a command begins its work.
"""

from pos.cli.command import command
from pos.cli.main import main

__all__ = ["command", "main"]
