"""Studies: rows x prompts x seeds of a table or figure of the paper, from a configuration to its report.

Each module imports only those before it: ``rows`` and ``study`` generate the videos, ``results`` has the
types, ``scores`` computes them, ``figures`` measure and draw, ``report`` and ``tracking`` write and log, and
``reproduce`` runs all of this for a configuration.
"""
