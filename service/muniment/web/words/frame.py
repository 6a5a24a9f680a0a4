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
        "stranger": "Welcome",
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
    "first_day": {
        "title": "You are signed in. Nobody has let you know of any data yet",
        "lead": "That is how everybody begins here: you find what somebody lets you know of, and nothing else.",
        "who": "Find out who looks after the data that you need: your team knows.",
        "tell": "Tell them what you need, and who you are to Muniment:",
        "message": "I am {subject} in Muniment; my groups: {groups}.",
        "message_label": "To send to them",
        "no_groups": "none",
        "then": "Once they have said yes, the data is found here, and Kedro is given it by itself.",
        "groups": "You expected to find some? Access often comes with a group. If yours have changed, sign out and in "
        "again.",
        "account": "See what Muniment knows of you",
    },
    "refused": {
        "again": "Sign in",
        "anew": "Sign in anew, and let the provider ask you again",
        "back": "Back to the start",
        "request": "Request",
        "lost": "Look whether the address is whole. If somebody sent it to you, it may be about data that you may not "
        "know of yet: its steward can change that, and knows you as",
        "find": "Find datasets",
    },
    "unsent": {
        "out": "You have been signed out",
        "out_lead": "Nothing was changed, and what you typed is not lost: it is kept on this page.",
        "sign_in": "Sign in, in a new tab",
        "then": "Then come back to this tab, and go on.",
        "on": "Go on with what I typed",
        "anew": "Send it now?",
        "anew_lead": "You have signed in anew since that page was loaded, so nothing was changed. "
        "It has not been sent yet; if you send it now, it is sent as",
        "send": "Send it",
        "leave": "Leave it",
        "typed": "What you typed",
        "goes": "It goes to",
    },
}
