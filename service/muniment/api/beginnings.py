"""``/v1/first-administrator``: becoming it, by the secret of the link that the first start printed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import StringConstraints

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body
from muniment.api.versions import stamp
from muniment.flows.begin_realm import take_beginning

router = APIRouter(prefix="/v1/first-administrator", tags=["first start"])


class SecretBody(Body):
    """What stands behind ``link=`` in the link."""

    secret: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class AdministratorBody(Body):
    """Who administers everything from now on."""

    subject: str
    revision: int


@router.post("", status_code=201)
async def post_first_administrator(
    house: Housed, asking: Asking, response: Response, body: SecretBody
) -> AdministratorBody:
    """Become the first administrator of a realm that has not begun. It works once."""
    revision = await take_beginning(house, asking, body.secret)
    stamp(response, revision=revision)
    return AdministratorBody(subject=str(asking.subject), revision=revision)
