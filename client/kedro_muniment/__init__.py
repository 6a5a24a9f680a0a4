"""Muniment in a Kedro project: the catalog that this user may use, and nothing else.

Installed, and with a ``muniment.yml`` in the project's conf, the plugin fetches the governed catalog when a
Kedro context is created, merges it with the project's own, and refuses a run before its first node if its
identity may not use what the run needs. Without that file it does nothing.
"""

__version__ = "0.1.0"
