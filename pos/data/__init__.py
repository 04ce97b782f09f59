"""Prompts, videos, pools and benchmarks."""
