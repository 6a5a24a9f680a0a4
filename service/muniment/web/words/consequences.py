"""What pages say of what a change would do to people and projects."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
    "consequences": {
        "title": "What would change",
        "nothing": "Nobody gains or loses anything by it now.",
        "nothing_more": "Muniment looked at all {known} people and jobs that it knows. It may still matter to somebody "
        "who comes later.",
        "known": "Muniment looked at all {known} people and jobs that it knows, by what was last known of each. You "
        "are told of what you look after.",
        "sides": {
            "gained": "{subjects} would gain access",
            "lost": "{subjects} would lose access",
            "masked": "{subjects} would no longer see all columns and rows",
            "unmasked": "{subjects} would see columns or rows that are withheld now",
            "governing_gained": "{subjects} would gain rights to govern",
            "governing_lost": "{subjects} would lose rights to govern",
        },
        "one": "1 person or job",
        "many": "{count} people and jobs",
        "who": "Who",
        "may": "May",
        "what": "Dataset or domain",
        "where": "Environment",
        "anywhere": "every environment",
        "domain": "domain, with all that is in it",
        "further": "{count} more lines are not shown here.",
        "runs": "What would have failed",
        "runs_none": "No recorded run would have failed since",
        "runs_lead": "Each of these needs something that it would no longer get. Looked at: runs since",
        "ending": "Who uses it",
        "ending_lead": "Projects that used it since",
        "project": "Project",
        "no_project": "no project named",
        "environment": "Environment",
        "subject": "As",
        "people": "People and jobs",
        "needs": "Needs",
        "last": "Last run",
        "times": "Times",
        "incomplete": "There were more runs than Muniment looks at here; these are the latest.",
        "findings": "What would be doubtful",
        "moved": "Something else was changed since you looked, and this does something else now. Look again.",
    },
}
