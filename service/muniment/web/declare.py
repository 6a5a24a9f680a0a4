"""``/declare``: datasets declared and changed by a form and its YAML, with what that does to people seen beforehand."""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import quote

from fastapi import Request, Response

from muniment.core.bodies import body_of
from muniment.core.dataset_forms import dataset_of, entry_text, write_words
from muniment.core.dataset_types import EXPERIMENTAL, KnownTypes
from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.environments import BASE
from muniment.core.groups import write_group
from muniment.core.names import checked_dataset
from muniment.core.problems import Invalid, NotAllowed, NotFound, Problem, StaleEdit, Unavailable
from muniment.flows.change_together import Put, Together
from muniment.flows.declare_dataset import Drafted, begin_to_declare, draft_dataset
from muniment.flows.house import House, aside
from muniment.flows.sign_in import Visit
from muniment.flows.try_changes import Tried
from muniment.web import diffs
from muniment.web.consequences import foreseen, look, reason_in, save
from muniment.web.dataset_forms import (
    MOST_ROWS,
    Draft,
    draft_of,
    errors_of,
    layers,
    new_draft,
    plain,
    pressed,
    read_draft,
    rows,
)
from muniment.web.pages import go, page_router, show
from muniment.web.visiting import Housed, Posting, Visiting, form_for, form_of
from muniment.web.words import WORDS

router = page_router()

#: How many locations are named beside a path.
_SHOWN: Final = 5
#: After which buttons one is told what is wrong: somebody who adds a row has not finished.
_TELLING: Final = frozenset({"check", "yaml", "form"})


@router.get("/declare")
async def get_declare(
    request: Request,
    house: Housed,
    visiting: Visiting,
    domain: str = "",
    leaf: str = "",
    type: str = "",  # noqa: A002 - in the address
) -> Response:
    """What a new dataset is called and of which type it is; then on to its form."""
    desk = await begin_to_declare(house, visiting.occasion)
    errors = _errors_of_beginning(domain, leaf) if domain or leaf else None
    if errors == {}:
        return go(_place(f"{domain}.{leaf.strip()}"), **({"type": type.strip()} if type.strip() else {}))
    return show(
        "declare/begin.html",
        status=422 if errors else 200,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        desk=desk,
        domains=[(each, each) for each in desk.domains],
        families=_families(desk.types),
        said={"domain": domain, "leaf": leaf, "type": type},
        errors=errors or {},
    )


@router.get("/declare/{name}")
async def get_dataset(
    request: Request,
    house: Housed,
    visiting: Visiting,
    name: str,
    type: str = "",  # noqa: A002 - the address names it
    done: Literal["declared", "changed"] | None = None,
) -> Response:
    """The form of a dataset that somebody may declare: as it stands, or a new one."""
    drafted = await draft_dataset(house, visiting.occasion, name)
    draft = draft_of(drafted.standing) if drafted.standing is not None else new_draft(name, type[:200])
    return _form(request, visiting, draft, drafted, finished=done)


@router.post("/declare/{name}")
async def post_dataset(request: Request, house: Housed, visiting: Posting, name: str) -> Response:
    """What was typed, with one side following the other; or what it would change, for whoever asks to see that."""
    fields = await form_of(request)
    do = fields.get("do", "")
    # Whoever may not declare there has nothing read.
    begun = await draft_dataset(house, visiting.occasion.beside("begun"), name)
    draft = await aside(lambda: read_draft(name, fields, begun.types))
    if do == "check" and not draft.errors:
        return await _checked(request, house, visiting, draft)
    if "yaml" not in draft.errors:
        draft = pressed(draft, do, fields.get("environment", ""))
    return await _again(request, house, visiting, draft, do)


@router.post("/declare/{name}/save")
async def post_save(request: Request, house: Housed, visiting: Posting, name: str) -> Response:
    """What was seen, saved: if it still does what was seen."""
    fields = await form_of(request)
    # Whoever may not declare there has nothing read.
    begun = await draft_dataset(house, visiting.occasion.beside("begun"), name)
    draft = await aside(lambda: read_draft(name, fields, begun.types))
    if draft.errors:
        return await _again(request, house, visiting, draft, "check")
    try:
        changes = (Put(dataset_of(name, draft.body), draft.version),)
        together = Together(changes, reason_in(fields))
        tried = await save(house, visiting.occasion, together, fields.get("seal", ""))
    except StaleEdit:
        return await _lost(request, house, visiting, draft)
    except Problem as refused:
        return await _refused(request, house, visiting, draft, refused)
    if tried is not None:
        return await _review(request, house, visiting, draft, tried, moved=True)
    return go(_place(name), done="changed" if draft.version else "declared")


@router.get("/declare/{name}/lifecycle")
async def get_lifecycle(request: Request, house: Housed, visiting: Visiting, name: str) -> Response:
    """Where a dataset stands in its life, and what shall follow it."""
    drafted = await draft_dataset(house, visiting.occasion, name)
    if drafted.standing is None:
        raise NotFound
    return show(
        "declare/lifecycle.html",
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        draft=draft_of(drafted.standing),
        place=_place(name),
        lifecycles=[*Lifecycle],
        errors={},
    )


async def _checked(request: Request, house: House, visiting: Visit, draft: Draft) -> Response:
    """What a draft would change; or the form with what is wrong, or what somebody else made of it meanwhile."""
    try:
        together = Together((Put(dataset_of(draft.name, draft.body), draft.version),))
        tried = await look(house, visiting.occasion, together)
    except StaleEdit:
        return await _lost(request, house, visiting, draft)
    except Problem as refused:
        return await _refused(request, house, visiting, draft, refused)
    return await _review(request, house, visiting, draft, tried)


