"""A job that is a client of the sign-in provider: it proves itself and is given a token (RFC 6749, 4.4).

By a secret, sent as HTTP Basic or in the form (RFC 6749, 2.3.1); or by a private key that never leaves the job, which
signs a short statement for this one provider (RFC 7523, 2.2; OpenID Connect Core 1.0, 9).

That statement is made out to the issuer and to nobody else, as the revision of RFC 7523 demands: a list, or an address
that a provider chooses, lets one provider use it at another. Providers that know their token endpoint alone get that by
``MUNIMENT_CLIENT_ASSERTION_AUDIENCE``; it is the address that the statement is sent to.

Which way, which key and which algorithm are chosen here; Authlib writes and signs (``oauth.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

from kedro_muniment.problems import NotSignedIn, plain
from kedro_muniment.sign_in import secret_files
from kedro_muniment.sign_in.providers import Asker, Form, Granted, Provider, Statement, chosen, discovered
from kedro_muniment.sign_in.tokens import Token

SecretMethod = Literal["client_secret_basic", "client_secret_post"]

METHODS: Final[tuple[SecretMethod, ...]] = ("client_secret_basic", "client_secret_post")
AUDIENCES: Final = ("issuer", "token_endpoint")

#: How long a statement holds: it is sent at once.
ASSERTION_LIFE: Final = timedelta(seconds=60)
#: The algorithms of each kind of key, the usual one first.
ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "RSA": ("RS256", "PS256", "RS384", "PS384", "RS512", "PS512"),
        "P-256": ("ES256",),
        "P-384": ("ES384",),
        "P-521": ("ES512",),
        "Ed25519": ("EdDSA", "Ed25519"),
    }
)
SHORTEST_RSA: Final = 2048


class Proof(Protocol):
    """What a client proves itself with."""

    @property
    def told(self) -> str: ...

    def asker(self, client: str, provider: Provider) -> Asker:
        """The client with its proof, as this provider takes it."""
        ...


@dataclass(frozen=True, slots=True)
class Client:
    """A client of one of the service's issuers; of the default one unless it is said of which."""

    id: str
    proof: Proof
    issuer: str | None
    scope: str | None = None

    @property
    def told(self) -> str:
        return f"the client {plain(self.id)}{f' of {plain(self.issuer)}' if self.issuer else ''}, by {self.proof.told}"

    def granted(self, url: str) -> Granted:
        """A token for the service there (RFC 6749, 4.4.2; RFC 8707, 2)."""
        provider = discovered(chosen(url, self.issuer))
        wanted = provider.described
        scope = self.scope or wanted.scope_of_jobs
        form = Form(grant_type="client_credentials", scope=scope, resource=wanted.resource)
        return provider.grant(form, self.proof.asker(self.id, provider))


@dataclass(frozen=True, slots=True)
class Secret:
    """A client's secret, and how it is sent; read from its file when it is used."""

    read: Callable[[], Token]
    told: str
    method: str | None

    def asker(self, client: str, provider: Provider) -> Asker:
        return Asker(client, self._method(provider), self.read())

    def _method(self, provider: Provider) -> SecretMethod:
        """The one that was chosen, else the first that the provider lists (RFC 8414, 2: Basic, if it lists none)."""
        listed = provider.listed("token_endpoint_auth_methods_supported")
        offered = METHODS[:1] if listed is None else listed
        for method in METHODS:
            if method == self.method or (self.method is None and method in offered):
                return method
        raise NotSignedIn(
            f"The sign-in provider {provider.issuer} takes no client secrets; it takes "
            f"{', '.join(map(plain, offered)) or 'nothing'}. Use MUNIMENT_CLIENT_KEY_FILE if it takes private_key_jwt."
        )


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key that signs who the client is; its file is read when it is used."""

    path: str
    audience: str | None
    told: str = "its private key (MUNIMENT_CLIENT_KEY_FILE)"

    def asker(self, client: str, provider: Provider) -> Asker:
        audience = provider.endpoint("token_endpoint") if self.audience == "token_endpoint" else provider.issuer
        key = self._key()
        statement = Statement(key, self._algorithm(key, provider), audience, ASSERTION_LIFE)
        return Asker(client, "private_key_jwt", statement=statement)

    def _key(self) -> Any:
        found = _private_key(self.path)
        if isinstance(found, str):
            raise NotSignedIn(
                f"No private key can be read from {plain(self.path)}: {found}. MUNIMENT_CLIENT_KEY_FILE names a PEM "
                "file without a password, or a JWK."
            )
        return found

    def _algorithm(self, key: Any, provider: Provider) -> str:
        """What the key says that it is for, else the usual of those that suit the key and the provider."""
        suiting = _suiting(key)
        offered = provider.listed("token_endpoint_auth_signing_alg_values_supported") or suiting
        for algorithm in (key.alg,) if key.alg else suiting:
            if algorithm in suiting and algorithm in offered:
                return algorithm
        raise NotSignedIn(
            f"The key in {plain(self.path)} signs by {key.alg or ', '.join(suiting)}, and the sign-in provider "
            f"{provider.issuer} takes {', '.join(map(plain, offered))}. Make a key that suits both."
        )


def _private_key(path: str) -> Any:
    """The private key in a PEM or JWK file, or why there is none, in words that follow a colon."""
    from kedro_muniment.sign_in import oauth

    text = secret_files.read(path)
    if isinstance(text, str):
        return text
    key = oauth.private_key(text)
    if key is None:
        return "it holds neither a PEM without a password nor a JWK, of an RSA, EC or Ed25519 key"
    if not key.is_private:
        return "it holds the public half alone"
    if not _suiting(key):
        return "a key of this curve signs nothing here"
    if key.key_type == "RSA" and key.raw_value.key_size < SHORTEST_RSA:
        return f"it is an RSA key of fewer than {SHORTEST_RSA} bits"
    if key.get("use", "sig") != "sig" or "sign" not in (key.get("key_ops") or "sign"):
        return "it is a key for something else than signing"
    return key


def _suiting(key: Any) -> tuple[str, ...]:
    """The algorithms that a key can sign by."""
    return ALGORITHMS.get("RSA" if key.key_type == "RSA" else str(key.get("crv")), ())


def secret(given: Token, method: str | None) -> Proof:
    """The secret that stands in the environment."""
    return Secret(lambda: given, "its secret (MUNIMENT_CLIENT_SECRET)", method)


def secret_file(path: Token, method: str | None) -> Proof:
    """The secret in a file, read anew for each token: whoever rotates it need not start the job again."""

    def read() -> Token:
        held = secret_files.read(path.revealed())
        if isinstance(held, str):
            raise NotSignedIn(
                f"No secret can be read from {plain(path.revealed())}: {held}. MUNIMENT_CLIENT_SECRET_FILE names it."
            )
        return held

    return Secret(read, "its secret (MUNIMENT_CLIENT_SECRET_FILE)", method)


def key_file(path: Token, audience: str | None) -> Proof:
    """The private key in a file."""
    return KeyFile(path.revealed(), audience)


#: The proof that each variable names, with what its other variable chose.
PROOFS: Final[Mapping[str, Callable[[Token, str | None], Proof]]] = MappingProxyType(
    {
        "MUNIMENT_CLIENT_SECRET": secret,
        "MUNIMENT_CLIENT_SECRET_FILE": secret_file,
        "MUNIMENT_CLIENT_KEY_FILE": key_file,
    }
)
