"""What the pages say, in English, in one place: a module for each part.

The templates name each text by page and place.
"""

from __future__ import annotations

from typing import Final

from muniment.web.words import account, frame, notices, sign_in
from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
    **frame.WORDS,
    **sign_in.WORDS,
    **account.WORDS,
    **notices.WORDS,
}
