"""What denoising starts from: one file for each ``method.noise``, behind one contract."""
