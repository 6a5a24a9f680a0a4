"""Why nobody was asked over HTTP, in words that stand in brackets in a sentence.

Besides what the network does, there is what this machine says of it: proxies and certificates stand in its environment,
and what is wrong with them is no error of httpx's. An address may hold a password, so none is told.
"""

from __future__ import annotations

from kedro_muniment.problems import plain


def fault(error: Exception) -> str:
    """What an exception of httpx's client means: its own, and ImportError, OSError and ValueError."""
    import httpx

    match error:
        case UnicodeError():  # as it is looked up: a label is too long, say, or empty
            return "no host can have that name"
        case httpx.HTTPError() | ImportError():  # the latter: a SOCKS proxy needs another package, and this names it
            return plain(str(error) or type(error).__name__)
        case OSError():
            said = plain(error.strerror or type(error).__name__)
            return f"the certificates cannot be read that SSL_CERT_FILE or SSL_CERT_DIR name: {said}"
        case _:
            return "its address, or a proxy's in HTTPS_PROXY or ALL_PROXY, is none that can be asked"
