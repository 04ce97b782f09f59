"""Detectors: networks that turn frames of videos into the features of metrics."""
