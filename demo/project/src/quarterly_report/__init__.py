"""Revenue by quarter and segment, beside its target."""
