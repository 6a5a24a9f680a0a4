"""The client that Muniment's pages are to an issuer, as the settings describe it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, RSAKey

from muniment.core.problems import CannotStart
from muniment.identity.client_keys import signing_key_in
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


KEY = ECKey.generate_key("P-256")


def written(file: Path, key: RSAKey | ECKey, *, private: bool = True) -> str:
    file.write_bytes(key.as_pem(private=private))
    return str(file)


def test_a_key_stands_in_a_file_and_is_not_shown(tmp_path):
    path = written(tmp_path / "key.pem", KEY)
    client = client_in({"client_id": "pages", "client_key_file": path})
    assert client is not None
    assert client.client_key is not None
    assert client.client_key in Path(path).read_text()
    assert "PRIVATE" not in repr(client)


def test_a_key_that_cannot_sign_is_refused_at_the_start_without_a_word_of_it(tmp_path):
    public = written(tmp_path / "public.pem", KEY, private=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        short = written(tmp_path / "short.pem", RSAKey.generate_key(1024))
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**KEY.as_dict(private=True), "use": "enc"}))
    for path in (public, short, str(other)):
        with pytest.raises(CannotStart, match="no private key that can sign") as refused:
            client_in({"client_id": "pages", "client_key_file": path})
        assert str(KEY.as_dict(private=True)["d"]) not in str(refused.value)
    both = {"client_id": "pages", "client_key_file": written(tmp_path / "key.pem", KEY), "client_secret": "x"}
    with pytest.raises(CannotStart, match="take one away"):
        client_in(both)


def test_a_key_signs_with_what_suits_it_and_the_provider():
    text = KEY.as_pem(private=True).decode()
    signing = signing_key_in(text)
    assert signing is not None
    assert signing.algorithm_for(None) == "ES256"
    rsa = signing_key_in(RSAKey.generate_key(2048).as_pem(private=True).decode())
    assert rsa is not None
    assert [rsa.algorithm_for(listed) for listed in (None, ["PS256"], ["HS256"], "RS256")] == [
        "RS256", "PS256", "RS256", "RS256",
    ]  # fmt: skip
    meant = signing_key_in(json.dumps(RSAKey.generate_key(2048, parameters={"alg": "PS384"}).as_dict(private=True)))
    assert meant is not None
    assert meant.algorithm_for(["RS256", "PS384"]) == "PS384"


@pytest.mark.parametrize(
    ("browser", "said"),
    [
        ({}, "client_id"),
        ({"client_id": "pages", "secret": "x"}, "secret"),
        ({"client_id": "pages", "client_secret": "x", "client_secret_file": "y"}, "take one away"),
        ({"client_id": "pages", "client_secret_file": "nowhere"}, "can't be read"),
        ({"client_id": "pages", "client_key_file": "nowhere"}, "no private key"),
        ({"client_id": "pages", "client_secret": "x", "auth": "none"}, '"basic" or "post"'),
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
