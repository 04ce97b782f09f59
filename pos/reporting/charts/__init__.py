"""Curves, dot plots and heat maps as SVG."""
