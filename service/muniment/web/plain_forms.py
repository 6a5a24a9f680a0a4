"""What a plain form puts: pages with the list of such things, the form of one, what a change would do, and its save.

Domains and environments are such things; each says in a :class:`PlainForm` what is its own. Whoever begins from another
version than the one that stands is shown both, whatever else is wrong: what they would change was another thing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Generic, Literal, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from muniment.core.bodies import body_of
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid, NotAllowed, NotFound, Problem, StaleEdit, Unavailable
from muniment.core.yaml_texts import dumped
from muniment.flows.change_together import Put, Together
from muniment.flows.house import House
from muniment.flows.sign_in import Visit
from muniment.flows.try_changes import Tried
from muniment.web import diffs
from muniment.web.consequences import foreseen, look, reason_in, save
from muniment.web.dataset_forms import plain
from muniment.web.pages import go, page_router, show
from muniment.web.typed import Reading, errors_of
from muniment.web.visiting import Housed, Posting, Visiting, form_for, form_of
from muniment.web.words import WORDS

Thing = TypeVar("Thing", Domain, Environment)

#: The longest description, in characters.
LONGEST_TEXT: Final = 10_000

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_LONGEST_VALUE: Final = 500


@dataclass(frozen=True)
class Blank:
    """One field of a form: on so many ``rows``, or on one line; its label and hint are words of the kind."""

    name: str
    rows: int = 0
    code: bool = False
    optional: bool = True
    #: Whether it is an administrator's alone.
    administered: bool = False
    width: str = ""
    inputmode: str = ""


@dataclass(frozen=True)
class Listed:
    """A thing in the list of its kind."""

    name: str
    owner: str
    description: str


@dataclass(frozen=True)
class Drafted(Generic[Thing]):
    """A thing as it stands, if it does, and whether whoever puts it gives it what is an administrator's."""

    standing: Thing | None
    administers: bool = True

    @property
    def version(self) -> int:
        """The version that stands; 0 where nothing does."""
        return self.standing.version if self.standing is not None else 0


