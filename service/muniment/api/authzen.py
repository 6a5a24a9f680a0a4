"""``/access/v1/…``: other systems ask in the words of OpenID AuthZEN Authorization API 1.0.

https://openid.net/specs/authorization-api-1_0.html. A subject is a ``user`` or a ``service``, a
resource a ``dataset`` or a ``domain``, an action one of the Cedar schema's; ``context`` says
``environment``, ``project`` and ``purpose``. Unknown fields are passed over, as the standard
wants it, and so are ``properties``: what is known of a subject came with its own token, and what is
known of a dataset its steward declared; a caller's word adds nothing.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from muniment.api.asking import Asking, Housed
from muniment.api.problems import STANDARD, status_of
from muniment.api.versions import stamp
from muniment.core.decisions import Wanted
from muniment.core.evaluations import Answer, Question, Semantic, Thing
from muniment.core.problems import Fault, Invalid
from muniment.core.schema import Action
from muniment.core.subjects import Kind, Subject, readable_id
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.evaluate_access import evaluate_access, evaluate_each
from muniment.flows.search_access import Results, search_actions, search_subjects, search_things

Text = Annotated[str, StringConstraints(max_length=LONGEST_ASKED)]
Properties = Annotated[dict[str, Any], Field(description="Read by nothing here.")]

#: The most results of one page, and how many are given where no limit is said.
MOST_RESULTS = 1_000
DEFAULT_RESULTS = 100


class Entity(BaseModel):
    """A JSON object in which unknown fields are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Sort(Entity):
    """An entity by its type alone: what is searched for."""

    type: Text
    properties: Properties = {}


class Named(Sort):
    """A subject or a resource, by its type and its id."""

    id: Text


class ActionBody(Entity):
    """An action, by its name."""

    name: Text
    properties: Properties = {}


class ContextBody(Entity):
    """What is asked about: an environment, and for which project and purpose."""

    environment: Text | None = None
    project: Text | None = None
    purpose: Text | None = None


class PageBody(Entity):
    """Which part of the results is wanted; ``token`` is the ``next_token`` of the part before."""

    token: Annotated[str | None, StringConstraints(max_length=2_000)] = None
    limit: Annotated[int | None, Field(ge=0)] = None
    properties: Properties = {}


class EvaluationBody(Entity):
    """One question: whether this subject may do this to that."""

    subject: Named
    action: ActionBody
    resource: Named
    context: ContextBody = ContextBody()


class OptionsBody(Entity):
    """How far evaluations are carried out."""

    evaluations_semantic: Semantic = Field(default=Semantic.ALL, strict=False)


class EvaluationsBody(Entity):
    """Several questions; what one of them does not say, the whole says for it."""

    subject: dict[str, Any] | None = None
    action: dict[str, Any] | None = None
    resource: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    evaluations: list[dict[str, Any]] = []
    options: OptionsBody = OptionsBody()


class SubjectSearchBody(Entity):
    """The question who may do this to that."""

    subject: Sort
    action: ActionBody
    resource: Named
    context: ContextBody = ContextBody()
    page: PageBody = PageBody()


class ResourceSearchBody(Entity):
    """The question to what this subject may do this."""

    subject: Named
    action: ActionBody
    resource: Sort
    context: ContextBody = ContextBody()
    page: PageBody = PageBody()


class ActionSearchBody(Entity):
    """The question what this subject may do to that."""

    subject: Named
    resource: Named
    context: ContextBody = ContextBody()
    page: PageBody = PageBody()


SearchBody = SubjectSearchBody | ResourceSearchBody | ActionSearchBody


class ErrorBody(Entity):
    """What is wrong with one question of several."""

    status: int
    message: str


class ReasonBody(Entity):
    """Why, where that may be said: a sentence, and the policies that settled it.

    ``obligations`` are the read restrictions that are why it is no.
    """

    reason: str | None = None
    policies: list[str] | None = None
    obligations: dict[str, Any] | None = None
    error: ErrorBody | None = None


class DecisionBody(Entity):
    """Whether it may be done."""

    decision: bool
    context: ReasonBody | None = None


