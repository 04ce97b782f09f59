"""State-dict names of the originals and ours, both ways."""
