"""Rules as people read them: the form and the sentence of each, and drafts that are read before they are kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.running import Running, grant, refusal

pytestmark = pytest.mark.anyio

FORM: dict[str, Any] = {
    "principals": {"groups": ["analysts"], "users": ["eve"], "attributes": {"clearance": {"at_least": 2}}},
    "except_groups": ["interns", "user:bob"],
    "except_attributes": {"clearance": {"at_most": 0}},
    "actions": ["discover", "load"],
    "resources": {
        "domains": ["sales.emea"],
        "names": ["*_orders", "sales.orders"],
        "tags_any": ["orders", "public"],
        "owners": ["sales-owners", "user:sam"],
        "layers": ["silver"],
        "lifecycles": ["active"],
        "sensitivity_at_least": 0,
        "sensitivity_at_most": 3,
    },
    "environments": ["dev", "prod"],
    "purposes": ["audit"],
    "projects": ["forecast"],
    "valid_from": "2027-01-01T00:00:00Z",
    "valid_to": "2027-03-31T12:30:00Z",
}
READERS = 'permit(principal in Group::"analysts",action==Action::"load",resource)when{context.environment=="dev"};'
JOIN = 'permit (principal, action == Action::"load", resource) when { principal in resource.owner };'


async def read(service: Running, who: str, **draft: Any) -> dict[str, Any]:
    answer = await getattr(service, who).post("/v1/policies/read", draft)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_form_comes_back_from_the_text_that_was_made_of_it(company: Running) -> None:
    made = await company.root.make("/v1/policies/everything-said", {"form": FORM, "scope": "sales"})
    assert made["form"] == FORM
    assert made["sentence"] == (
        "Members of analysts or the user eve may discover and load every dataset of sales.emea named *_orders or "
        "sales.orders, and tagged orders or public, and of a sensitivity from 0 to 3, and owned by sales-owners or the "
        "user sam, and whose layer is silver, and whose lifecycle is active, in dev and prod, for the purpose audit, "
        "in the project forecast, from 1 January 2027 until 12:30 UTC on 31 March 2027, if their clearance is at least "
        "2, except members of interns or the user bob, unless their clearance is at most 0 (or unknown)."
    )
    assert await company.root.read("/v1/policies/everything-said") == {**made, "kept_in": None}
    again = await company.root.put("/v1/policies/everything-said", {"form": made["form"], "scope": "sales"}, after=1)
    assert (again.status_code, again.json()["cedar"]) == (200, made["cedar"])


async def test_a_policy_written_in_cedar_is_shown_as_the_form_that_it_is(company: Running) -> None:
    made = await company.root.make("/v1/policies/readers", {"cedar": READERS, "scope": "sales"})
    assert made["form"] == {
        "principals": {"groups": ["analysts"]},
        "actions": ["load"],
        "environments": ["dev"],
    }
    assert made["sentence"] == "Members of analysts may load every dataset of sales, in dev."
    join = await company.root.make("/v1/policies/owners-read", {"cedar": JOIN})
    assert join["form"] is None
    assert join["sentence"] == "Everybody may load every dataset, when principal in resource.owner."
    listed = (await company.root.read("/v1/policies"))["items"]
    assert {item["id"]: item["sentence"] for item in listed} == {
        "readers": made["sentence"],
        "owners-read": join["sentence"],
    }


async def test_a_form_that_its_door_would_not_take_is_not_shown_as_one(company: Running) -> None:
    group = "g" * 150
    cedar = f'permit (principal in Group::"{group}", action == Action::"load", resource);'
    made = await company.root.make("/v1/policies/long", {"cedar": cedar})
    assert made["form"] is None
    assert made["sentence"] == f"Members of {group} may load every dataset."
    gone = 'permit (principal, action == Action::"load", resource) when { resource.lifecycle == "gone" };'
    assert (await company.root.make("/v1/policies/gone", {"cedar": gone}))["form"] is None


async def test_a_forbid_in_the_form_means_those_whose_attribute_is_unknown(company: Running) -> None:
    form = {
        "effect": "forbid",
        "actions": ["load"],
        "principals": {"attributes": {"clearance": {"at_most": 2}}},
        "resources": {"names": ["sales.orders"]},
    }
    loads = grant("user:eve", ["load"], on={"dataset": "sales.orders"}, environments=["dev"])
    await company.root.make("/v1/grants/eve-loads", loads)
    explained = "/v1/explain?action=load&dataset=sales.orders&environment=dev"
    assert (await company.eve.read(explained))["allowed"] is True
    await company.root.make("/v1/policies/cleared-alone", {"form": form})
    assert (await company.eve.read(explained))["allowed"] is False
    assert (await company.ann.read(explained))["allowed"] is True


async def test_a_grant_says_what_it_grants(company: Running) -> None:
    body = grant("group:analysts", ["load"], on={"dataset": "sales.targets"}, until="2999-03-31T00:00:00Z")
    made = await company.root.make("/v1/grants/analysts-targets", body)
    assert made["sentence"] == "Members of analysts may load sales.targets, until 31 March 2999."
    assert made["cedar"].startswith('permit (principal in Group::"analysts"')


async def test_a_draft_is_read_and_not_kept(company: Running) -> None:
    before = (await company.sam.get("/v1/policies")).headers["Muniment-Revision"]
    found = await read(company, "sam", cedar=READERS, scope="sales")
    assert found == {
        "cedar": 'permit (\n  principal in Group::"analysts",\n  action == Action::"load",\n  resource\n)\n'
        'when { context.environment == "dev" };\n',
        "form": {"principals": {"groups": ["analysts"]}, "actions": ["load"], "environments": ["dev"]},
        "sentence": "Members of analysts may load every dataset of sales, in dev.",
        "faults": [],
    }
    after = await company.sam.get("/v1/policies")
    assert (after.json()["items"], after.headers["Muniment-Revision"]) == ([], before)
    rows = (await company.audrey.read("/v1/ledger?event=rules.read&subject=user:sam"))["items"]
    assert {"read": "draft"} in [row["details"] for row in rows]


async def test_a_draft_of_a_mask_says_what_is_masked(company: Running) -> None:
    found = await read(
        company,
        "hugo",
        kind="mask",
        scope="hr",
        form={"actions": ["load"], "principals": {"users": ["ann"]}},
        obligation={"columns": ["pay"], "action": "replace-with-null"},
    )
    assert found["faults"] == []
    assert found["sentence"] == "The user ann sees every dataset of hr with the column pay masked (replaced with null)."


@pytest.mark.parametrize(
    ("cedar", "faults"),
    [
        (
            'permit (\n  principal,\n  action == Action::"load",\n  resource\n)\nwhen { 1 + };',
            [("unexpected token `}`", 6, 12)],
        ),
        ("permit (principal, action, resource)", [("unexpected end of input", 1, 37)]),
        ('permit (principal, action, resource) when { resource.name == "abc };', [("invalid token", 1, 62)]),
        (
            "permit (principal, action, resource)\nwhen { true && foo(1) };",
            [("`foo` is not a valid function", 2, 16)],
        ),
        (
            'permit (principal in Grop::"a", action == Action::"laod", resource);',
            [
                ("unable to find an applicable action given the policy scope constraints", 1, 1),
                ("unrecognized entity type `Grop`", 1, 22),
                ('unrecognized action `Action::"laod"`', 1, 43),
            ],
        ),
        (
            (
                'permit (principal, action == Action::"load", resource)\n'
                'when { true && ("x" == resource.name || (resource.sensitivity == "x" && true)) }\n'
                "unless { principal has clearence || context.now > 3 };"
            ),
            [
                ("the types Long and String are not compatible", 2, 42),
                ("There is no attribute clearence of principal.", 3, 24),
                ("unexpected type: expected Long but saw datetime", 3, 37),
            ],
        ),
        (
            'permit (principal, action == Action::"load", resource)\nwhen { true && User::"ann".issuer == "corp" };',
            [("A policy can only look into principal and resource, never into another one by name.", 2, 16)],
        ),
    ],
)
async def test_faults_are_told_in_cedars_own_words_with_line_and_column(
    company: Running, cedar: str, faults: list[tuple[str, int, int]]
) -> None:
    found = await read(company, "root", cedar=cedar)
    told = [(fault["message"], fault["line"], fault["column"]) for fault in found["faults"]]
    assert told == faults
    assert {fault["at"] for fault in found["faults"]} == {"cedar"}
    refused = refusal(await company.root.put("/v1/policies/wrong", {"cedar": cedar}, after=0), 422)
    assert [(fault["message"], fault["line"], fault["column"]) for fault in refused["errors"]] == faults


async def test_a_draft_that_could_not_be_kept_says_nothing_but_its_faults(company: Running) -> None:
    for draft in ({"cedar": READERS.replace("load", "laod")}, {"cedar": "nonsense"}):
        found = await read(company, "root", **draft)
        assert (found["cedar"], found["form"], found["sentence"]) == (draft["cedar"], None, None)
        assert found["faults"] != []
    unknown = await read(company, "root", form={"actions": ["load"], "environments": ["qa"]})
    assert [(fault["at"], fault["line"]) for fault in unknown["faults"]] == [("cedar", None)]
    assert unknown["sentence"] is None


async def test_a_draft_is_read_to_those_who_write_rules_somewhere(company: Running) -> None:
    for who in ("ann", "audrey", "eve", "nightly"):
        refusal(await getattr(company, who).post("/v1/policies/read", {"cedar": READERS}), 403)
    rows = (await company.audrey.read("/v1/ledger?event=access.denied&subject=user:eve"))["items"]
    assert rows[0]["details"] == {"problem": "Not allowed"}


async def test_a_draft_is_cedar_or_a_form(company: Running) -> None:
    refusal(await company.root.post("/v1/policies/read", {}), 422)
    refusal(await company.root.post("/v1/policies/read", {"cedar": READERS, "form": {"actions": ["load"]}}), 422)
    nothing = {"actions": ["load"], "principals": {"attributes": {"clearance": {}}}}
    refusal(await company.root.post("/v1/policies/read", {"form": nothing}), 422)
    both = {"actions": ["grant"], "environments": ["dev"]}
    refusal(await company.root.post("/v1/policies/read", {"form": both}), 422)
