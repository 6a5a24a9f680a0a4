"""What is asked of every page, to see that nothing hidden shows: with hidden names and without.

By the template of the address, so that a test can hold it against the pages that there are. A page's fragments are cut
out of the page itself, so there are no others to walk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

from tests.api.walking import HIDDEN_DOMAINS, HIDDEN_GRANTS, HIDDEN_PERSON, HIDDEN_POLICIES

#: Where nobody has to be signed in, so that nothing shows what somebody may know of.
FOR_ANYBODY: Final = frozenset(
    {
        "/assets/{name}",
        "/first-administrator",
        "/notices/address",
        "/notices/unsubscribe",
        "/sign-in",
        "/sign-in/callback",
        "/signed-out",
    }
)

_OF_A_RULE: Final = ("history", "edit", "end")
_SOUGHT: Final = ("orders", "board", "secret", "mergers", "bonuses", "every+order", "deals")


def _of_policies(path: str) -> tuple[str, ...]:
    return tuple(path.format(id=each) for each in (*HIDDEN_POLICIES, "nothing"))


def _of_grants(path: str) -> tuple[str, ...]:
    return tuple(path.format(id=each) for each in (*HIDDEN_GRANTS, "nothing", "bob-loads-budget"))


def _of_groups(path: str) -> tuple[str, ...]:
    return tuple(f"{path}?name={each}" for each in ("the-inner-circle", "the-board", "nothing"))


#: Where those who write or audit rules somewhere read the names of all groups, as through the JSON doors.
TOLD_TO_WHO_GOVERNS: Final = {
    "/policies/groups": ("/policies/groups",),
    "/policies/groups/edit": _of_groups("/policies/groups/edit"),
    "/policies/groups/end": _of_groups("/policies/groups/end"),
}

#: Where everybody goes who has no right to govern.
EVERYBODYS: Final = ("/datasets", "/requests", "/projects", "/account", "/notices", "/audit/about", "/audit/readers")

#: What is asked of each page without a hidden dataset's name.
PAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "/": ("/",),
    "/account": ("/account",),
    "/account/access": ("/account/access", "/account/access?after=finance", "/account/access?after=hr.bonuses"),
    "/account/use": ("/account/use",),
    "/notices": ("/notices",),
    "/notices/choose": ("/notices/choose",),
    "/datasets": (
        "/datasets",
        "/datasets?page=2",
        *(f"/datasets?search={text}" for text in _SOUGHT),
        *(f"/datasets?domain={name}" for name in ("sales", "hr", "finance", "sales.emea", *HIDDEN_DOMAINS)),
        *(f"/datasets?tag={tag}" for tag in ("orders", "board-only")),
        "/datasets?owner=group:the-board",
        *(f"/datasets?lifecycle={each}" for each in ("draft", "retired", "deprecated")),
    ),
    "/datasets/{name}": ("/datasets/finance.accounts",),
    "/datasets/{name}/history": ("/datasets/finance.accounts/history",),
    "/requests": ("/requests", "/requests?which=waiting", "/requests?which=all", "/requests?which=all&state=pending"),
    "/requests/new": ("/requests/new", "/requests/new?dataset=finance.budget&action=save&environment=dev"),
    "/requests/deputy": ("/requests/deputy",),
    "/requests/{id}": ("/requests/{request}",),
    "/policies": (
        "/policies",
        "/policies?first=5",
        *(f"/policies?search={text}" for text in _SOUGHT),
        *(f"/policies?domain={name}" for name in ("all", "finance", "hr", *HIDDEN_DOMAINS)),
        *(f"/policies?who={who}" for who in ("user:hugo", "user:ann", "group:the-board")),
        "/policies?doubts=true",
        "/policies?soon=true",
    ),
    "/policies/new": ("/policies/new", "/policies/new?scope=finance", "/policies/new?scope=board"),
    **{path: _of_policies(path) for path in ("/policies/{id}", *(f"/policies/{{id}}/{each}" for each in _OF_A_RULE))},
    "/policies/names": tuple(f"/policies/names?on={text}" for text in ("", *_SOUGHT)),
    "/policies/grants/new": (
        "/policies/grants/new",
        "/policies/grants/new?on=board&kind=domain",
        "/policies/grants/new?to=user:bob&on=finance.budget",
    ),
    **{
        path: _of_grants(path)
        for path in ("/policies/grants/{id}", *(f"/policies/grants/{{id}}/{each}" for each in _OF_A_RULE))
    },
    "/policies/groups/new": ("/policies/groups/new",),
    "/reviews": ("/reviews", "/reviews?by=2031-01-01", "/reviews?scope=finance", "/reviews?scope=finance.secret"),
    "/reviews/leavers": ("/reviews/leavers",),
    "/reviews/leavers/{subject:path}": (f"/reviews/leavers/user:{HIDDEN_PERSON}", "/reviews/leavers/user:bob"),
    "/declare": ("/declare", "/declare?domain=finance", "/declare?domain=finance.secret", "/declare?domain=board"),
    "/declare/import": ("/declare/import", "/declare/import?domain=finance", "/declare/import?domain=board"),
    "/declare/imported/{id}": ("/declare/imported/{row}",),
    "/declare/domains": ("/declare/domains",),
    "/declare/domains/{name}": tuple(f"/declare/domains/{name}" for name in ("finance", "nothing", *HIDDEN_DOMAINS)),
    "/declare/environments": ("/declare/environments",),
    "/declare/environments/{name}": ("/declare/environments/dev", "/declare/environments/qa"),
    "/projects/new": ("/projects/new", *(f"/projects/new?search={text}" for text in _SOUGHT)),
    "/projects/offer": ("/projects/offer", "/projects/offer?name=mlflow&pinned=3.5.0&group=tables"),
    "/audit": (
        "/audit",
        "/audit?subject=user:hugo",
        *(f"/audit?domain={name}" for name in ("finance", *HIDDEN_DOMAINS)),
        f"/audit?about=user:{HIDDEN_PERSON}",
    ),
    "/audit/find": tuple(f"/audit/find?search={text}" for text in (*_SOUGHT, f"user:{HIDDEN_PERSON}", "{receipt}")),
    "/audit/export": ("/audit/export",),
    "/audit/rows/{id}": ("/audit/rows/{row}",),
    "/audit/rows/{id}/decision": ("/audit/rows/{row}/decision",),
    "/audit/readers": ("/audit/readers", *(f"/audit/readers?dataset={text}" for text in _SOUGHT)),
    "/audit/charts": ("/audit/charts",),
    "/audit/unusual": ("/audit/unusual",),
    "/audit/unusual.csv": ("/audit/unusual.csv",),
    "/audit/about/{kind}/{id:path}": (
        "/audit/about/subject/user:bob",
        f"/audit/about/subject/user:{HIDDEN_PERSON}",
        "/audit/about/receipt/{receipt}",
    ),
    "/audit/past": ("/audit/past", "/audit/past?of=subject&name=user:hugo&at={moment}&environment=dev"),
    "/audit/views": ("/audit/views",),
}

#: What is asked about each hidden dataset.
PAGES_ABOUT: Final[Mapping[str, tuple[str, ...]]] = {
    "/datasets/{name}": ("/datasets/{name}",),
    "/datasets/{name}/made": ("/datasets/{name}/made",),
    "/datasets/{name}/history": ("/datasets/{name}/history",),
    "/datasets/{name}/lineage": ("/datasets/{name}/lineage",),
    "/datasets/{name}/use": ("/datasets/{name}/use",),
    "/datasets/{name}/access": ("/datasets/{name}/access", "/datasets/{name}/access?action=load&environment=dev"),
    "/datasets/{name}/access/people": ("/datasets/{name}/access/people?environment=dev",),
    "/datasets/{name}/consumers": ("/datasets/{name}/consumers",),
    "/datasets": ("/datasets?search={name}",),
    "/requests/new": ("/requests/new?dataset={name}&action=load&environment=dev",),
    "/declare/{name}": ("/declare/{name}",),
    "/declare/{name}/lifecycle": ("/declare/{name}/lifecycle",),
    "/projects/new": ("/projects/new?name=Report&environment=dev&datasets={name}",),
    "/projects/new.zip": ("/projects/new.zip?name=Report&environment=dev&datasets={name}",),
    "/audit": ("/audit?dataset={name}",),
    "/audit/find": ("/audit/find?search={name}",),
    "/audit/readers": ("/audit/readers?dataset={name}",),
    "/audit/readers.csv": ("/audit/readers.csv?dataset={name}",),
    "/audit/about/{kind}/{id:path}": ("/audit/about/dataset/{name}",),
    "/audit/past": ("/audit/past?of=dataset&name={name}&at={moment}&environment=dev",),
    "/audit/charts/{by}.csv": ("/audit/charts/domain.csv?dataset={name}",),
}


def pages_of(
    near: tuple[str, ...], *, governs: bool, closely: tuple[str, ...] = (), only: tuple[str, ...] = ("/",)
) -> Iterator[str]:
    """The address of every page, as somebody asks who has these hidden datasets near.

    The pages whose addresses begin so, they look at ``closely``: with everything that is asked. The others with what is
    asked first, since the same page asked for other words goes the same way for everybody. ``only`` what begins so.
    """
    for page, paths in {**PAGES, **({} if governs else TOLD_TO_WHO_GOVERNS)}.items():
        if page.startswith(only):
            yield from paths if page.startswith(closely) else paths[:1]
    for name in near:
        for page, paths in PAGES_ABOUT.items():
            if page.startswith(only):
                yield from (path.replace("{name}", quote(name, safe="")) for path in paths)
