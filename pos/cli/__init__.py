"""The command line: Hydra with prompts of any text, errors in one sentence and help from the configs.

Nothing here imports torch or a network, so that a command without work to do answers at once.
"""

from pos.cli.command import command

__all__ = ["command"]
