"""What My things says."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
    "account": {
        "title": "My things",
        "tabs": {"account": "Me and my sign-ins", "access": "What I may use", "use": "What I used"},
        "tabs_label": "Parts of my things",
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
        "terminal_label": "To sign in",
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
    "my_access": {
        "title": "What I may use",
        "lead": "Every dataset that a catalog would give you now, and until when. Whoever decides on a dataset may "
        "change that at any time; what you hold of it then ends with its lease.",
        "caption": "Datasets that you may use",
        "dataset": "Dataset",
        "environment": "Environment",
        "actions": "You may",
        "ends": "Until",
        "open": "no end in sight",
        "do": "Ask again",
        "again": "Ask again",
        "total": "datasets in all",
        "none": "You may use no dataset yet.",
        "none_lead": "Find the one you need, and ask for it: the page of each says whom.",
        "browse": "Browse the datasets",
    },
    "my_use": {
        "title": "What I used",
        "lead": "What the ledger holds about you and your data: what was given to you, and what your runs say they "
        "used. Whoever audits reads the same.",
        "caption": "The newest first, times in UTC",
        "at": "When",
        "what": "What",
        "datasets": "Datasets",
        "environment": "Environment",
        "project": "Project",
        "receipt": "Receipt",
        "none": "Nothing yet.",
        "none_lead": "It begins with your first run in a project that is wired to Muniment.",
        "events": {
            "catalog.served": "You were told your catalog",
            "lease.served": "You were given a lease",
            "preflight.allowed": "A run was checked and allowed",
            "access.denied": "You were refused",
            "use.reported": "A run of yours says it used them",
            "refusal.reported": "A run of yours was refused",
        },
    },
}
