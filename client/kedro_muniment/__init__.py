"""Muniment in a Kedro project: the catalog that this user may use, and nothing else.

Installed, and with a ``muniment.yml`` in the project's conf, the plugin fetches the governed catalog when a
Kedro context is created, merges it with the project's own, and refuses a run before its first node if its
identity may not use what the run needs. Without that file it does nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedro_muniment.catalog import muniment_catalog as muniment_catalog
    from kedro_muniment.loader import GovernedConfigLoader as GovernedConfigLoader

__version__ = "0.1.0"

_LATE = {"GovernedConfigLoader": "kedro_muniment.loader", "muniment_catalog": "kedro_muniment.catalog"}


def __getattr__(name: str) -> Any:
    """What needs Kedro is imported when it is asked for: every ``kedro`` command imports this package."""
    if name in _LATE:
        from importlib import import_module

        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def login(url: str | None = None, *, device: bool = False, browser: bool = False, issuer: str | None = None) -> None:
    """Sign in from a notebook or a script: the link and the code are shown as the cell's output.

    Without ``url`` it is the service of ``MUNIMENT_URL``, or of the Kedro project around the current directory.
    """
    from kedro_muniment.command_line import entering
    from kedro_muniment.sign_in import telling

    teller = telling.here()
    told = entering.signed_in(teller, url, device=device, browser=browser, issuer=issuer)
    teller.say(entering.login_line(told))


def logout(url: str | None = None) -> None:
    """Sign out, as ``kedro muniment logout`` does."""
    from kedro_muniment.command_line import entering
    from kedro_muniment.sign_in import telling

    telling.here().say("\n".join(entering.logout_lines(entering.signed_out(url))))
