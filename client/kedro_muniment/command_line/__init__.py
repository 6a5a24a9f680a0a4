"""``kedro muniment …``: what a person asks at the keyboard, and what a pipeline's CI asks."""
