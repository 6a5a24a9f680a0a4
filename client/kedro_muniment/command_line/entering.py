"""Signing in and out as a person asks for it, in a terminal or in a notebook: what came of it, and how that is told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kedro_muniment.command_line import project, showing
from kedro_muniment.problems import plain

if TYPE_CHECKING:
    from kedro_muniment.sign_in import people
    from kedro_muniment.sign_in.telling import Telling


def signed_in(
    teller: Telling,
    url: str | None,
    *,
    device: bool = False,
    browser: bool = False,
    issuer: str | None = None,
    port: int = 0,
    env: str | None = None,
) -> dict[str, Any]:
    """Sign in at a service by its address, or at the project's; what came of it."""
    from kedro_muniment.sign_in import people

    if device and browser:
        raise click.UsageError("Choose one of --device and --browser.")
    way: people.Way | None = "device" if device else "browser" if browser else None
    sign_in, tokens = people.login(project.address(url, env), teller, way=way, issuer=issuer, port=port)
    return {
        "service": sign_in.url,
        "issuer": sign_in.issuer,
        "subject": sign_in.subject,
        "until": tokens.ends.isoformat() if tokens.ends else None,
        "renewed": tokens.refresh is not None,
        "kept": sign_in.where(),
        "overridden_by": overriding(),
    }


def overriding() -> str | None:
    """The variable of the environment that names a credential, and so goes before what is kept."""
    from kedro_muniment.sign_in import jobs

    return next((name for name in jobs.CREDENTIALS if os.environ.get(name, "").strip()), None)


def login_line(told: Mapping[str, Any]) -> str:
    ends = showing.moment(told["until"]) if told["until"] else "at a time nobody said"
    lasting = "it is renewed by itself" if told["renewed"] else f"it ends {ends}"
    line = f"Signed in to {told['service']} as {plain(told['subject'])}. Kept in {told['kept']}; {lasting}."
    if told["overridden_by"] is not None:
        line += f" But {told['overridden_by']} is set, and goes before it: unset it to use what you signed in with."
    return line


def signed_out(url: str | None, *, everywhere: bool = False, env: str | None = None) -> list[dict[str, Any]]:
    """Sign out of one service or of all; what came of each."""
    from kedro_muniment.sign_in import keeping, people

    kept = keeping.known(None if everywhere else project.address(url, env))
    return [each.as_json() for each in people.logout(kept)]


def logout_lines(told: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        f"Signed out of {each['url']} ({plain(each['subject'])})."
        + (f" {plain(each['told'])}: until its end the sign-in may live on there." if each["told"] else "")
        for each in told
    ]
    variable = overriding()
    still = [f"{variable} is still set, and is used: unset it to ask as nobody."] if variable else []
    return [*(lines or ["You were not signed in."]), *still]
