"""Level tables, and one sampler and one inverter for every model (Eq. 1-2)."""
