"""The setting that names issuers is read strictly, and says what is wrong with it."""

from __future__ import annotations

import json

import pytest

from muniment.core.problems import CannotStart
from muniment.core.provisioning import SubjectBy
from muniment.core.schema import parsed, schema_text
from muniment.identity.discovery import NotPublished, address_in
from muniment.identity.issuers import AttributeClaim, ServicesWhere, issuers_from, safe_address

CORP = {"name": "corp", "issuer": "https://login.corp.example/realms/a", "audience": "muniment", "default": True}
LAB = {"name": "lab", "issuer": "https://lab.example", "audience": "muniment"}


def test_what_is_not_said_has_a_careful_default():
    (corp,) = issuers_from([CORP])
    assert (corp.kind, corp.subject_claim, corp.groups_claim, corp.client_id) == ("users", "sub", "groups", None)
    assert not [name for name in corp.algorithms if name == "none" or name.startswith("HS")]
    assert corp.leeway_seconds == 30
    assert dict(corp.attributes) == {}


def test_provisioned_people_are_known_by_one_of_two_attributes():
    corp, lab = issuers_from([CORP, {**LAB, "scim_subject": "externalId"}])
    assert (corp.scim_subject, lab.scim_subject) == (SubjectBy.USER_NAME, SubjectBy.EXTERNAL_ID)
    with pytest.raises(CannotStart, match="scim_subject"):
        issuers_from([{**CORP, "scim_subject": "emails"}])


