"""Layers that several networks share, and their GPU kernels."""
