"""What the platform that runs a job says of it: a signed token that no one had to store.

GitHub Actions, GitLab CI and Kubernetes sign for a job what it is: which repository, which branch, which service
account. The service believes such a token like any other issuer's, under conditions on its claims; or a provider
takes it in exchange for one of its own (RFC 8693).

For whom the token is good is said by the job (its workflow, its pod), and never by the service: a service that could
choose the audience could choose a cloud's, and act there as the job.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from kedro_muniment.problems import NotSignedIn, Unreachable, plain
from kedro_muniment.sign_in import secret_files
from kedro_muniment.sign_in.providers import Answer, Asker, Form, Granted, asked, chosen, discovered, safe
from kedro_muniment.sign_in.tokens import Token

#: RFC 8693, 2.1 and 3.
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
ACCESS: Final = "urn:ietf:params:oauth:token-type:access_token"

_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform: the variable that it needs, and how its token is come by with what that says."""

    told: str
    needs: str
    advice: str
    issued: Callable[[Token], Granted]
    #: Whether its token is asked for over the network, and so kept for a while.
    is_asked: bool = False


def in_file(path: str) -> Granted:
    """The token that stands in a file now."""
    held = secret_files.read(path)
    if isinstance(held, Token) and held.is_sendable():
        return Granted(held, held.until())
    why = held if isinstance(held, str) else "it holds something that is not a token"
    raise NotSignedIn(f"No token can be read from {plain(path)}: {why}. MUNIMENT_TOKEN_FILE names it.")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A platform's token for one of the provider's own (RFC 8693, 2.1)."""

    issued: Callable[[], Granted]
    issuer: str | None
    client_id: str | None
    scope: str | None

    def granted(self, url: str) -> Granted:
        """A token for the service there."""
        provider = discovered(chosen(url, self.issuer))
        wanted = provider.described
        form = Form(
            grant_type=EXCHANGE,
            subject_token_type=JWT,
            requested_token_type=ACCESS,
            scope=self.scope or wanted.scope_of_jobs,
            resource=wanted.resource,
            audience=None if wanted.resource else wanted.audience,
        )
        asker = Asker(self.client_id or wanted.client_id)
        return provider.grant(form.with_secret("subject_token", self.issued().token), asker)


def _from_github(audience: Token) -> Granted:
    """Ask the runner for this job's token, as GitHub's own toolkit does.

    The two variables are there only in a job that has the permission ``id-token: write``.
    """
    address = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
    runner = Token(os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", ""))
    if not address or not runner or not runner.is_sendable():
        raise NotSignedIn(
            "GitHub gives this job no identity token (ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN "
            "are not there). Give the job the permission id-token: write; a pull request from a fork never has it."
        )
    joined = "&" if "?" in address else "?"
    address = safe(f"{address}{joined}{urlencode({'audience': audience.revealed()})}", "GitHub's token address")
    said = _value(asked("GET", address, lambda request: _authorized(request, runner)))
    if isinstance(said, str):
        raise Unreachable(f"GitHub gave no identity token for this job ({said}). Nothing was run. Start the job again.")
    return said


def _authorized(request: Any, token: Token) -> Any:
    token.authorize(request.headers)
    return request


def _value(answer: Answer) -> Granted | str:
    """GitHub's answer as a token, or why there is none. It never raises: the answer holds a token."""
    if isinstance(answer, str):
        return answer
    status, body = answer
    value = body.get("value") if isinstance(body, dict) else None
    if status != _OK or not isinstance(value, str) or not value or not Token(value).is_sendable():
        return f"it answered {status}"
    return Granted(Token(value), Token(value).until())


def _from_variable(token: Token) -> Granted:
    if not token.is_sendable():
        raise NotSignedIn("MUNIMENT_ID_TOKEN holds something that is not a token. See id_tokens: in .gitlab-ci.yml.")
    return Granted(token, token.until())


def _from_file(path: Token) -> Granted:
    return in_file(path.revealed())


PLATFORMS: Final[Mapping[str, Platform]] = MappingProxyType(
    {
        "github": Platform(
            "GitHub's token for this job",
            "MUNIMENT_AUDIENCE",
            "Set it to the audience that the service expects of GitHub's tokens; whoever runs Muniment knows it.",
            _from_github,
            is_asked=True,
        ),
        "gitlab": Platform(
            "GitLab's token for this job",
            "MUNIMENT_ID_TOKEN",
            "Ask for it in .gitlab-ci.yml: id_tokens: {MUNIMENT_ID_TOKEN: {aud: …}}.",
            _from_variable,
        ),
        "kubernetes": Platform(
            "the token of this pod's service account",
            "MUNIMENT_TOKEN_FILE",
            "Set it to the path of a projected serviceAccountToken that is made for Muniment's audience.",
            _from_file,
        ),
        "file": Platform(
            "the token in the file of MUNIMENT_TOKEN_FILE",
            "MUNIMENT_TOKEN_FILE",
            "Set it to the path of the file that the platform writes this job's token into.",
            _from_file,
        ),
    }
)

#: The platforms whose token stands in the file that ``MUNIMENT_TOKEN_FILE`` names.
IN_FILES: Final = frozenset(name for name, platform in PLATFORMS.items() if platform.needs == "MUNIMENT_TOKEN_FILE")
