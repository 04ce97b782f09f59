"""Frozen text-to-video and text-to-image models behind one contract, one file each."""