@dataclass(frozen=True)
class PlainForm(Generic[Thing]):
    """What is a kind's own: its word, its fields, and how a thing is found, read from them and written into them.

    ``listed`` gives those that somebody may know of; ``draft`` records that one was read, and refuses whoever may not
    put it; ``checked`` raises :class:`Invalid` for what is no name.
    """

    word: str
    blanks: tuple[Blank, ...]
    longest_name: int
    checked: Callable[[str], str]
    listed: Callable[[House, Occasion], Awaitable[Iterable[Listed]]]
    draft: Callable[[House, Occasion, str], Awaitable[Drafted[Thing]]]
    read: Callable[[str, Reading], Thing]
    write: Callable[[Thing], Mapping[str, str]]

    @property
    def here(self) -> str:
        """The address of the list."""
        return f"/declare/{self.word}s"

    def place(self, name: str) -> str:
        """The address of one."""
        return f"{self.here}/{quote(name)}"

    def named(self, name: str) -> tuple[str, str]:
        """The address of the one that somebody names, and what is wrong with its name; of no name neither."""
        try:
            return (self.place(self.checked(name.strip())), "") if name.strip() else ("", "")
        except Invalid as refused:
            return "", refused.detail

    def proposed(self, name: str, fields: Mapping[str, str]) -> Thing:
        """What a form says; raises :class:`Invalid` with everything that cannot be read."""
        reading = Reading(fields)
        read = self.read(self.checked(name), reading)
        reading.check()
        return read

    def filled(self, thing: Thing) -> dict[str, str]:
        """The fields that say a thing as it stands."""
        return {"version": str(thing.version), **self.write(thing)}

    def kept(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Those of the fields that were sent which are of this form."""
        return {name: fields.get(name, "") for name in ("version", *(blank.name for blank in self.blanks))}


def pages_of(form: PlainForm[Thing]) -> APIRouter:
    """The pages of a kind: its list, the form of one thing, what a change would do, and the change as it was seen."""
    router = page_router()

    @router.get(form.here)
    async def get_list(request: Request, house: Housed, visiting: Visiting, name: str = "") -> Response:
        """The things of a kind that somebody may know of; or on to the form of the one that is named."""
        place, wrong = form.named(name)
        if place:
            return go(place)
        return _list_page(request, visiting, form, await form.listed(house, visiting.occasion), name, wrong)

    @router.get(form.here + "/{name}")
    async def get_thing(
        request: Request, house: Housed, visiting: Visiting, name: str, done: Literal["yes"] | None = None
    ) -> Response:
        """The form of a thing, as it stands or new."""
        drafted = await form.draft(house, visiting.occasion, name)
        fields = form.filled(drafted.standing) if drafted.standing is not None else {"version": "0"}
        return _page(request, visiting, form, name, fields, drafted, done=done is not None)

    @router.post(form.here + "/{name}")
    async def post_thing(request: Request, house: Housed, visiting: Posting, name: str) -> Response:
        """What a change would do; or the form again, as it was sent."""
        fields = await form_of(request)
        if fields.get("do") == "back":
            return _page(request, visiting, form, name, fields, await form.draft(house, visiting.occasion, name))
        try:
            tried = await look(house, visiting.occasion, _together(form, name, fields))
        except Problem as refused:
            return await _refused(request, house, visiting, form, name, fields, refused)
        return await _review(request, house, visiting, form, name, fields, tried)

    @router.post(form.here + "/{name}/save")
    async def post_save(request: Request, house: Housed, visiting: Posting, name: str) -> Response:
        """What was seen, saved: if it still does what was seen."""
        fields = await form_of(request)
        try:
            tried = await save(house, visiting.occasion, _together(form, name, fields), fields.get("seal", ""))
        except Problem as refused:
            return await _refused(request, house, visiting, form, name, fields, refused)
        if tried is not None:
            return await _review(request, house, visiting, form, name, fields, tried, moved=True)
        return go(form.place(name), done="yes")

    return router


def variables_in(reading: Reading) -> Mapping[str, str]:
    """What variables stand for, as a form says it in YAML; every value a text on one line."""
    found = reading.plain_data("variables")
    words = WORDS["environment"]
    for name, value in found.items():
        if not _VARIABLE.fullmatch(name):
            reading.wrong("variables", str(words["wrong_name"]).format(name=name[:40]))
        elif not isinstance(value, str) or "\n" in value or len(value) > _LONGEST_VALUE:
            reading.wrong("variables", str(words["wrong_value"]).format(name=name))
    return {name: str(value) for name, value in found.items()}


def written(variables: Mapping[str, str]) -> str:
    """Variables as a form holds them."""
    return dumped(variables) if variables else ""


def _list_page(
    request: Request, visiting: Visit, form: PlainForm[Thing], listed: Iterable[Listed], said: str, error: str = ""
) -> Response:
    """The list, and where another one is named; ``error`` is of what is no name."""
    return show(
        "declare/things.html",
        status=422 if error else 200,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        kind=form.word,
        place=form.here,
        things=list(listed),
        longest=form.longest_name,
        said=said,
        errors={"name": error} if error else {},
    )


def _together(form: PlainForm[Thing], name: str, fields: Mapping[str, str]) -> Together:
    return Together((Put(form.proposed(name, fields), _version(fields)),), reason_in(fields))


def _version(fields: Mapping[str, str]) -> int:
    """The version from which somebody began; 0 for a new thing."""
    return Reading(fields).number("version") or 0


async def _review(
    request: Request,
    house: House,
    visiting: Visit,
    form: PlainForm[Thing],
    name: str,
    fields: Mapping[str, str],
    tried: Tried,
    *,
    moved: bool = False,
) -> Response:
    drafted = await form.draft(house, visiting.occasion.beside("review"), name)
    before, after = _text(drafted.standing), _text(form.proposed(name, fields))
    return show(
        "declare/review.html",
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        named=name,
        place=form.place(name),
        new=drafted.standing is None,
        fields=form.kept(fields),
        diff=diffs.lines(before, after),
        after=after,
        same=drafted.standing is not None and before == after,
        foreseen=foreseen(tried),
        moved=moved,
    )


def _text(thing: Domain | Environment | None) -> str:
    return dumped({thing.name: body_of(thing)}) if thing is not None else ""


async def _refused(
    request: Request,
    house: House,
    visiting: Visit,
    form: PlainForm[Thing],
    name: str,
    fields: Mapping[str, str],
    refused: Problem,
) -> Response:
    """The form with what is wrong, or both versions where somebody else was faster; not what hides the thing."""
    if isinstance(refused, NotFound | Unavailable):
        raise refused
    drafted = await form.draft(house, visiting.occasion.beside("refused"), name)
    if isinstance(refused, StaleEdit) or _version(fields) != drafted.version:
        return _lost(request, visiting, form, name, fields, drafted)
    told = refused.faults if isinstance(refused, Invalid) else ()
    faults = [replace(fault, at=plain(fault.at)) for fault in told] or [Fault("", plain(refused.detail))]
    status = 403 if isinstance(refused, NotAllowed) else 422
    errors = errors_of(faults, [blank.name for blank in form.blanks])
    return _page(request, visiting, form, name, fields, drafted, errors=errors, status=status)


def _lost(
    request: Request,
    visiting: Visit,
    form: PlainForm[Thing],
    name: str,
    fields: Mapping[str, str],
    drafted: Drafted[Thing],
) -> Response:
    """Both versions of a thing that somebody else changed meanwhile; who goes on with theirs begins from what stands.

    What only an administrator changes goes on as it stands where somebody else is at work.
    """
    stands = form.filled(drafted.standing) if drafted.standing is not None else {}
    theirs = {blank.name: stands.get(blank.name, "") for blank in form.blanks if blank.administered}
    mine = {**form.kept(fields), **({} if drafted.administers else theirs), "version": str(drafted.version)}
    before = _text(drafted.standing)
    try:
        after = _text(form.proposed(name, mine))
    except Invalid:
        # What cannot be read is shown as it was typed, and told of when they go on with it.
        after = dumped({name: {key: text for key, text in mine.items() if key != "version"}})
    return show(
        "declare/lost.html",
        status=412,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        named=name,
        place=form.place(name),
        fields=mine,
        theirs=before,
        mine=after,
        diff=diffs.lines(before, after),
    )


def _page(
    request: Request,
    visiting: Visit,
    form: PlainForm[Thing],
    name: str,
    fields: Mapping[str, str],
    drafted: Drafted[Thing],
    *,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
    done: bool = False,
) -> Response:
    return show(
        "declare/thing.html",
        status=status,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        kind=form.word,
        list=form.here,
        place=form.place(name),
        name=name,
        blanks=form.blanks,
        fields=form.kept(fields),
        administers=drafted.administers,
        errors=dict(errors or {}),
        done=done,
    )
