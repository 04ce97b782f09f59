"""What others publish as pickles, once into safetensors: ``experiments/convert.py``."""
