"""What the pages of notices say, and those where links in mails lead."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
    "notices": {
        "title": "Notices",
        "none": "There is nothing to tell you.",
        "choose": "How you are told, by mail or not, is chosen at /v1/notices/preferences.",
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
