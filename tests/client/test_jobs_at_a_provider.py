"""A job asks a provider for its token: the certified one from npm, and small servers that misbehave on purpose."""

from __future__ import annotations

import base64
import json
import os
import traceback
from collections.abc import Iterator

import httpx
import pytest
from click.testing import CliRunner
from joserfc import jwt as signed
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from kedro_muniment.command_line.commands import commands
from kedro_muniment.problems import MunimentError, NotSignedIn, Unreachable
from kedro_muniment.service import Service
from kedro_muniment.sign_in import jobs
from tests.client.third_parties import Provider, jwt, running
from tests.providers import canaille, oidc_provider
from tests.providers.oidc_provider import JOB, JOB_SECRET, KEY_JOB, KEY_JOB_KEY, RESOURCE, OidcProvider

SECRET = "never-to-be-seen"


@pytest.fixture(scope="module")
def certified() -> Iterator[OidcProvider]:
    with oidc_provider.running() as provider:
        yield provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running(Provider) as provider:
        yield provider


@pytest.fixture
def environment(monkeypatch, service):
    """Sets variables, where none is set; and issuers that the service believes."""
    for name in list(os.environ):
        if name.startswith(("MUNIMENT_", "ACTIONS_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(jobs, "_kept", {})

    def name(*issuers, **variables):
        for variable, value in variables.items():
            monkeypatch.setenv(variable, str(value))
        if issuers:
            told = json.dumps({"service": "muniment", "issuers": issuers})
            service.instead["/.well-known/muniment"] = (200, "application/json", told)

    return name


def believed(issuer, **more):
    """How the service describes an issuer."""
    described = {"name": "corp", "issuer": issuer, "client_id": "kedro-muniment", "default": True}
    return {**described, "scopes": ["catalog"], "resource": RESOURCE, "audience": "muniment", **more}


def sent_by(token):
    request = httpx.Request("GET", "https://muniment.example")
    token.authorize(request.headers)
    return request.headers["Authorization"].removeprefix("Bearer ")


def claims_of(token):
    payload = sent_by(token).split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def refused(service, *secrets, kind=NotSignedIn):
    """The words of the refusal; neither they nor any frame that the refusal passed hold a secret."""
    with pytest.raises(MunimentError) as raised:
        jobs.found(service.url)
    assert type(raised.value) is kind
    shown = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    ours = shown[shown.index("kedro_muniment/sign_in/jobs.py") :]
    assert not [secret for secret in secrets if secret in ours]
    return raised.value.message


# --- the certified provider -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [None, "client_secret_basic"])
def test_a_job_with_a_secret_is_given_a_token_for_the_service(environment, service, certified, method):
    environment(believed(certified.issuer), MUNIMENT_CLIENT_ID=JOB, MUNIMENT_CLIENT_SECRET=JOB_SECRET)
    environment(**({"MUNIMENT_CLIENT_AUTH": method} if method else {}))
    claims = claims_of(jobs.found(service.url))
    assert (claims["iss"], claims["sub"], claims["aud"]) == (certified.issuer, JOB, "muniment")


def test_a_secret_in_a_file_is_the_same(environment, service, certified, tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{JOB_SECRET}\n")
    environment(believed(certified.issuer), MUNIMENT_CLIENT_ID=JOB, MUNIMENT_CLIENT_SECRET_FILE=file)
    assert claims_of(jobs.found(service.url))["sub"] == JOB


def test_id_and_secret_are_form_encoded_as_the_standard_has_it(environment, service, certified):
    """RFC 6749, 2.3.1: a certified provider decodes them, so a secret with such characters fails otherwise."""
    odd = "a+b%20c:d/~ =&"
    certified.register(
        "odd:one", client_secret=odd, grant_types=["client_credentials"], response_types=[], redirect_uris=[]
    )
    environment(believed(certified.issuer), MUNIMENT_CLIENT_ID="odd:one", MUNIMENT_CLIENT_SECRET=odd)
    assert claims_of(jobs.found(service.url))["sub"] == "odd:one"


def test_a_secret_goes_into_the_form_where_the_client_is_registered_so(environment, service, certified):
    certified.register(
        "posting", client_secret=SECRET, token_endpoint_auth_method="client_secret_post",
        grant_types=["client_credentials"], response_types=[], redirect_uris=[],
    )  # fmt: skip
    environment(believed(certified.issuer), MUNIMENT_CLIENT_ID="posting", MUNIMENT_CLIENT_SECRET=SECRET)
    environment(MUNIMENT_CLIENT_AUTH="client_secret_post")
    assert claims_of(jobs.found(service.url))["sub"] == "posting"


def test_a_token_is_asked_for_once_in_a_process(environment, service, certified):
    environment(believed(certified.issuer), MUNIMENT_CLIENT_ID=JOB, MUNIMENT_CLIENT_SECRET=JOB_SECRET)
    before = certified.asked("/token")
    tokens = [jobs.found(service.url) for _ in range(3)]
    assert len({sent_by(token) for token in tokens}) == 1
    assert jobs.described(service.url).startswith(f"the client {JOB}, by its secret (MUNIMENT_CLIENT_SECRET), until 20")
    assert certified.asked("/token") == before + 1


@pytest.mark.parametrize(
    ("scopes", "asked"),
    [
        (["openid", "offline_access"], None),
        (["openid", "profile", "email", "address", "phone", "catalog", "more"], "catalog more"),
        ([], None),
    ],
)
def test_what_is_asked_of_people_is_not_asked_of_a_job(by_secret, service, provider, scopes, asked):
    """The service describes one list of scopes, for people."""
    by_secret(believed(provider.url, scopes=scopes))
    jobs.found(service.url)
    assert provider.to("/token")[0].form.get("scope") == asked


def test_a_job_says_itself_what_scopes_it_asks_for(by_secret, service, provider):
    by_secret(MUNIMENT_TOKEN_SCOPE="api://muniment/.default")
    jobs.found(service.url)
    assert provider.to("/token")[0].form["scope"] == "api://muniment/.default"


def written(tmp_path, key, *, as_jwk):
    file = tmp_path / "key"
    file.write_text(json.dumps(key.as_dict(private=True)) if as_jwk else key.as_pem(private=True).decode())
    return file


KEYS = {
    "RSA": lambda: RSAKey.generate_key(2048),
    "P-256": lambda: ECKey.generate_key("P-256"),
    "Ed25519": lambda: OKPKey.generate_key("Ed25519"),
}


@pytest.mark.parametrize("audience", [None, "issuer", "token_endpoint"])
@pytest.mark.parametrize("as_jwk", [True, False])
def test_a_job_with_a_private_key_needs_no_secret(environment, service, certified, tmp_path, as_jwk, audience):
    file = written(tmp_path, KEY_JOB_KEY, as_jwk=as_jwk)
    environment(believed(certified.issuer), MUNIMENT_CLIENT_ID=KEY_JOB, MUNIMENT_CLIENT_KEY_FILE=file)
    environment(**({"MUNIMENT_CLIENT_ASSERTION_AUDIENCE": audience} if audience else {}))
    assert claims_of(jobs.found(service.url))["sub"] == KEY_JOB


@pytest.mark.parametrize("kind", KEYS)
def test_the_algorithm_is_that_of_the_key(environment, service, certified, tmp_path, kind):
    key = KEYS[kind]()
    client = f"by-{kind.lower()}"
    certified.register(
        client, token_endpoint_auth_method="private_key_jwt", jwks={"keys": [key.as_dict(private=False)]},
        grant_types=["client_credentials"], response_types=[], redirect_uris=[],
    )  # fmt: skip
    file = written(tmp_path, key, as_jwk=False)
    environment(believed(certified.issuer), MUNIMENT_CLIENT_ID=client, MUNIMENT_CLIENT_KEY_FILE=file)
    assert claims_of(jobs.found(service.url))["sub"] == client


def test_a_key_that_the_provider_does_not_know_is_refused_in_its_words(environment, service, certified, tmp_path):
    key = ECKey.generate_key("P-256", parameters={"kid": "weekly-1"})
    file = written(tmp_path, key, as_jwk=True)
    environment(believed(certified.issuer), MUNIMENT_CLIENT_ID=KEY_JOB, MUNIMENT_CLIENT_KEY_FILE=file)
    said = refused(service, key.as_dict(private=True)["d"])
    assert said.startswith(f"The sign-in provider {certified.issuer} gave no token: invalid_client")
    assert said.endswith("Check the client's id and its secret or key, and that the provider lets it sign in so.")


def test_a_wrong_secret_is_refused_in_the_providers_words(environment, service, certified):
    environment(believed(certified.issuer), MUNIMENT_CLIENT_ID=JOB, MUNIMENT_CLIENT_SECRET=SECRET)
    assert "gave no token: invalid_client" in refused(service, SECRET)


# --- a provider of another make -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def canaille_runs() -> Iterator[canaille.Canaille]:
    with canaille.running() as provider:
        yield provider


def test_an_opaque_token_of_another_make_of_provider_is_kept_too(environment, service, canaille_runs):
    environment(
        believed(canaille_runs.issuer, scopes=["openid", "profile"], resource=None),
        MUNIMENT_CLIENT_ID=canaille.JOB,
        MUNIMENT_CLIENT_SECRET=canaille.JOB_SECRET,
    )
    first, second = (sent_by(jobs.found(service.url)) for _ in range(2))
    assert first == second
    assert "." not in first
    assert ", until 20" in jobs.described(service.url)


# --- the statement that a key signs ---------------------------------------------------------------------------------


@pytest.fixture
def by_key(environment, provider, tmp_path):
    """A job with a private key at a provider that takes whatever it is given."""
    key = ECKey.generate_key("P-256", parameters={"kid": "weekly-1"})
    file = written(tmp_path, key, as_jwk=True)
    environment(believed(provider.url), MUNIMENT_CLIENT_ID="weekly", MUNIMENT_CLIENT_KEY_FILE=file)
    return key


def asserted(provider, key):
    (sent,) = provider.to("/token")
    assert sent.form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return signed.decode(sent.form["client_assertion"], key, algorithms=[*jobs.client_credentials.ALGORITHMS["P-256"]])


def test_it_says_who_the_client_is_to_this_issuer_alone_once_and_for_a_minute(by_key, service, provider):
    jobs.found(service.url)
    statement = asserted(provider, by_key)
    assert statement.header == {"alg": "ES256", "typ": "JWT", "kid": "weekly-1"}
    claims = statement.claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("weekly", "weekly", provider.url)
    assert claims["exp"] - claims["iat"] == 60
    assert len(claims["jti"]) >= 22
    (form,) = [sent.form for sent in provider.to("/token")]
    assert form.keys() == {
        "grant_type", "scope", "resource", "client_id", "client_assertion_type", "client_assertion",
    }  # fmt: skip


def test_no_two_statements_have_one_id(by_key, service, provider):
    provider.give(expires_in=None, access_token=SECRET)
    for _ in range(2):
        jobs.found(service.url)
    statements = [sent.form["client_assertion"].split(".")[1] for sent in provider.to("/token")]
    ids = [json.loads(base64.urlsafe_b64decode(f"{statement}=="))["jti"] for statement in statements]
    assert len(set(ids)) == len(ids) == 2


def test_it_is_made_out_to_the_token_endpoint_where_that_is_asked_for(by_key, environment, service, provider):
    environment(MUNIMENT_CLIENT_ASSERTION_AUDIENCE="token_endpoint")
    jobs.found(service.url)
    assert asserted(provider, by_key).claims["aud"] == f"{provider.url}/token"


def test_a_provider_that_takes_no_algorithm_of_the_key_is_said(by_key, service, provider):
    provider.publish(token_endpoint_auth_signing_alg_values_supported=["RS256", "PS256"])
    assert f"signs by ES256, and the sign-in provider {provider.url} takes RS256, PS256" in refused(service)


def test_an_rsa_key_signs_as_the_provider_takes_it(environment, service, provider, tmp_path):
    file = written(tmp_path, RSAKey.generate_key(2048), as_jwk=False)
    environment(believed(provider.url), MUNIMENT_CLIENT_ID="weekly", MUNIMENT_CLIENT_KEY_FILE=file)
    provider.publish(token_endpoint_auth_signing_alg_values_supported=["PS256"])
    jobs.found(service.url)
    header = provider.to("/token")[0].form["client_assertion"].split(".")[0]
    assert json.loads(base64.urlsafe_b64decode(f"{header}=="))["alg"] == "PS256"


EC = ECKey.generate_key("P-256")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n", "neither a PEM without a password nor"),
        (json.dumps({"kty": "EC", "crv": "P-256", "d": SECRET}), "neither a PEM without a password nor a JWK"),
        (json.dumps([SECRET]), "neither a PEM without a password nor a JWK"),
        (EC.as_pem(private=True, password=SECRET).decode(), "neither a PEM without a password nor a JWK"),
        (json.dumps(OctKey.import_key(SECRET).as_dict()), "neither a PEM without a password nor a JWK"),
        (json.dumps({"keys": [EC.as_dict(private=True)]}), "neither a PEM without a password nor a JWK"),
        (EC.as_pem(private=False).decode(), "it holds the public half alone"),
        (json.dumps({**EC.as_dict(private=True), "use": "enc"}), "it is a key for something else than signing"),
        (OKPKey.generate_key("X25519").as_pem(private=True).decode(), "a key of this curve signs nothing here"),
    ],
)
def test_a_file_without_a_private_key_is_refused_by_its_path(environment, service, provider, tmp_path, content, words):
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    environment(believed(provider.url), MUNIMENT_CLIENT_ID="weekly", MUNIMENT_CLIENT_KEY_FILE=file)
    said = refused(service, SECRET, EC.as_dict(private=True)["d"])
    assert said.startswith(f"No private key can be read from {file}: ")
    assert words in said
    assert not provider.to("/token")


def test_a_short_rsa_key_is_refused(environment, service, provider, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    file = tmp_path / "key"
    file.write_bytes(
        short.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    environment(believed(provider.url), MUNIMENT_CLIENT_ID="weekly", MUNIMENT_CLIENT_KEY_FILE=file)
    assert "fewer than 2048 bits" in refused(service)


# --- to whom a secret goes ------------------------------------------------------------------------------------------


@pytest.fixture
def by_secret(environment, provider):
    """A job with a secret, at a provider of which a test says what it does."""
    environment(believed(provider.url), MUNIMENT_CLIENT_ID="nightly", MUNIMENT_CLIENT_SECRET=SECRET)
    return environment


@pytest.mark.parametrize("other", ["https://login.example.org", "", None, 7])
def test_what_speaks_for_another_issuer_gets_no_secret(by_secret, service, provider, other):
    provider.answers["/.well-known/openid-configuration"] = (
        200, {}, {"issuer": other, "token_endpoint": f"{provider.url}/token"},
    )  # fmt: skip
    assert "speaks for another issuer" in refused(service, SECRET)
    assert not provider.to("/token")


def test_an_issuer_that_differs_by_a_slash_is_another(by_secret, service, provider):
    provider.publish(issuer=f"{provider.url}/")
    assert "letter by letter" in refused(service, SECRET)
    assert not provider.to("/token")


@pytest.mark.parametrize(
    "endpoint",
    ["http://login.example.org/token", "https://u:p@login.example.org/token", "//login.example.org", "/token"],
)
def test_no_secret_goes_to_an_endpoint_that_can_be_listened_to(by_secret, service, provider, endpoint):
    provider.publish(token_endpoint=endpoint)
    assert "where no secret is sent" in refused(service, SECRET)


@pytest.mark.parametrize("host", [f"{'a' * 64}.example", "a..example", "xn--a-"])
def test_an_endpoint_at_a_name_that_no_host_can_have_is_said(by_secret, service, provider, host):
    by_secret(MUNIMENT_CLIENT_AUTH="client_secret_post")
    provider.publish(token_endpoint=f"https://{host}/token")
    assert "(no host can have that name)" in refused(service, SECRET, kind=Unreachable)


def test_an_issuer_off_this_machine_is_not_asked_over_plain_http(by_secret, service):
    by_secret(believed("http://login.example.org"))
    assert "where no secret is sent" in refused(service, SECRET)


def test_a_redirect_by_the_token_endpoint_is_not_followed(by_secret, service, provider):
    provider.answers["/token"] = (307, {"Location": f"{provider.url}/elsewhere"}, {})
    assert "answered 307" in refused(service, SECRET)
    assert not provider.to("/elsewhere")


def test_a_provider_without_a_token_endpoint_is_said(by_secret, service, provider):
    provider.publish(token_endpoint=None)
    assert "says no `token_endpoint`" in refused(service, SECRET)


def test_metadata_by_rfc_8414_is_found_where_there_is_no_openid_document(by_secret, service, provider):
    document = provider.answers.pop("/.well-known/openid-configuration")[2]
    provider.answers["/.well-known/oauth-authorization-server/tenant"] = (
        200, {}, {**document, "issuer": f"{provider.url}/tenant"},
    )  # fmt: skip
    by_secret(believed(f"{provider.url}/tenant"))
    assert sent_by(jobs.found(service.url))


def test_an_issuer_is_chosen_by_its_exact_address_among_those_that_the_service_believes(by_secret, service, provider):
    by_secret(believed("https://people.example.org"), believed(provider.url, name="robots", default=False))
    by_secret(MUNIMENT_TOKEN_ISSUER=provider.url)
    assert sent_by(jobs.found(service.url))
    by_secret(MUNIMENT_TOKEN_ISSUER=f"{provider.url}/")
    assert "It believes: https://people.example.org, " in refused(service, SECRET)


def test_a_service_that_names_another_issuer_than_the_job_gets_no_secret_sent_there(by_secret, service, provider):
    """Who runs the address in ``muniment.yml`` would else choose who is given the secret."""
    by_secret(MUNIMENT_TOKEN_ISSUER="https://login.example.org")
    assert "does not believe the issuer https://login.example.org" in refused(service, SECRET)
    assert not provider.sent


def test_a_secret_is_sent_in_the_one_way_that_the_provider_takes(by_secret, service, provider):
    provider.publish(token_endpoint_auth_methods_supported=["private_key_jwt", "client_secret_post"])
    sent_by(jobs.found(service.url))
    (sent,) = provider.to("/token")
    assert "authorization" not in sent.headers
    assert (sent.form["client_id"], sent.form["client_secret"]) == ("nightly", SECRET)


def test_a_client_that_is_named_in_the_header_is_not_named_again_in_the_form(by_secret, service, provider):
    """Certified providers refuse a client that is named twice (RFC 6749, 2.3: one way in each request)."""
    jobs.found(service.url)
    (sent,) = provider.to("/token")
    assert sent.headers["authorization"] == f"Basic {base64.b64encode(f'nightly:{SECRET}'.encode()).decode()}"
    assert sent.form == {"grant_type": "client_credentials", "scope": "catalog", "resource": RESOURCE}


def test_a_provider_that_takes_no_secrets_is_said(by_secret, service, provider):
    provider.publish(token_endpoint_auth_methods_supported=["private_key_jwt"])
    assert "takes no client secrets; it takes private_key_jwt" in refused(service, SECRET)
    assert not provider.to("/token")


# --- what a provider answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"token_type": "DPoP", "access_token": SECRET},
        {"token_type": None, "access_token": SECRET},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": None},
        {"access_token": f"{SECRET} {SECRET}"},
        {"access_token": None, "id_token": SECRET, "refresh_token": SECRET},
    ],
)
def test_an_answer_without_a_bearer_token_is_refused_without_repeating_it(by_secret, service, provider, given):
    provider.give(**given)
    assert "gave no bearer token" in refused(service, SECRET)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_refusal_that_repeats_the_secret_is_shown_without_its_words(by_secret, service, provider, method):
    by_secret(MUNIMENT_CLIENT_AUTH=method)
    provider.refuse(401, "invalid_client", f"the secret {SECRET} is wrong")
    assert refused(service, SECRET).startswith(f"The sign-in provider {provider.url} gave no token: invalid_client. ")


def test_the_words_of_a_refusal_are_made_fit_for_a_terminal(by_secret, service, provider):
    provider.refuse(400, "invalid_scope", "no\x1b[31m such\nscope " + "x" * 1000)
    said = refused(service)
    assert "invalid_scope (no[31m such scope xxx" in said
    assert len(said) < 700


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_provider_that_cannot_answer_now_is_no_refusal(by_secret, service, provider, status):
    provider.refuse(status, "server_error", "")
    assert "Try again later." in refused(service, SECRET, kind=Unreachable)


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"issuers": ', b"[" * 100_000])
def test_an_answer_that_is_no_json_object_is_refused(by_secret, service, provider, body):
    provider.answers["/token"] = (200, {}, body)
    assert "gave no bearer token" in refused(service, SECRET)


def test_an_endless_answer_is_not_read(by_secret, service, provider):
    provider.answers["/token"] = (200, {}, {"access_token": "a", "token_type": "Bearer", "more": "x" * 300_000})
    assert "gave no bearer token" in refused(service, SECRET)


def test_a_provider_that_is_away_is_said_with_its_address(by_secret, service):
    by_secret(believed("http://127.0.0.1:9"))
    assert "http://127.0.0.1:9 cannot be reached" in refused(service, SECRET, kind=Unreachable)


@pytest.mark.parametrize("told", ['{"issuers": []}', '{"issuers": [{"issuer": "https://a.example"}]}'])
def test_a_service_without_a_default_issuer_is_said(by_secret, service, told):
    service.instead["/.well-known/muniment"] = (200, "application/json", told)
    assert "names no sign-in provider" in refused(service, SECRET)


def test_what_a_service_says_that_no_form_can_hold_is_not_asked_for(by_secret, service, provider):
    """JSON can say half of a character, and an error about it would repeat the form with the secret."""
    by_secret(believed(provider.url, scopes=["catalog", "\ud800", "two words", ""], resource="urn:\ud800"))
    by_secret(MUNIMENT_CLIENT_AUTH="client_secret_post")
    jobs.found(service.url)
    (sent,) = provider.to("/token")
    assert sent.form["scope"] == "catalog"
    assert "resource" not in sent.form


@pytest.mark.parametrize("told", ["<html>", "{}", '{"issuers": 7}'])
def test_what_is_not_muniment_is_told_nothing(by_secret, service, told):
    service.instead["/.well-known/muniment"] = (200, "text/html", told)
    assert "not as Muniment does" in refused(service, SECRET, kind=Unreachable)


def test_a_token_of_unknown_end_is_asked_for_at_each_use(by_secret, service, provider):
    provider.give(expires_in=None, access_token=SECRET)
    token = jobs.found(service.url)
    sent_by(token)
    sent_by(token)
    assert len(provider.to("/token")) == 3


@pytest.mark.parametrize("lasts", [0, -1, "soon", True, 10**30, float("inf")])
def test_a_life_that_is_none_is_not_believed(by_secret, service, provider, lasts):
    provider.give(expires_in=lasts, access_token=SECRET)
    assert sent_by(jobs.found(service.url)) == SECRET


def test_a_kept_token_that_the_service_refuses_is_thrown_away_and_another_asked_for(by_secret, service, provider):
    token = jobs.found(service.url)
    provider.give(access_token=SECRET)
    service.bearers.add(SECRET)
    assert Service(service.url, token).whoami()["subject"] == "user:ann"
    assert [asked.status for asked in service.asked if asked.path == "/v1/whoami"] == [401, 200]
    Service(service.url, token).whoami()
    assert len(provider.to("/token")) == 2


def test_a_job_that_the_service_does_not_let_in_asks_once_more_and_no_oftener(by_secret, service, provider):
    with pytest.raises(NotSignedIn, match="It was asked with the client nightly"):
        Service(service.url, jobs.found(service.url)).whoami()
    assert [asked.status for asked in service.asked if asked.path == "/v1/whoami"] == [401, 401]
    assert len(provider.to("/token")) == 2


def test_a_token_that_was_not_asked_for_is_presented_once(environment, service):
    environment(MUNIMENT_TOKEN=SECRET)
    with pytest.raises(NotSignedIn, match="Set MUNIMENT_TOKEN to a fresh access token"):
        Service(service.url, jobs.found(service.url)).whoami()
    assert [asked.status for asked in service.asked if asked.path == "/v1/whoami"] == [401]


def test_another_secret_is_another_token(by_secret, service, provider):
    first = sent_by(jobs.found(service.url))
    provider.give(access_token=jwt(sub="other"))
    by_secret(MUNIMENT_CLIENT_SECRET="another")
    assert sent_by(jobs.found(service.url)) != first


# --- token exchange -------------------------------------------------------------------------------------------------


def test_a_platforms_token_is_exchanged_for_the_providers(environment, service, provider, tmp_path):
    file = tmp_path / "token"
    subject = jwt(iss="https://cluster.example", sub="system:serviceaccount:etl:nightly")
    file.write_text(subject)
    environment(believed(provider.url), MUNIMENT_WORKLOAD="kubernetes", MUNIMENT_TOKEN_FILE=file)
    environment(MUNIMENT_TOKEN_EXCHANGE="1")
    given = jwt(iss=provider.url, sub="nightly")
    provider.give(issued_token_type="urn:ietf:params:oauth:token-type:access_token", access_token=given)
    assert sent_by(jobs.found(service.url)) == given
    (sent,) = provider.to("/token")
    assert sent.form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "client_id": "kedro-muniment",
        "subject_token": subject,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "scope": "catalog",
        "resource": RESOURCE,
    }
    assert "exchanged" in jobs.described(service.url)


