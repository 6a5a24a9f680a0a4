"""What the pages of notices say, and those where links in mails lead."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
    "notices": {
        "title": "Notices",
        "none": "There is nothing to tell you.",
        "choose": "Choose how you are told",
    },
    "telling": {
        "title": "How I am told",
        "all": "Everything stands on the page of notices. What you choose here comes by mail too.",
        "no_mails": "This Muniment sends no mails. What it has to tell you stands on the page of notices.",
        "where": "Where mails go",
        "confirmed": "as you confirmed",
        "as_signed_in": "as your sign-in says",
        "nowhere": "No address of yours is known, so no mail goes to you.",
        "address": "Another address",
        "address_hint": "A mail with a link goes there. Mails go there once you have followed it.",
        "send": "Send the link",
        "forget": "Forget this address",
        "which": "What comes by mail",
        "paces": {"at_once": "at once", "daily": "once a day", "off": "not by mail"},
        "quiet": "Quiet for now: no mail at all",
        "quiet_hint": "What you chose above stays as it is, for when you take this back.",
        "save": "Choose so",
        "done": {
            "chosen": "You are told so from now on.",
            "asked": "A mail with a link is on its way.",
            "removed": "The address is forgotten.",
        },
    },
    "mail_link": {
        "unsubscribe": {
            "title": "No more such mails",
            "lead": "Muniment sends you mails of these kinds:",
            "go": "Send me no more of them",
            "done": "You get no more mails of these kinds:",
        },
        "address": {
            "title": "Your address",
            "lead": "Muniment will send what it has to tell you to",
            "go": "Send it there",
            "done": "Muniment sends what it has to tell you to",
        },
        "kinds": {
            "asked": "somebody asks for access, and you decide",
            "decided": "somebody decided on what you asked for",
            "ends": "access ends in seven days",
            "review": "a rule is to be looked at again",
            "first_use": "somebody used a dataset of yours for the first time",
        },
    },
}
