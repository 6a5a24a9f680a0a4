"""The certified provider ``oidc-provider``, run for tests: people, jobs and pages that sign in there for real.

    with oidc_provider.running() as provider:
        token = provider.token_for("ann")

Everybody of :data:`ACCOUNTS` signs in without a password, at a page that asks for the account's
name. An access token for Muniment (audience ``muniment``) is a JWT if the client asks for the
resource :data:`RESOURCE`, and opaque if it asks for :data:`OPAQUE_RESOURCE` (RFC 8707): in the
authorization request *and* in each token request. Without a resource the token is opaque and
for the provider's own userinfo endpoint, as OpenID Connect has it.

The provider is a process of its own; it ends with the block, and with this process however that ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from joserfc.jwk import ECKey

from tests.providers.browsing import Browser, Form, loopback_client
from tests.providers.code_flow import signed_in_by_code
from tests.providers.installing import HERE
from tests.providers.node import node, packages
from tests.providers.talking import Talk, talking

_PROJECT = HERE / "oidc-provider"

AUDIENCE = "muniment"
RESOURCE = "urn:muniment"
#: The same audience, and tokens that only introspection can read.
OPAQUE_RESOURCE = "urn:muniment:opaque"
#: Another service of the same provider.
OTHER_RESOURCE = "urn:payroll"

RESOURCES: Mapping[str, Mapping[str, object]] = {
    RESOURCE: {"audience": AUDIENCE, "format": "jwt"},
    OPAQUE_RESOURCE: {"audience": AUDIENCE, "format": "opaque"},
    OTHER_RESOURCE: {"audience": "payroll", "format": "jwt"},
}

#: People, with the claims that their tokens carry.
ACCOUNTS: Mapping[str, Mapping[str, object]] = {
    "ann": {"name": "Ann the analyst", "groups": ["analysts"], "clr": 3},
    "sam": {"name": "Sam the steward", "groups": ["stewards"]},
    "root": {"name": "Root the administrator", "groups": ["platform"]},
    "eve": {"name": "Eve, who has nothing"},
}

#: The plugin in a terminal or a notebook: a native application, which keeps no secret.
PEOPLE = "kedro-muniment"
#: Muniment itself, when it introspects a token.
SERVICE = "muniment"
SERVICE_SECRET = "the-secret-of-the-service"
#: A job with a secret.
JOB = "nightly"
JOB_SECRET = "the-secret-of-the-job"
#: A job that signs with a private key (RFC 7523); the provider knows the public half.
KEY_JOB = "weekly"
KEY_JOB_KEY = ECKey.generate_key("P-256", parameters={"kid": "weekly-1", "alg": "ES256", "use": "sig"})

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SCOPES = "openid profile offline_access catalog"
REDIRECT = "http://127.0.0.1:53682/callback"
_PATHS = ("", "callback", "oauth2/callback")

CLIENTS: Sequence[Mapping[str, object]] = (
    {
        "client_id": PEOPLE,
        "application_type": "native",
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token", DEVICE_GRANT],
        # RFC 8252, 7.3: any port of a loopback address.
        "redirect_uris": [f"http://{host}/{path}" for host in ("127.0.0.1", "[::1]") for path in _PATHS],
    },
    {
        "client_id": SERVICE,
        "client_secret": SERVICE_SECRET,
        "grant_types": [],
        "response_types": [],
        "redirect_uris": [],
    },
    {
        "client_id": JOB,
        "client_secret": JOB_SECRET,
        "grant_types": ["client_credentials"],
        "response_types": [],
        "redirect_uris": [],
    },
    {
        "client_id": KEY_JOB,
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "jwks": {"keys": [KEY_JOB_KEY.as_dict(private=False)]},
        "grant_types": ["client_credentials"],
        "response_types": [],
        "redirect_uris": [],
    },
)

#: What a client's own tokens carry: nothing in a JWT of client credentials says that no person asks.
CLIENT_CLAIMS: Mapping[str, Mapping[str, object]] = {
    JOB: {"kind": "service", "groups": ["jobs"]},
    KEY_JOB: {"kind": "service", "groups": ["jobs"]},
}

Algorithm = Literal["RS256", "ES256"]


@dataclass(frozen=True)
class OidcProvider:
    """One provider that runs. What it is told here, an administrator would do by its own means."""

    http: httpx.Client
    _talk: Talk

    @property
    def issuer(self) -> str:
        """The issuer's exact URL."""
        return self._talk.issuer

    # --- tokens -----------------------------------------------------------------------------------------------------

    def token_for(
        self,
        account: str,
        *,
        resource: str = RESOURCE,
        client: str = PEOPLE,
        lifetime: int | None = None,
        **claims: object,
    ) -> str:
        """An access token, as if the account had signed in by this client; with other claims than usual, if given."""
        how = {"account": account, "client": client, "resource": resource, "lifetime": lifetime, "claims": claims}
        token: str = self._talk.tell("token", **how)["token"]
        return token

    def job_token(self, resource: str = RESOURCE) -> str:
        """The job's access token, by client credentials (RFC 6749, section 4.4)."""
        given = self.token((JOB, JOB_SECRET), grant_type="client_credentials", resource=resource, scope="catalog")
        token: str = given["access_token"]
        return token

    def device_code(self, resource: str = RESOURCE) -> dict[str, Any]:
        """What a device is told to show (RFC 8628, section 3.2)."""
        form = {"client_id": PEOPLE, "scope": SCOPES, "resource": resource}
        answer = self.http.post(f"{self.issuer}/device/auth", data=form)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def token(self, auth: tuple[str, str] | None = None, **form: str) -> dict[str, Any]:
        """What the token endpoint answers, be it a token or an error."""
        answer = self.http.post(f"{self.issuer}/token", data=form, auth=auth or httpx.USE_CLIENT_DEFAULT)
        given: dict[str, Any] = answer.json()
        return given

    # --- people -----------------------------------------------------------------------------------------------------

    @contextmanager
    def browser(self, account: str) -> Iterator[Browser]:
        """The browser in which this account signs in; while it is open, the provider knows the account again."""

        def fill(form: Form) -> Mapping[str, str]:
            if form.action.endswith("/session/end/confirm"):
                return {"logout": "yes"}
            return {"account": account} if "account" in form.fields else {}

        browser = Browser(self.issuer, fill)
        try:
            yield browser
        finally:
            browser.close()

    def sign_in(self, account: str, resource: str = RESOURCE) -> dict[str, Any]:
        """Sign somebody in by authorization code with PKCE, as a client would; the token response."""
        return signed_in_by_code(
            self.http,
            self.issuer,
            lambda address: self.sign_in_browser(address, account),
            client_id=PEOPLE,
            redirect_uri=REDIRECT,
            scope=SCOPES,
            prompt="consent",  # without it, offline access is not given (OpenID Connect Core, section 11)
            resource=resource,
        )

    def sign_in_browser(self, authorization_url: str, account: str) -> str:
        """Sign in where a client sent somebody; the address (code, state, ``iss``) to which the provider sends back."""
        with self.browser(account) as browser:
            return browser.redirected(authorization_url)

    def approve_device(self, user_code: str, account: str) -> None:
        """Enter a device's code, confirm it, and sign in (RFC 8628, section 3.3)."""
        with self.browser(account) as browser:
            page = browser.walk(f"{self.issuer}/device?user_code={user_code}")
            assert "Sign-in Success" in page.text, page.text

    def refuse_device(self, user_code: str) -> None:
        """Enter a device's code, and abort: the device hears ``access_denied``."""

        def fill(form: Form) -> Mapping[str, str] | None:
            if not form.fields.get("user_code"):
                return None  # the code was refused, and the page asks for another
            return {"abort": "yes"} if "confirm" in form.fields else {}

        browser = Browser(self.issuer, fill)
        page = browser.walk(f"{self.issuer}/device?user_code={user_code}")
        browser.close()
        assert "interrupted" in page.text, page.text

    # --- what an administrator does ---------------------------------------------------------------------------------

    def rotate(self, *, withdraw: bool = False) -> str:
        """Sign with a new key, and give its id; the earlier ones stay published unless they are withdrawn."""
        key_id: str = self._talk.tell("rotate", withdraw=withdraw)["key_id"]
        return key_id

    def end_sessions(self, account: str) -> list[str]:
        """End every session of the account, its refresh and opaque tokens with them; the clients that were told of it.

        Those with a ``backchannel_logout_uri`` are told before this returns.
        """
        told: list[str] = self._talk.tell("end_sessions", account=account)["told"]
        return told

    def put_account(self, account: str, **claims: object) -> None:
        """Somebody new, or somebody of whom the provider now says this."""
        self._talk.tell("account", id=account, claims=claims)

    def remove_account(self, account: str) -> None:
        """Somebody who left: nobody signs in with it, nor refreshes."""
        self._talk.tell("remove_account", id=account)

    def register(self, client_id: str, **metadata: object) -> None:
        """One more client, in the words of OpenID Connect's client metadata (as in RFC 7591)."""
        self._talk.tell("client", metadata={"client_id": client_id, **metadata})

    def asked(self, path: str) -> int:
        """How often somebody asked for a path: ``/jwks``, ``/token``, ``/token/introspection``."""
        counts: dict[str, int] = self._talk.tell("asked")
        return counts.get(path, 0)


@contextmanager
def running(
    accounts: Mapping[str, Mapping[str, object]] = ACCOUNTS,
    *,
    algorithm: Algorithm = "RS256",
    device_flow: bool = True,
    default_resources: Mapping[str, str] | None = None,
    ttl: Mapping[str, int] | None = None,
) -> Iterator[OidcProvider]:
    """Run the provider until the block ends.

    ``default_resources`` names the resource of a client that asks for none; ``ttl`` how many
    seconds things last (``{"DeviceCode": 5}``). A token's own are told where it is asked for.
    """
    described = {
        "accounts": accounts,
        "algorithm": algorithm,
        "clients": CLIENTS,
        "client_claims": CLIENT_CLAIMS,
        "resources": RESOURCES,
        "default_resources": default_resources or {},
        "device_flow": device_flow,
        "ttl": ttl or {},
    }
    command = [node(), _PROJECT / "server.mjs", packages(_PROJECT)]
    with talking(command, described) as talk, loopback_client() as http:
        yield OidcProvider(http, talk)
