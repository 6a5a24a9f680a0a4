"""Somebody's way through the pages, from the start to the end, by what they read and press.

Each stop leaves a picture: whoever sees nothing else can answer what was asked.
"""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import BrowserContext, expect

from tests.browser.chromium import Window
from tests.browser.town import Town

Signed = dict[str, BrowserContext]


class Walk:
    """One person's way through the pages, with a picture of each stop."""

    def __init__(self, window: Window, name: str, pictures: Path) -> None:
        self.window, self.page = window, window.page
        self._name, self._pictures, self._steps = name, pictures, 0

    @classmethod
    async def of(cls, signed_in: Signed, town: Town, person: str, name: str, pictures: Path) -> Walk:
        """Somebody, at the start."""
        walk = cls(await Window.of(signed_in[person], town.base), f"walk-{name}-{person}", pictures)
        assert await walk.window.go("/") == 200
        return walk

    async def stop(self, *said: str) -> None:
        """Look around: this is said here."""
        for text in said:
            await expect(self.page.locator("main")).to_contain_text(text)
        self._steps += 1
        await self.page.screenshot(path=self._pictures / f"{self._name}-{self._steps}.png", full_page=True)

    async def follow(self, text: str, *, exact: bool = False) -> None:
        """Follow a link."""
        await self.page.get_by_role("link", name=text, exact=exact).first.click()

    async def press(self, text: str) -> None:
        """Press a button."""
        await self.page.get_by_role("main").get_by_role("button", name=text, exact=True).first.click()

    async def end(self) -> None:
        """Leave; the browser had nothing to complain of."""
        await self.page.close()
        assert self.window.complaints == []
