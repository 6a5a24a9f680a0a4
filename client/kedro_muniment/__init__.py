"""Muniment in a Kedro project: the catalog that this user may use, and nothing else.

Installed, and with a ``muniment.yml`` in the project's conf, the plugin fetches the governed catalog when a
Kedro context is created, merges it with the project's own, and refuses a run before its first node if its
identity may not use what the run needs. Without that file it does nothing.
"""

__version__ = "0.1.0"


def login(url: str | None = None, *, device: bool = False, browser: bool = False, issuer: str | None = None) -> None:
    """Sign in from a notebook or a script: the link and the code are shown as the cell's output.

    Without ``url`` it is the service of ``MUNIMENT_URL``, or of the Kedro project around the current directory.
    """
    from kedro_muniment import commands, telling

    teller = telling.here()
    told = commands.signed_in(teller, url, device=device, browser=browser, issuer=issuer)
    teller.say(commands.login_line(told))


def logout(url: str | None = None) -> None:
    """Sign out, as ``kedro muniment logout`` does."""
    from kedro_muniment import commands, telling

    telling.here().say("\n".join(commands.logout_lines(commands.signed_out(url))))
