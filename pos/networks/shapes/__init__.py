"""The small networks of the Shapes world: CLIP, classifiers, towers."""
