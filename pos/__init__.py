"""POS: a Prompts Optimization Suite for augmenting text-to-video generation (arXiv 2311.00949)."""

__version__ = "0.1.0"
