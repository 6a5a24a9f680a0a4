"""What stands on every page, and what a refusal says."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
    "frame": {
        "product": "Muniment",
        "skip": "Skip to the content",
        "navigation": "Pages",
        "search": "Search datasets",
        "account": "My things",
        "notices": "Notices",
        "datasets": "Datasets",
        "requests": "Requests",
        "projects": "Start a project",
        "policies": "Policies",
        "reviews": "Reviews",
        "audit": "Audit",
        "sign_in": "Sign in",
        "sign_out": "Sign out",
        "signed_in_as": "Signed in as",
        "foot": "Muniment keeps who may use which data, and proof of every use.",
    },
    "home": {
        "title": "Start",
        "welcome": "What would you like to find?",
        "search": "Search the datasets that you may know of",
        "search_hint": "A name, a word of its description, a column, a tag.",
        "browse": "Browse all of them",
        "waits": "Waits for you",
        "decide": "asks for",
        "decide_all": "See all that you may decide on",
        "reviews": "rules are to be looked at again",
        "review": "rule is to be looked at again",
        "review_do": "Look at them",
        "nothing": "Nothing waits for you.",
        "ends": "Ends soon",
        "ends_on": "until",
        "ends_again": "Ask again",
        "ends_all": "See all that you may use",
        "ends_none": "None of your access ends in the next 30 days.",
        "asked": "You asked for",
        "asked_since": "asked on",
        "asked_none": "You have no request that is undecided.",
        "asked_all": "See your requests",
        "start": "Start a project with the datasets that are yours",
        "more": "and more",
    },
    "refused": {
        "again": "Sign in",
        "anew": "Sign in anew, and let the provider ask you again",
        "back": "Back to the start",
        "request": "Request",
    },
}
