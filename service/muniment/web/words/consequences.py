"""What pages say of what a change would do to people and projects."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
    "consequences": {
        "title": "What this does to people",
        "nothing": "Nobody gains or loses anything by this, and no run that was recorded needs anything of it.",
        "known": "Looked at for everybody whom Muniment knows, as they were when they last signed in. You are told of "
        "what you oversee.",
        "sides": {
            "gained": "Who gains",
            "lost": "Who loses",
            "masked": "For whom columns or rows are withheld that were not",
            "unmasked": "For whom columns or rows are no longer withheld",
            "governing_gained": "Who governs from then on",
            "governing_lost": "Who no longer governs",
        },
        "who": "Who",
        "what": "Dataset or domain",
        "may": "May",
        "in": "in",
        "further": "further lines are not shown here.",
        "broken": "Runs that would have failed",
        "broken_lead": "These ran in the last 30 days and would not get what they need any more.",
        "ending": "Who runs with it",
        "ending_lead": "These projects used it in the last 30 days.",
        "project": "Project",
        "no_project": "no project named",
        "environment": "Environment",
        "subject": "As",
        "people": "People and jobs",
        "needs": "Needs",
        "last": "Last run",
        "times": "Times",
        "incomplete": "There were more runs than are looked at here; these are the latest.",
        "moved": "Something else was changed since you looked, and this does something else now. Look again.",
    },
}