class DecisionsBody(Entity):
    """The decisions in the order of the questions, up to the one that settled it."""

    evaluations: list[DecisionBody]


class ResultPageBody(Entity):
    """``next_token`` asks for what follows; it is empty where nothing does."""

    next_token: str
    count: int


class EntityResult(Entity):
    """A subject or a resource that was found."""

    type: str
    id: str


class EntitiesBody(Entity):
    """The subjects or resources that were found."""

    page: ResultPageBody
    results: list[EntityResult]


class ActionResult(Entity):
    """An action that was found."""

    name: Action


class ActionsBody(Entity):
    """The actions that were found."""

    page: ResultPageBody
    results: list[ActionResult]


def _said_as_json(request: Request, _asking: Asking) -> None:
    """Refuse what does not say that it is JSON, once it is known who sent it."""
    if request.state.media != "application/json":
        message = "Send JSON, and say so: Content-Type: application/json."
        raise Invalid(message, [Fault("Content-Type", message)])


router = APIRouter(tags=["authzen"])
_asked = APIRouter(prefix=STANDARD.rstrip("/"), dependencies=[Depends(_said_as_json)])


@_asked.post("/evaluation", response_model_exclude_none=True)
async def post_evaluation(house: Housed, asking: Asking, response: Response, body: EvaluationBody) -> DecisionBody:
    """Whether a subject may do something: yes or no, and why."""
    answer, revision = await evaluate_access(house, asking, _question(body))
    stamp(response, revision=revision)
    return _decision(answer)


@_asked.post("/evaluations", response_model_exclude_none=True)
async def post_evaluations(
    house: Housed, asking: Asking, response: Response, body: EvaluationsBody
) -> DecisionsBody | DecisionBody:
    """The same for several questions in one request; without any, for the one that the whole says."""
    whole = {name: said for name in EvaluationBody.model_fields if (said := getattr(body, name)) is not None}
    if not body.evaluations:
        return await post_evaluation(house, asking, response, _read(whole))
    questions = [_question_or_fault({**whole, **each}) for each in body.evaluations]
    evaluated = await evaluate_each(house, asking, questions, body.options.evaluations_semantic)
    stamp(response, revision=evaluated.revision)
    return DecisionsBody(evaluations=[_decision(answer) for answer in evaluated.answers])


@_asked.post("/search/subject")
async def post_subject_search(
    house: Housed, asking: Asking, response: Response, body: SubjectSearchBody
) -> EntitiesBody:
    """The known subjects of a type that may do this to that."""
    place = _Place.of(body)
    question = Question(None, _action(body.action), _thing(body.resource), body.resource.id, _wanted(body.context))
    kind = _kind(body.subject)
    found = await search_subjects(house, asking, kind, question, place.limit, place.after)
    return _entities(response, place, body.subject.type, found)


@_asked.post("/search/resource")
async def post_resource_search(
    house: Housed, asking: Asking, response: Response, body: ResourceSearchBody
) -> EntitiesBody:
    """The resources of a type to which a subject may do this."""
    place = _Place.of(body)
    question = Question(_subject(body.subject), _action(body.action), _thing(body.resource), "", _wanted(body.context))
    found = await search_things(house, asking, question, place.limit, place.after)
    return _entities(response, place, body.resource.type, found)


@_asked.post("/search/action")
async def post_action_search(house: Housed, asking: Asking, response: Response, body: ActionSearchBody) -> ActionsBody:
    """The actions that a subject may do to a resource."""
    place = _Place.of(body)
    question = Question(_subject(body.subject), None, _thing(body.resource), body.resource.id, _wanted(body.context))
    found = await search_actions(house, asking, question, place.limit, place.after)
    stamp(response, revision=found.revision)
    return ActionsBody(page=place.page(found), results=[ActionResult(name=Action(name)) for name in found.names])


@router.get("/.well-known/authzen-configuration")
async def get_configuration(request: Request) -> dict[str, str]:
    """Where all this is asked: the metadata of the policy decision point."""
    base: str = request.app.state.public_url.rstrip("/")
    return {
        "policy_decision_point": base,
        "access_evaluation_endpoint": f"{base}{STANDARD}evaluation",
        "access_evaluations_endpoint": f"{base}{STANDARD}evaluations",
        "search_subject_endpoint": f"{base}{STANDARD}search/subject",
        "search_resource_endpoint": f"{base}{STANDARD}search/resource",
        "search_action_endpoint": f"{base}{STANDARD}search/action",
    }


