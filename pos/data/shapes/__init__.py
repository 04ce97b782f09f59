"""Shapes, the embedded benchmark: a procedural world of text and video."""
