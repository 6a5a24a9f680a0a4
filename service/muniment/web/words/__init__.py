"""What the pages say, in English, in one place: a module for each part.

The templates name each text by page and place.
"""

from __future__ import annotations

from typing import Final

from muniment.web.words import (
    account,
    audit,
    consequences,
    datasets,
    declare,
    frame,
    notices,
    parts,
    policies,
    requests,
    reviews,
    sign_in,
    starters,
)
from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
    **frame.WORDS,
    **parts.WORDS,
    **sign_in.WORDS,
    **account.WORDS,
    **notices.WORDS,
    **datasets.WORDS,
    **declare.WORDS,
    **consequences.WORDS,
    **audit.WORDS,
    **policies.WORDS,
    **requests.WORDS,
    **reviews.WORDS,
    **starters.WORDS,
}
