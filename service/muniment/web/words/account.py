"""What My things says."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
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
}
