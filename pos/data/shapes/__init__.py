"""Shapes, the embedded benchmark: a procedural world of text and video, made by this project and measured by it."""
