"""SPR, the semantic-preserving rewriter: rewriting with references (Eq. 6-7), hybrid semantics (Eq. 8)."""
