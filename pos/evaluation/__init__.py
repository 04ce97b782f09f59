"""Scoring of any folder of videos: features, reference statistics, metrics, intervals, comparisons."""
