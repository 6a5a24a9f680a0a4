"""How a person is told where to sign in: lines on standard error, or the output of a notebook's cell.

Standard error, because a command's answer is on standard output alone: in a terminal both are seen, and behind a pipe
the link and the code are still shown to somebody.
"""

from __future__ import annotations

import html
import sys
from dataclasses import dataclass, field
from typing import Any, Protocol

import click


@dataclass(frozen=True, slots=True)
class Invitation:
    """Where a person goes to sign in; with a code, if there is one to compare."""

    service: str
    link: str
    code: str | None
    seconds: float
    #: Whether a browser was opened at the link already.
    opened: bool = False

    def sentences(self) -> tuple[str, str]:
        """What stands before the link and after it."""
        if self.opened:
            before = f"Your browser opens to sign you in to {self.service}. If it does not, open this address in it:"
        else:
            before = f"To sign in to {self.service}, open this address in a browser" + (
                " on any device:" if self.code else " on this machine:"
            )
        minutes = max(1, round(self.seconds / 60))
        until = f"within {minutes} minute{'' if minutes == 1 else 's'}"
        return before, f"Check that it shows this code, and go on {until}:" if self.code else f"Sign in {until}."


class Telling(Protocol):
    """Who tells a person."""

    def invite(self, invitation: Invitation) -> None: ...

    def say(self, line: str) -> None: ...


class Lines:
    """Plain lines on standard error; bold in a terminal."""

    def invite(self, invitation: Invitation) -> None:
        before, after = invitation.sentences()
        link = click.style(invitation.link, bold=True)
        code = ["", f"    {click.style(invitation.code, bold=True)}"] if invitation.code else []
        for line in (before, "", f"    {link}", "", after, *code, ""):
            click.echo(line, err=True)
        sys.stderr.flush()

    def say(self, line: str) -> None:
        click.echo(line, err=True)


@dataclass
class Cell:
    """The output of a notebook's cell, which says at the end what came of it."""

    _shown: Any = field(default=None, init=False)

    def invite(self, invitation: Invitation) -> None:
        from IPython.display import display

        before, after = invitation.sentences()
        link = html.escape(invitation.link, quote=True)
        code = f'<br><code style="font-size: 1.6em">{html.escape(invitation.code)}</code>' if invitation.code else ""
        page = f'{html.escape(before)}<br><a href="{link}" target="_blank" rel="noopener noreferrer">{link}</a>'
        plain = "\n".join([before, f"    {invitation.link}", after, *([f"    {invitation.code}"] * bool(code))])
        shown = {"text/html": f"<p>{page}</p><p>{html.escape(after)}{code}</p>", "text/plain": plain}
        self._shown = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def say(self, line: str) -> None:
        from IPython.display import display

        said = {"text/html": f"<p>{html.escape(line)}</p>", "text/plain": line}
        if self._shown is None:
            display(said, raw=True)  # type: ignore[no-untyped-call]
        else:
            self._shown.update(said, raw=True)


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None


def here() -> Telling:
    return Cell() if in_kernel() else Lines()