async def _refused(request: Request, house: House, visiting: Visit, draft: Draft, refused: Problem) -> Response:
    """The form with why a draft cannot be saved, but for what hides the dataset or says nothing of it."""
    if isinstance(refused, NotFound | Unavailable):
        raise refused
    told = errors_of(draft, refused.faults, house.types) if isinstance(refused, Invalid) else {}
    return await _again(request, house, visiting, draft.wrong(told or {"": plain(refused.detail)}), "check", refused)


async def _review(
    request: Request, house: House, visiting: Visit, draft: Draft, tried: Tried, *, moved: bool = False
) -> Response:
    drafted = await draft_dataset(house, visiting.occasion.beside("review"), draft.name)
    before, after = _written(drafted.standing), entry_text(draft.name, _whole(draft, drafted))
    return show(
        "declare/review.html",
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        named=draft.name,
        place=_place(draft.name),
        new=not draft.version,
        fields={"version": str(draft.version), "entry": draft.entry},
        diff=diffs.lines(before, after) if drafted.standing is not None else (),
        after=after,
        same=drafted.standing is not None and before == after,
        foreseen=foreseen(tried),
        moved=moved,
    )


async def _lost(request: Request, house: House, visiting: Visit, draft: Draft) -> Response:
    """Both versions of a dataset that somebody else changed meanwhile."""
    drafted = await draft_dataset(house, visiting.occasion.beside("lost"), draft.name)
    theirs, mine = _written(drafted.standing), entry_text(draft.name, _whole(draft, drafted))
    return show(
        "declare/lost.html",
        status=412,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        named=draft.name,
        place=_place(draft.name),
        fields={"version": drafted.standing.version if drafted.standing is not None else 0, "entry": draft.entry},
        theirs=theirs,
        mine=mine,
        diff=diffs.lines(theirs, mine),
    )


async def _again(
    request: Request, house: House, visiting: Visit, draft: Draft, do: str, refused: Problem | None = None
) -> Response:
    """The form as it was sent, with what is wrong beside its fields."""
    occasion = visiting.occasion.beside("again")
    proposed: Dataset | None = None
    # Of a YAML that cannot be read it is not known what the dataset shall be: the fields may say what nobody wants.
    telling = do in _TELLING and "yaml" not in draft.errors
    try:
        proposed = dataset_of(draft.name, draft.body)
    except Invalid as wrong:
        draft = draft.wrong(errors_of(draft, wrong.faults, house.types)) if telling else draft
    drafted = await draft_dataset(house, occasion, draft.name, proposed if refused is None else None)
    if telling:
        draft = draft.wrong(errors_of(draft, drafted.faults, drafted.types))
    status = 200 if do != "check" else 403 if isinstance(refused, NotAllowed) else 422
    return _form(request, visiting, draft, drafted, status=status, one_more=do == "add-column")


def _form(
    request: Request,
    visiting: Visit,
    draft: Draft,
    drafted: Drafted,
    *,
    status: int = 200,
    one_more: bool = False,
    finished: str | None = None,
) -> Response:
    return show(
        "declare/form.html",
        status=status,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        finished=finished,
        **values_of(draft, drafted, one_more=one_more),
    )


def values_of(draft: Draft, drafted: Drafted, *, one_more: bool = False) -> dict[str, object]:
    """What the page with the form shows of a draft."""
    return {
        "draft": draft,
        "drafted": drafted,
        "place": _place(draft.name),
        "owner": write_group(drafted.owner),
        "layers": layers(draft, drafted.types),
        "rows": rows(draft, one_more=one_more),
        "most_rows": MOST_ROWS,
        "further": [(each, each) for each in (BASE, *drafted.environments) if each not in draft.body["environments"]],
        "tags": write_words(draft.body["tags"]),
        "where": _where(drafted),
        "lifecycles": [*Lifecycle],
        "errors": dict(draft.errors),
    }


def _families(types: KnownTypes) -> list[tuple[str, list[str]]]:
    """All types, by the package that they come from; those of Kedro itself come first."""
    found: dict[str, list[str]] = {}
    for name in sorted((*types.types, *types.registered), key=lambda name: (name.count(".") > 0, name)):
        family = name.rpartition(".")[0].removeprefix(EXPERIMENTAL)
        found.setdefault(family or "kedro.io", []).append(name)
    return [*found.items()]


def _errors_of_beginning(domain: str, leaf: str) -> dict[str, str]:
    """What is wrong with the name that a new dataset would have, by its field."""
    words = WORDS["declare"]
    if not leaf.strip():
        return {"leaf": str(words["no_leaf"])}
    if not domain:
        return {"domain": str(words["no_domain"])}
    try:
        checked_dataset(f"{domain}.{leaf.strip()}")
    except Invalid as refused:
        return {"leaf": refused.detail}
    return {}


def _where(drafted: Drafted) -> str:
    """Where a path may lead."""
    words = WORDS["draft"]
    if not drafted.locations:
        return str(words["path_nowhere"])
    return f"{words['path_hint']} {', '.join(drafted.locations[:_SHOWN])}"


def _written(dataset: Dataset | None) -> str:
    return entry_text(dataset.name, body_of(dataset)) if dataset is not None else ""


def _whole(draft: Draft, drafted: Drafted) -> dict[str, object]:
    """The draft as it will stand: what nobody owns belongs to the domain's owner."""
    return {**draft.body, "owner": draft.body["owner"] or write_group(drafted.owner)}


def _place(name: str) -> str:
    return f"/declare/{quote(name)}"
