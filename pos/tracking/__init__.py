"""Where numbers go beside the files of a command: nowhere, to CSV, or to Weights & Biases (``logger=``).

What is logged is read from what a command has written, so that it is the same as what lies on disk.
"""