def test_an_exchange_names_the_audience_where_there_is_no_resource(environment, service, provider):
    environment(believed(provider.url, resource=None, scopes=[]), MUNIMENT_WORKLOAD="gitlab", MUNIMENT_ID_TOKEN=jwt())
    environment(MUNIMENT_TOKEN_EXCHANGE="1", MUNIMENT_CLIENT_ID="pipelines")
    jobs.found(service.url)
    (sent,) = provider.to("/token")
    assert (sent.form["audience"], sent.form["client_id"]) == ("muniment", "pipelines")
    assert not sent.form.keys() & {"resource", "scope"}


def test_a_refused_exchange_does_not_repeat_the_platforms_token(environment, service, provider):
    held = jwt(sub="x")
    environment(believed(provider.url), MUNIMENT_WORKLOAD="gitlab", MUNIMENT_ID_TOKEN=held, MUNIMENT_TOKEN_EXCHANGE="1")
    provider.refuse(400, "unsupported_grant_type", f"cannot exchange {held}")
    said = refused(service, held)
    assert "gave no token: unsupported_grant_type. The provider does not offer this way to sign in." in said


@pytest.mark.parametrize("value", ["0", ""])
def test_without_an_exchange_the_platforms_token_is_presented_itself(environment, service, provider, value):
    held = jwt(sub="x")
    environment(believed(provider.url), MUNIMENT_WORKLOAD="gitlab", MUNIMENT_ID_TOKEN=held)
    environment(MUNIMENT_TOKEN_EXCHANGE=value)
    assert sent_by(jobs.found(service.url)) == held
    assert not provider.sent


# --- the commands ---------------------------------------------------------------------------------------------------


def test_doctor_tells_which_credential_is_in_force_and_never_its_value(governed, service, provider, monkeypatch):
    monkeypatch.chdir(governed.path)
    monkeypatch.setattr(jobs, "_kept", {})
    told = json.dumps({"issuers": [believed(provider.url)], "lease_issuer": service.url})
    service.instead["/.well-known/muniment"] = (200, "application/json", told)
    given = jwt(iss=provider.url, sub="nightly")
    provider.give(access_token=given)
    service.bearers.add(given)
    env = {"MUNIMENT_TOKEN": None, "MUNIMENT_CLIENT_ID": "nightly", "MUNIMENT_CLIENT_SECRET": SECRET}
    done = CliRunner().invoke(commands, ["muniment", "doctor"], env=env)
    assert done.exit_code == 0, done.output
    assert "ok  sign-in: the client nightly, by its secret (MUNIMENT_CLIENT_SECRET), until 20" in done.output
    assert SECRET not in done.output
    assert given not in done.output
