"""A Kedro project's conf: read from its texts, turned into governed datasets, and written back."""
