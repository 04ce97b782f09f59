"""The networks behind the backbones and the detectors."""
