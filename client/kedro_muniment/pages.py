"""Addresses of the service's pages for people, with everything filled in."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode


def to_ask(url: str, asked: Mapping[str, str], dataset: str, action: str) -> str:
    """Where somebody asks for this access; ``asked`` says environment, project and purpose as every question does."""
    said = {name: asked[name] for name in ("environment", "project", "purpose") if name in asked}
    return f"{url}/requests/new?{urlencode({'dataset': dataset, 'action': action, **said})}"


def of_request(url: str, request: str) -> str:
    """Where somebody sees how far a request has come."""
    return f"{url}/requests/{quote(request, safe='')}"
