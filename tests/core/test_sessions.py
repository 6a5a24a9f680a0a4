"""Sessions: what is kept of a secret, what a form carries, and where somebody may come back to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.problems import Invalid
from muniment.core.sessions import (
    derived_secret,
    form_token,
    is_form_token,
    is_secret,
    kept_of,
    local_path,
)

ONE, OTHER = "A" * 43, "B" * 43


def test_secrets_derived_for_two_purposes_have_nothing_in_common():
    derived = {
        derived_secret(secret, purpose) for secret in (ONE, OTHER) for purpose in ("nonce s", "verifier s", "form")
    }
    assert len(derived) == 6
    assert all(is_secret(each) for each in derived)
    assert not derived & {ONE, OTHER}


def test_what_is_kept_of_a_secret_does_not_hold_it():
    assert len(kept_of(ONE)) == 32
    assert ONE.encode() not in kept_of(ONE)
    assert kept_of(ONE) != kept_of(OTHER)


@given(st.text(max_size=60))
def test_a_form_of_any_other_text_is_not_ours(given_text: str):
    assert is_form_token(given_text, ONE) == (given_text == form_token(ONE))


@pytest.mark.parametrize("text", ["", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "\n", "é" * 43, "A" * 42 + " "])
def test_what_no_service_gave_is_no_secret(text: str):
    assert not is_secret(text)


@pytest.mark.parametrize(
    "path", ["/", "/account", "/account?ended=one&x=%2F%2F", "/a//b", "/datasets/sales.orders#top"]
)
def test_a_path_of_this_service_is_one_to_come_back_to(path: str):
    assert local_path(path) == path


@given(st.text(max_size=20))
def test_no_path_leads_to_another_host(text: str):
    """Read as browsers do (WHATWG URL, 4.4): a backslash is a slash, and tabs and line ends are not there."""
    try:
        path = local_path(f"/{text}")
    except Invalid:
        return
    seen = path.replace("\\", "/").translate(dict.fromkeys(map(ord, "\t\r\n")))
    assert seen.startswith("/")
    assert not seen.startswith("//")
    assert seen.isascii()
    assert seen.isprintable()
