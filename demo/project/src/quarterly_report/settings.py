"""The project's settings: Kedro's own defaults, written out."""

CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local"}
