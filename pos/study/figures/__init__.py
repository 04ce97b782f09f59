"""What a study measures and draws beside its table: the paper's figures."""
