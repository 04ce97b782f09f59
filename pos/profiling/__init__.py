"""Measurements of time and memory beside the packages that we compare with."""
