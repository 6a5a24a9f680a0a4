"""What providers of other makes leave out, and may: each is believed all the same, and nothing more than before."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact

from muniment.core.problems import TokenRefused, Unavailable
from muniment.identity.bearer import Bearer
from muniment.identity.issuers import Issuer
from tests.identity.conftest import Answer, Site

pytestmark = pytest.mark.anyio

OPENID, OAUTH = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"


def at_path(site: Site, issuer: str) -> Issuer:
    """The issuer of this URL, which the site is."""
    return Issuer(name="site", issuer=issuer, audience="muniment", default=True)


def publish(site: Site, where: str, issuer: str, **members: object) -> None:
    """Publish an issuer's document at one address alone, and its keys."""
    site.publish()
    del site.answers[OPENID]
    document = {"issuer": issuer, "jwks_uri": f"{site.url}/jwks", **members}
    site.answers[where] = Answer(body=json.dumps(document).encode())


def token(site: Site, issuer: str, at: datetime, **claims: object) -> str:
    """A token of this issuer that says as little as one may."""
    usual = {"iss": issuer, "sub": "ann", "aud": "muniment", "exp": int(at.timestamp()) + 600, **claims}
    registry = JWSRegistry(algorithms=["Ed25519"])
    return serialize_compact({"alg": "Ed25519", "kid": site.key.kid}, json.dumps(usual), site.key, registry=registry)


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("", OAUTH),
        ("/tenant/one", f"{OAUTH}/tenant/one"),
        ("/tenant/one/", f"{OAUTH}/tenant/one"),
        ("/", OPENID),
        ("/tenant/one/", f"/tenant/one{OPENID}"),
    ],
)
async def test_an_issuer_is_found_where_either_standard_puts_it(site, http, now, path, where):
    """OpenID Connect Discovery (4.1) puts it behind the issuer's path, RFC 8414 (3.1) before it."""
    issuer = site.url + path
    publish(site, where, issuer)
    sign_in = await Bearer([at_path(site, issuer)], http).verify(token(site, issuer, now), now)
    assert sign_in.state.subject.id == "ann"


async def test_at_either_place_it_must_speak_in_its_own_name(site, http, now):
    publish(site, OAUTH, "https://attacker.example")
    with pytest.raises(Unavailable, match="another issuer"):
        await site.bearer(http).verify(site.token(now), now)


async def test_an_openid_document_that_is_broken_is_not_made_up_for_by_the_other(site, http, now):
    """Whoever fails is waited for; only where there is no document is the other one looked for."""
    publish(site, OAUTH, site.url)
    site.answers[OPENID] = Answer(503)
    with pytest.raises(Unavailable, match="status 503"):
        await site.bearer(http).verify(site.token(now), now)
    assert site.asked[OAUTH] == 0


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSAKey.generate_key(2048), "RS256"),
        (RSAKey.generate_key(2048), "PS512"),
        (ECKey.generate_key("P-384"), "ES384"),
        (OKPKey.generate_key("Ed25519"), "Ed25519"),
    ],
    ids=["RS256", "PS512", "ES384", "Ed25519"],
)
async def test_one_key_without_id_use_or_algorithm_is_enough(site, http, now, key, algorithm):
    """RFC 7517 (4.2 to 4.5) asks for none of the three."""
    site.publish()
    bare = {name: value for name, value in key.as_dict(private=False).items() if name not in {"kid", "use", "alg"}}
    site.answers["/jwks"] = Answer(body=json.dumps({"keys": [bare]}).encode())
    claims = {"iss": site.url, "sub": "ann", "aud": ["muniment"], "exp": int(now.timestamp()) + 60}
    registry = JWSRegistry(algorithms=[algorithm])
    said = serialize_compact({"alg": algorithm}, json.dumps(claims), key, registry=registry)
    assert (await site.bearer(http).verify(said, now)).state.subject.id == "ann"


async def test_a_token_without_iat_jti_client_or_type_is_believed_until_its_end(site, http, now):
    """RFC 7519 asks for none of them; what cannot be told is when its subject signed in."""
    site.publish()
    bearer = site.bearer(http)
    sign_in = await bearer.verify(token(site, site.url, now), now)
    assert sign_in.since is None
    with pytest.raises(TokenRefused, match="expired"):
        await bearer.verify(token(site, site.url, now, exp=int((now - timedelta(minutes=2)).timestamp())), now)
