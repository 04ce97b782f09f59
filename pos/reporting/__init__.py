"""Results as tables, notes, charts, LaTeX, Markdown and HTML."""
