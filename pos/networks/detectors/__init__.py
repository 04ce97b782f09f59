"""The networks of the paper's metrics: Inception, CLIP, I3D, C3D, VideoMAE."""
