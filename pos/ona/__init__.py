"""ONA, the optimal noise approximator: inversion (Eq. 2), mixture (Eq. 4), noise prediction network."""
