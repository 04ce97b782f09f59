"""Benchmarks: the prompts to generate from and the real videos to compare with."""
