"""What a browser sends of a form: line breaks as it writes them, and without the one that a text begins with."""

from __future__ import annotations

from html.parser import HTMLParser


def sent_by(page: str, action: str) -> dict[str, str]:
    """The fields of the form that posts to an address; the button that is pressed is not among them."""
    return _Sent(page, action).fields


class _Sent(HTMLParser):
    def __init__(self, page: str, action: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._action = action
        self._text: str | None = None
        self._choice: str | None = None
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "form":
            self._inside = given.get("action") == self._action and given.get("method") == "post"
        if not self._inside or (not name and tag != "option"):
            return
        if tag == "input" and (given.get("type") != "radio" or "checked" in given):
            self.fields[name] = (given.get("value") or "").replace("\n", "\r\n")
        elif tag == "textarea":
            self._text, self.fields[name] = name, ""
        elif tag == "select":
            self._choice = name
        elif tag == "option" and self._choice and ("selected" in given or self._choice not in self.fields):
            self.fields[self._choice] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self.fields[self._text] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._text is not None:
            self.fields[self._text] = self.fields[self._text].removeprefix("\n").replace("\n", "\r\n")
            self._text = None
        self._inside = self._inside and tag != "form"