def _read(said: Mapping[str, Any]) -> EvaluationBody:
    try:
        return EvaluationBody.model_validate(said)
    except ValidationError as refused:
        faults = [Fault(".".join(map(str, each["loc"])), each["msg"]) for each in refused.errors()]
        told = "; ".join(f"{fault.at}: {fault.message}" for fault in faults)
        raise Invalid(f"The evaluation does not say what it should: {told}.", faults) from refused


def _question_or_fault(said: Mapping[str, Any]) -> Question | Answer:
    try:
        return _question(_read(said))
    except Invalid as refused:
        return Answer(problem=refused)


def _question(body: EvaluationBody) -> Question:
    return Question(
        _subject(body.subject), _action(body.action), _thing(body.resource), body.resource.id, _wanted(body.context)
    )


def _kind(said: Sort) -> Kind | None:
    return Kind(said.type) if said.type in set(Kind) else None


def _subject(said: Named) -> Subject | None:
    kind = _kind(said)
    return Subject(kind, said.id) if kind and readable_id(said.id) else None


def _action(said: ActionBody) -> Action | None:
    return Action(said.name) if said.name in set(Action) else None


def _thing(said: Sort) -> Thing | None:
    return Thing(said.type) if said.type in set(Thing) else None


def _wanted(said: ContextBody) -> Wanted | None:
    return None if said.environment is None else Wanted(said.environment, said.project, said.purpose)


def _decision(answer: Answer) -> DecisionBody:
    problem = answer.problem
    if problem is not None:
        error = ErrorBody(status=status_of(problem, STANDARD), message=problem.detail)
        return DecisionBody(decision=False, context=ReasonBody(error=error))
    if answer.reason is None:
        return DecisionBody(decision=answer.allowed)
    obligations = None if answer.obligations is None else dict(answer.obligations)
    reason = ReasonBody(reason=answer.reason, policies=list(answer.because), obligations=obligations)
    return DecisionBody(decision=answer.allowed, context=reason)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the results of a search a page begins. Its token is good for the very same search alone."""

    search: str
    limit: int
    after: str = ""

    @classmethod
    def of(cls, body: SearchBody) -> _Place:
        """The place that a request asks for."""
        said = [type(body).__name__, body.model_dump(exclude={"page"}), body.page.properties]
        search = hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
        limit = body.page.limit
        if not body.page.token:
            return cls(search, DEFAULT_RESULTS if limit is None else min(limit, MOST_RESULTS))
        place = cls._read(body.page.token)
        if place.search != search or (limit is not None and min(limit, MOST_RESULTS) != place.limit):
            raise _bad_token("is of another search; ask for every page with what the first was asked with")
        return place

    @classmethod
    def _read(cls, token: str) -> _Place:
        try:
            search, limit, after = orjson.loads(urlsafe_b64decode(token))
        except (ValueError, TypeError) as refused:
            raise _bad_token("was not given here") from refused
        if not (isinstance(search, str) and isinstance(after, str) and limit in range(MOST_RESULTS + 1)):
            raise _bad_token("was not given here")
        return cls(search, limit, after)

    def page(self, found: Results) -> ResultPageBody:
        """The page of what was found, with the token of the one that follows."""
        last = found.names[-1] if found.names else self.after
        token = urlsafe_b64encode(orjson.dumps([self.search, self.limit, last])).decode() if found.more else ""
        return ResultPageBody(next_token=token, count=len(found.names))


def _bad_token(what: str) -> Invalid:
    message = f"The page's token {what}."
    return Invalid(message, [Fault("page.token", message)])


def _entities(response: Response, place: _Place, type_: str, found: Results) -> EntitiesBody:
    stamp(response, revision=found.revision)
    return EntitiesBody(page=place.page(found), results=[EntityResult(type=type_, id=name) for name in found.names])


router.include_router(_asked)
