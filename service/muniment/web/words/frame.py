"""What stands on every page, and what a refusal says."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
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
    "refused": {
        "again": "Sign in",
        "anew": "Sign in anew, and let the provider ask you again",
        "back": "Back to my things",
        "request": "Request",
    },
}
