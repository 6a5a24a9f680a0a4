"""The client that Muniment's pages are to an issuer, as the settings describe it."""

from __future__ import annotations

import pytest

from muniment.core.problems import CannotStart
from muniment.identity.issuers import BrowserClient, issuers_from


def client_in(browser: object, **more: object) -> BrowserClient | None:
    given = {"name": "corp", "issuer": "https://login.example", "audience": "muniment", "default": True, **more}
    (issuer,) = issuers_from([{**given, "browser": browser}])
    return issuer.browser


def test_a_client_may_be_public_and_asks_for_the_usual_scopes():
    assert client_in({"client_id": "pages"}) == BrowserClient("pages", None, ("openid", "profile"), userinfo=False)
    assert client_in(None) is None


def test_the_secret_stands_in_the_settings_or_in_a_file_and_is_not_shown(tmp_path):
    file = tmp_path / "secret"
    file.write_text("from-a-file\n")
    inline = client_in({"client_id": "pages", "client_secret": "inline"})
    filed = client_in({"client_id": "pages", "client_secret_file": str(file)})
    assert inline is not None
    assert filed is not None
    assert (inline.client_secret, filed.client_secret) == ("inline", "from-a-file")
    assert "inline" not in repr(inline)


@pytest.mark.parametrize(
    ("browser", "said"),
    [
        ({}, "client_id"),
        ({"client_id": "pages", "secret": "x"}, "secret"),
        ({"client_id": "pages", "client_secret": "x", "client_secret_file": "y"}, "take one away"),
        ({"client_id": "pages", "client_secret_file": "nowhere"}, "can't be read"),
        ({"client_id": "pages", "scopes": ["profile"]}, "openid"),
        ({"client_id": "pages", "scopes": ["openid profile"]}, "without spaces"),
        ({"client_id": "pages", "userinfo": "yes"}, "true or false"),
        ("pages", "named fields"),
    ],
)
def test_a_client_that_cannot_work_is_refused_at_the_start(browser, said):
    with pytest.raises(CannotStart, match=said):
        client_in(browser)


def test_an_issuer_of_services_has_nobody_with_a_browser():
    with pytest.raises(CannotStart, match="services only"):
        client_in({"client_id": "pages"}, kind="services")
