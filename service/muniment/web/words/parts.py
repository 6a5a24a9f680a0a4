"""What the parts say that pages are made of."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
    "parts": {
        "trail": "Where this page is",
        "errors": "There is something to mend",
        "error": "Error:",
        "optional": "(optional)",
        "cancel": "Cancel",
        "search": "Search",
        "more": "More",
        "give_back": "(chosen; follow it to take the choice back)",
        "pager": "Further pages",
        "earlier": "← Back",
        "later": "Next →",
        "copy_it": "Copy",
        "copied": "Copied",
        "line_before": "Line before",
        "line_after": "Line after",
        "change": "Change",
        "line": "Text",
        "added": "added",
        "removed": "removed",
        "as_table": "The same as a table",
    },
}
