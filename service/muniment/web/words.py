"""What the pages say, in English, in one place. The templates name each text by page and place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, Mapping[str, str | Mapping[str, str]]]] = {
    "frame": {
        "product": "Muniment",
        "skip": "Skip to the content",
        "navigation": "Pages",
        "account": "My things",
        "notices": "Notices",
        "sign_in": "Sign in",
        "sign_out": "Sign out",
        "signed_in_as": "Signed in as",
        "foot": "Muniment keeps who may use which data, and proof of every use.",
    },
    "choose": {
        "title": "Sign in",
        "lead": "Where do you have your account?",
        "go": "Sign in at",
        "none": "Nobody can sign in with a browser here yet: no sign-in provider is set up for these pages.",
        "mend": "Whoever runs Muniment finds in the documentation of its settings how (“browser”, at an issuer).",
    },
    "signed_out": {
        "title": "You are signed out",
        "lead": "Nobody is signed in to Muniment with this browser now.",
        "provider": "Your sign-in provider may still know you. On a computer that others use, sign out there too.",
        "go": "Sign out at the provider too",
        "again": "Sign in again",
    },
    "account": {
        "title": "My things",
        "who": "Who I am",
        "subject": "Name in policies",
        "issuer": "Vouched for by",
        "groups": "Groups",
        "no_groups": "none",
        "attributes": "Attributes",
        "no_attributes": "none",
        "as_of": "As your provider told it when you signed in. Sign out and in again if it has changed.",
        "sessions": "Where I am signed in",
        "sessions_lead": "Each line is a browser that is signed in as you. End what you do not know.",
        "zone": "Times are in UTC.",
        "browser": "Browser",
        "address": "Address",
        "began": "Signed in",
        "used": "Last used",
        "until": "Ends at the latest",
        "this": "this browser",
        "end": "End",
        "end_this_one": "End this one",
        "end_all": "End all my sessions",
        "end_all_lead": "Signs you out of every browser, this one too.",
        "action": "What to do",
        "done": {
            "ended": "The session has been ended.",
            "begun": "You administer this Muniment now. Declare the first domain and its datasets, and give rights.",
        },
        "terminal": "In a terminal or a notebook",
        "terminal_lead": "There you sign in once more, with the same provider:",
        "terminal_then": "Inside a project that names this service, leave the address away. In a notebook, the link to "
        "sign in with is the cell’s output.",
        "keys": "Keys that I made",
        "keys_lead": "Each signs a job in, until it ends. A key that nothing uses any more is one to revoke.",
        "for": "For",
        "use": "Opens",
        "because": "Why",
        "key_used": "Last used",
        "never": "never",
        "key_until": "Ends",
    },
    "beginning": {
        "title": "Begin this Muniment",
        "lead": "Nobody administers it yet. With the link that you followed you can be the first who does.",
        "rights": "You will declare datasets, make rules and name further administrators. You will not be able to use "
        "any data by it. The link works once.",
        "go": "Administer it as",
        "gone": "This link leads nowhere",
        "gone_lead": "It was followed, it has ended, or it never was one. As long as nobody administers this Muniment, "
        "each start of the service says another link.",
    },
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
    "refused": {
        "again": "Sign in",
        "anew": "Sign in anew, and let the provider ask you again",
        "back": "Back to my things",
        "request": "Request",
    },
}
