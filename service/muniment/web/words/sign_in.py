"""What the pages say on which one signs in and out, and begins a Muniment."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
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
}
