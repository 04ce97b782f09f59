"""Loggers of a command's results (``logger=``): none, CSV files or Weights & Biases.

Results are read from the files that a command wrote, so that logs and files agree.
"""