def test_everything_can_be_said_in_json():
    given = {
        **CORP,
        "kind": {"services_where": {"idtyp": "app"}},
        "client_id": "kedro-muniment",
        "subject_claim": "preferred_username",
        "groups_claim": "realm_access.roles",
        "attributes": {"clearance": {"claim": "clr", "type": "long"}},
        "algorithms": ["RS256"],
        "leeway_seconds": 0,
    }
    corp, lab = issuers_from(json.dumps([given, {**LAB, "kind": "services", "groups_claim": None}]))
    assert corp.kind == ServicesWhere({"idtyp": "app"})
    assert corp.attributes == {"clearance": AttributeClaim("clr", "long")}
    assert (corp.algorithms, corp.leeway_seconds, corp.client_id) == (("RS256",), 0, "kedro-muniment")
    assert (lab.kind, lab.groups_claim, lab.default) == ("services", None, False)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("not json", "not JSON: Expecting value at line 1"),
        ("{}", "must be a JSON list"),
        ("[]", "exactly one issuer .* none has it"),
        ('[{"name": "corp", "name": "lab"}]', "field “name” stands there twice"),
        ([7], "issuer 1 must be an object"),
        ([LAB], "exactly one issuer .* none has it"),
        ([CORP, {**LAB, "default": True}], r"2 have it \(corp, lab\)"),
        ([CORP, {**LAB, "name": "corp"}], "the name “corp” stands there twice"),
        ([CORP, {**LAB, "issuer": CORP["issuer"] + "/"}], "issuer URL .* twice"),
        ([{**CORP, "audiense": "x"}], "issuer “corp” has a field “audiense”"),
        ([{k: v for k, v in CORP.items() if k != "audience"}], "“audience” is missing"),
        ([{k: v for k, v in CORP.items() if k != "name"}], "in issuer 1, “name” is missing"),
        ([{**CORP, "audience": ""}], "“audience” must be a text"),
        ([{**CORP, "audience": ["muniment"]}], "“audience” must be a text"),
        ([{**CORP, "name": "Corp"}], "“name” must be a lower-case letter"),
        ([{**CORP, "name": "a|b"}], "“name” must be a lower-case letter"),
        ([{**CORP, "name": "muniment"}], "“name” must be another"),
        ([{**CORP, "issuer": "http://login.corp.example"}], "https://"),
        ([{**CORP, "issuer": "https://login.corp.example?tenant=1"}], "https://"),
        ([{**CORP, "issuer": "login.corp.example"}], "https://"),
        ([{**CORP, "default": "yes"}], "“default” must be true or false"),
        ([{**CORP, "kind": "people"}], "“kind” must be"),
        ([{**CORP, "kind": {"services_where": {}}}], "at least one claim"),
        ([{**CORP, "kind": {"services_where": {"idtyp": True}}}], "must be a text"),
        ([{**CORP, "kind": {"services_when": {"idtyp": "app"}}}], "services_when"),
        ([{**CORP, "algorithms": ["HS256"]}], "“algorithms” must be a list"),
        ([{**CORP, "algorithms": ["none"]}], "“algorithms” must be a list"),
        ([{**CORP, "algorithms": []}], "“algorithms” must be a list"),
        ([{**CORP, "algorithms": "RS256"}], "“algorithms” must be a list"),
        ([{**CORP, "leeway_seconds": 301}], "from 0 to 300"),
        ([{**CORP, "leeway_seconds": True}], "from 0 to 300"),
        ([{**CORP, "attributes": ["clr"]}], "“attributes” must be an object"),
        ([{**CORP, "attributes": {"clr": "clr"}}], "attribute “clr” must be an object"),
        ([{**CORP, "attributes": {"clr": {"claim": "clr", "type": "int"}}}], "string, long, boolean or set"),
        ([{**CORP, "attributes": {"clr": {"claim": "clr"}}}], "“type” is missing"),
        ([{**CORP, "attributes": {"clr": {"claim": "clr", "type": "long", "to": 1}}}], "a field “to”"),
        ([{**CORP, "attributes": {"issuer": {"claim": "x", "type": "string"}}}], "attribute “issuer”"),
        ([{**CORP, "attributes": {"has": {"claim": "x", "type": "string"}}}], "attribute “has”"),
        (
            [{**CORP, "attributes": {"Clearance": {"claim": "clr", "type": "long"}}}],
            "attribute “Clearance”: a name begins",
        ),
        ([{**CORP, "attributes": {"_clr": {"claim": "clr", "type": "long"}}}], "attribute “_clr”"),
        ([{**CORP, "attributes": {"clr\n": {"claim": "clr", "type": "long"}}}], "attribute “clr\n”"),
        ([{**CORP, "attributes": {"c" * 65: {"claim": "clr", "type": "long"}}}], "attribute “c{65}”"),
        ([{**CORP, "attributes": {"two words": {"claim": "x", "type": "string"}}}], "attribute “two words”"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_says_where(given, reason):
    with pytest.raises(CannotStart, match=reason) as refusal:
        issuers_from(given)
    assert refusal.value.detail.endswith("muniment config")


@pytest.mark.parametrize("name", ["c", "clearanceLevel_2", "c" * 64])
def test_an_attribute_that_the_settings_take_the_schema_takes_too(name):
    (corp,) = issuers_from([{**CORP, "attributes": {name: {"claim": "clr", "type": "long"}}}])
    parsed(schema_text({name: attribute.type for name, attribute in corp.attributes.items()}))


def test_an_attribute_has_one_type_at_all_issuers():
    def mapped(issuer, type_):
        return {**issuer, "attributes": {"clr": {"claim": "clr", "type": type_}}}

    issuers_from([mapped(CORP, "long"), mapped(LAB, "long")])
    with pytest.raises(CannotStart, match="a long and a string"):
        issuers_from([mapped(CORP, "long"), mapped(LAB, "string")])


@pytest.mark.parametrize(
    "url",
    ["https://a.example", "https://a.example:8443/b", "http://127.0.0.1:5000", "http://localhost/x", "http://[::1]/"],
)
def test_https_and_plain_http_on_this_machine_are_safe_addresses(url):
    assert safe_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example", "http://localhost.a.example", "http://127.0.0.1@a.example", "https://user:secret@a.example",
        "http://127.0.0.1.a.example", "http://10.0.0.1", "http://0.0.0.0", "ftp://a.example", "file:///etc/passwd",
        "https://", "//a.example", "https://a b.example", "https://a.example\\@b.example", "https://a.example#x",
        "https://a.example\n", "http://2130706433x", "",
    ],
)  # fmt: skip
def test_anything_else_is_not(url):
    assert not safe_address(url)


def test_plain_http_on_this_machine_can_be_ruled_out():
    assert not safe_address("http://127.0.0.1:5000", plain_on_loopback=False)


def test_an_issuer_elsewhere_is_asked_in_plain_http_only_where_that_was_accepted():
    """Its keys too; those of any other issuer never."""
    plain = {**CORP, "issuer": "http://a.example"}
    with pytest.raises(CannotStart, match="MUNIMENT_INSECURE"):
        issuers_from([plain])

    (accepted,) = issuers_from([plain], plain_anywhere=True)
    assert accepted.plain
    assert address_in({"jwks_uri": "http://a.example/jwks"}, "jwks_uri", accepted) == "http://a.example/jwks"

    for url in ("https://a.example", "http://127.0.0.1:5000"):
        (safe,) = issuers_from([{**CORP, "issuer": url}], plain_anywhere=True)
        assert not safe.plain
        with pytest.raises(NotPublished):
            address_in({"jwks_uri": "http://a.example/jwks"}, "jwks_uri", safe)
