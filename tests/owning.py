"""The owner's address of a database, for tests that prepare it or tamper with it: the service's role may do neither."""

from __future__ import annotations

from sqlalchemy import make_url

from muniment.store import embedded


def owned(url: str) -> str:
    """The same database of an embedded server, as the role that owns its tables."""
    return make_url(url).set(username=embedded.OWNER).render_as_string(hide_password=False)


def libpq(url: str) -> str:
    """The owner's address as libpq reads it."""
    return owned(url).replace("+psycopg", "", 1)
