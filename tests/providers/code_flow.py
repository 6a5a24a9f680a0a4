"""A sign-in by authorization code with PKCE, as any careful client does it: to get a real token response in a test.

It is not Muniment's client: what that one does is tested by itself, against the same providers.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx


def signed_in_by_code(
    http: httpx.Client,
    issuer: str,
    sign_in: Callable[[str], str],
    *,
    client_id: str,
    redirect_uri: str,
    resource: str | None = None,
    **asked: str,
) -> dict[str, Any]:
    """The token response (RFC 6749, 4.1; RFC 7636; RFC 8707; RFC 9207) after ``sign_in`` went where it is sent."""
    endpoints = http.get(f"{issuer}/.well-known/openid-configuration").json()
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe()
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    named = {"client_id": client_id, "redirect_uri": redirect_uri, **({"resource": resource} if resource else {})}
    proof = {"code_challenge": challenge, "code_challenge_method": "S256"}
    query = urlencode({"response_type": "code", "state": state, **named, **proof, **asked})
    back = urlsplit(sign_in(f"{endpoints['authorization_endpoint']}?{query}"))
    given = {name: values[0] for name, values in parse_qs(back.query).items()}
    assert (given["state"], given["iss"]) == (state, issuer), given
    form = {"grant_type": "authorization_code", "code": given["code"], "code_verifier": verifier, **named}
    answer = http.post(endpoints["token_endpoint"], data=form)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens
