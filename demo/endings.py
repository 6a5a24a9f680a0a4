"""What ends at once: a colleague leaves, and the next request with anything of theirs is refused.

Ben's access is ended, and that of a job that has a key of Muniment's own. Both are admitted again at the
end, so that a later start can show the same; what they had signed in with before stays dead.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.entering import Desk, introduced
from demo.servers import ADMINISTRATOR
from demo.telling import must, quoted, step

_COLLEAGUE = "ben"
_JOB = "crm-sync"
_SUBJECTS = (f"user:{_COLLEAGUE}", f"service:{_JOB}")
_WHOAMI = "/v1/whoami"
_REFUSED = 401


def show_end(desk: Desk) -> None:
    """Ada ends Ben's access and a job's; the next request of each is refused, whatever it signs in with."""
    _admit_who_was_left_out(desk)
    with step("Ben signs in, a job has a key") as doing:
        credentials = (desk.sign_in(_COLLEAGUE), _key(desk))
        known = [desk.answer(each, _WHOAMI).json()["subject"] for each in credentials]
        must(known == list(_SUBJECTS), f"Both should be known to the service: {known}")
        doing.found = " and ".join(known)
    with step("Ada ends the access of both") as doing:
        for subject in _SUBJECTS:
            desk.post(ADMINISTRATOR, f"/v1/subjects/{subject}/end", {"reason": "left the company"})
        doing.found = "left the company"
    with step("the next request of each") as doing:
        words = [_refusal(desk, each) for each in credentials]
        doing.found = f"{_REFUSED} and {_REFUSED}"
    with step("both are admitted again") as doing:
        _admit_who_was_left_out(desk)
        _await_the_next_second()
        subject = desk.answer(desk.sign_in(_COLLEAGUE), _WHOAMI).json()["subject"]
        must(subject == _SUBJECTS[0], f"{_COLLEAGUE} should be let in with a new token: {subject}")
        for each in credentials:
            _refusal(desk, each)
        doing.found = "a new token is let in; the old one and the key are not"
    print(f"What {introduced(_COLLEAGUE)}, was told, and who came with the key:")
    quoted("\n".join(words))


def _key(desk: Desk) -> str:
    """A key for the job, for an hour."""
    wish = {
        "service": f"service:{_JOB}",
        "use": "runs",
        "environment": "prod",
        "project": _JOB,
        "purpose": "demonstration",
        "until": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "because": "a scheduler that no provider reaches",
    }
    made: Any = desk.post(ADMINISTRATOR, "/v1/keys", wish)
    return str(made["key"])


def _refusal(desk: Desk, credential: str) -> str:
    """The words with which a credential is refused."""
    answer = desk.answer(credential, _WHOAMI)
    must(answer.status_code == _REFUSED, f"What was ended should be refused: {answer.status_code}")
    return str(answer.json()["detail"])


def _admit_who_was_left_out(desk: Desk) -> None:
    """Let both sign in again: those whose access this scene has ended, or an interrupted one before it."""
    for subject in _SUBJECTS:
        answer = desk.answer(desk.token(ADMINISTRATOR), f"/v1/subjects/{subject}")
        if answer.is_success and not answer.json()["active"]:
            desk.post(ADMINISTRATOR, f"/v1/subjects/{subject}/admit", {"reason": "came back"})


def _await_the_next_second() -> None:
    """Tokens say only the second in which they were issued: one of this second may be from before."""
    time.sleep(1 - time.time() % 1)
