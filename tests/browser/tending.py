"""A platform engineer puts a package on the project page, word for word as that says, and somebody else takes it."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from click.testing import CliRunner
from playwright.async_api import expect

from muniment.cli import main as service_commands
from tests.browser.town import Town
from tests.browser.walking import Signed, Walk


async def a_package_is_added(signed_in: Signed, town: Town, pictures: Path) -> None:
    """The engineer types what is to be offered, and does with the folder what the page answers."""
    root = await Walk.of(signed_in, town, "root", "tending", pictures)
    await root.page.goto(f"{town.base}/projects/new")
    await root.follow("What is offered, and from where")
    await root.stop("Served now", "1+1", str(town.starters))
    await root.page.get_by_label("Package", exact=True).fill("mlflow")
    await root.page.get_by_label("Version", exact=True).fill("3.5.0")
    await root.page.get_by_label("Group").select_option(label="Our own")
    await root.page.get_by_label("In a few words").fill("Keeps track of experiments.")
    await root.press("Show what to do")
    await root.stop("To offer this package: mlflow 3.5.0", ">=3.5.0,<4", "muniment starters check")
    steps = ("prepare", "lines", "check", "place")
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        _do_as_told(*[await root.page.locator(f"#add-{step} code").inner_text() for step in steps])
    await root.page.goto(f"{town.base}/projects/offer")
    row = root.page.get_by_role("row", name="mlflow")
    while not await row.count():
        await root.page.reload()
    await expect(row).to_contain_text("Your platform team")
    await root.stop("1+2", "Keeps track of experiments.")
    await root.end()


def _do_as_told(prepare: str, lines: str, check: str, place: str) -> None:
    """What the page says is done in a terminal: a command, a file, two further commands."""
    subprocess.run(["sh", "-ec", prepare], check=True)
    with Path("new-starters", "2", "starters.yml").open("a", encoding="utf-8") as manifest:
        manifest.write(lines)
    done = CliRunner().invoke(service_commands, shlex.split(check)[1:])
    assert done.exit_code == 0, done.output
    assert "+ packages mlflow  3.5.0" in done.output
    subprocess.run(["sh", "-ec", place], check=True)


async def a_package_is_taken(signed_in: Signed, town: Town, pictures: Path) -> None:
    """An analyst ticks it and sees it pinned in the project, without having pressed anything else."""
    ann = await Walk.of(signed_in, town, "ann", "tending", pictures)
    await ann.page.goto(f"{town.base}/projects/new?name=Experiments")
    await ann.page.get_by_label("mlflow 3.5.0").check()
    await expect(ann.page.locator("#project")).to_contain_text("mlflow==3.5.0")
    await ann.page.locator("#project summary", has_text="requirements.txt").last.click()
    await ann.stop("mlflow==3.5.0")
    await ann.end()
