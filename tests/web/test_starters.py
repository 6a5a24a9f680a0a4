"""The page on which a project is started: what one may choose, what comes of it, and how it is taken away."""

from __future__ import annotations

import html
import io
import re
import shlex
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner

from demo.issuer import RunningIssuer
from kedro_muniment.command_line.starters import new
from muniment.web import starters
from tests.api.running import Running, grant, running
from tests.web.letting_in import Visitor, let_in, said

pytestmark = pytest.mark.anyio

PAGE = "/projects/new"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The platform team's folder, in which nothing stands yet but a group."""
    made = tmp_path_factory.mktemp("starters")
    write(made / "1" / "starters.yml", "groups: [{id: house, title: Our own}]\n")
    return made


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture(scope="module")
async def company(issuer: RunningIssuer, module_company: str, folder: Path) -> AsyncIterator[Running]:
    """The company; analysts know of the targets and may not use them."""
    async with running(issuer, module_company, starters=folder) as started:
        know = grant("group:analysts", ["discover"], on={"dataset": "sales.targets"})
        await started.root.make("/v1/grants/analysts-know-targets", know)
        for name in ("ann", "eve"):
            await getattr(started, name).read("/v1/whoami")
        yield started


@pytest.fixture(scope="module")
async def ann(company: Running) -> Visitor:
    return await let_in(company, "user:ann")


def shown_files(page: str) -> dict[str, str]:
    """The files that a page shows, by path."""
    found = re.findall(r"<summary><bdi><code>([^<]+)</code>.*?<pre[^>]*><code>(.*?)</code></pre>", page, re.DOTALL)
    return {path: html.unescape(text) for path, text in found}


def address(page: str, label: str) -> str:
    """The text of the box below a label."""
    (text,) = re.findall(rf'<pre id="take-{label}"[^>]*><code>(.*?)</code>', page, re.DOTALL)
    return html.unescape(text)


async def test_a_newcomer_sees_a_whole_project_before_choosing_anything(ann: Visitor) -> None:
    page = await ann.read(PAGE)
    files = shown_files(page)
    assert {"README.md", "Dockerfile", "conf/base/muniment.yml", ".muniment-project.yml"} <= files.keys()
    assert 'value="sales.orders"' in page
    assert "/requests/new?dataset=sales.targets&amp;action=load&amp;environment=dev" in page
    assert "hr." not in page


async def test_what_is_shown_is_what_is_taken_by_download_by_curl_and_by_command(
    ann: Visitor, company: Running
) -> None:
    """Seen to fail with an answer left out of one of the addresses."""
    asked = f"{PAGE}?name=Rose+report&description=It%27s+%22all%22&tools=docs&tools=log&datasets=sales.orders&ci=gitlab"
    page = await ann.read(f"{asked}&packages=polars&packages=notebook&kedro=1.6.0&environment=prod")
    files = {f"rose-report/{path}": text for path, text in shown_files(page).items()}
    (download,) = re.findall(r'class="button" href="([^"]+)" download', page)
    curl = shlex.split(address(page, "curl"))[-1]
    share = urlsplit(address(page, "share"))
    for answer in (
        await ann.get(html.unescape(download)),
        await company.ann.get(f"{urlsplit(curl).path}?{urlsplit(curl).query}"),
    ):
        assert answer.status_code == 200, answer.text
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert {entry.filename: archive.read(entry).decode() for entry in archive.infolist()} == files
    again = await ann.read(f"{share.path}?{share.query}")
    assert {f"rose-report/{path}": text for path, text in shown_files(again).items()} == files
    command = shlex.split(address(page, "command"))
    assert command[:4] == ["kedro", "muniment", "new", "Rose report"]
    told = new.make_context("new", command[3:]).params
    body = {key: value for key, value in told.items() if value and key not in {"url", "into", "as_json"}}
    lists = {key: str(body[key]).split(",") for key in ("tools", "packages", "datasets")}
    preview = await company.ann.post("/v1/projects/preview", {**body, **lists})
    assert {f"rose-report/{file['path']}": file["text"] for file in preview.json()["files"]} == files


async def test_no_tool_at_all_is_a_choice_that_lasts(ann: Visitor) -> None:
    page = await ann.read(f"{PAGE}?name=Plain&tools=")
    assert "tests/test_overview.py" not in shown_files(page)
    share = urlsplit(address(page, "share"))
    assert shown_files(await ann.read(f"{share.path}?{share.query}")) == shown_files(page)
    assert not CliRunner().invoke(new, ["--help"]).exception


async def test_what_does_not_fit_comes_back_with_all_that_was_typed_and_what_to_do(ann: Visitor) -> None:
    answer = await ann.get(f"{PAGE}?name=%3Cb%3E&description=kept&kedro=0.1&packages=jupyterlab&packages=notebook")
    assert answer.status_code == 422
    assert "2 to 80 letters" in said(answer)
    assert "Take one of jupyterlab and notebook" in said(answer)
    assert 'value="&lt;b&gt;"' in answer.text
    assert 'value="kept"' in answer.text
    assert 'href="#name"' in answer.text
    assert not shown_files(answer.text)
    # With scripts this part alone is put in, while somebody types.
    assert "2 to 80 letters" in answer.text.partition('<div id="project">')[2]


async def test_a_shared_address_gives_others_what_is_theirs_and_tells_no_hidden_name_from_one_that_never_was(
    company: Running, ann: Visitor
) -> None:
    eve = await let_in(company, "user:eve")
    page = await eve.read(f"{PAGE}?name=Report&datasets=sales.orders")
    assert "Left out" in page
    assert yaml.safe_load(shown_files(page)["conf/base/muniment.yml"])["names"] == {}
    hidden, never = [
        (await ann.read(f"{PAGE}?name=Report&datasets=hr.{leaf}")).replace(leaf, "*")
        for leaf in ("salaries", "nothing_x")
    ]
    assert hidden == never


async def test_of_many_datasets_some_are_shown_with_how_many_there_are_and_the_others_are_found(
    ann: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "are shown. Search" not in await ann.read(PAGE)
    monkeypatch.setattr(starters, "_SHOWN", 0)
    page = await ann.read(PAGE)
    assert "0 of 1 are shown. Search" in page
    assert 'value="sales.orders"' not in page
    # What was chosen stays, whatever is looked for.
    assert 'value="sales.orders" checked' in " ".join((await ann.read(f"{PAGE}?datasets=sales.orders")).split())


async def test_more_datasets_than_a_project_begins_with_are_refused_with_that_word(ann: Visitor) -> None:
    """Seen to be left out as if they were not there, all ten thousand of them."""
    names = ",".join(f"sales.d{number}" for number in range(3_000))
    answer = await ann.get(f"{PAGE}?name=Report&datasets={names[:19_000]}")
    assert answer.status_code == 422
    assert "at most 50 datasets" in said(answer)
    assert answer.text.count("sales.d") <= 50


async def test_hostile_words_are_text_in_the_page_and_in_every_file(ann: Visitor) -> None:
    hostile = "%3C%2Fcode%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%60%60%60%20%22%22%22%20%24%7BPATH%7D"
    page = await ann.read(f"{PAGE}?name=Report&description={hostile}")
    assert "<script>alert" not in page
    assert '</code><script>alert(1)</script>``` """ ${PATH}' in shown_files(page)[".muniment-project.yml"].replace(
        '\\"', '"'
    )
    for query in ("name=" + "x" * 10_000, "description=%F0%9F%9A%80", "search=%00%1B%5B2J", "datasets=" + "a," * 5_000):
        assert (await ann.get(f"{PAGE}?{query}")).status_code in {200, 422}, query[:20]


async def test_looking_is_recorded_once_and_taking_as_a_start(company: Running, ann: Visitor) -> None:
    async def counted(event: str) -> int:
        page = await company.root.read(f"/v1/ledger?subject=user:ann&event={event}&limit=1000")
        return len(page["items"])

    before = [await counted(event) for event in ("dataset.read", "project.started")]
    await ann.read(f"{PAGE}?name=Report&datasets=sales.orders")
    assert (await ann.get("/projects/new.zip?name=Report&datasets=sales.orders")).status_code == 200
    after = [await counted(event) for event in ("dataset.read", "project.started")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1]


# --- what is offered --------------------------------------------------------------------------------------------------

OFFER = "/projects/offer"


async def test_everybody_sees_what_is_offered_and_only_an_administrator_where_it_lies_and_how_to_add_to_it(
    company: Running, ann: Visitor, folder: Path
) -> None:
    root = await let_in(company, "user:root")
    asked = f"{OFFER}?name=mlflow&pinned=3.5.0&group=house"
    for visitor, tends in ((root, True), (ann, False)):
        page = await visitor.read(asked)
        assert "scikit-learn" in page
        assert (str(folder) in page, "Add a package" in page, "3.5.0" in page) == (tends, tends, tends)


async def test_a_package_that_the_page_shows_is_what_the_folder_then_offers(
    company: Running, ann: Visitor, folder: Path
) -> None:
    """Seen to fail with the range left out of the lines."""
    root = await let_in(company, "user:root")
    page = await root.read(f"{OFFER}?name=dask%5Bdataframe%5D&pinned=2026.7.1&group=house&description=%22%3A+%23")
    lines = html.unescape(re.findall(r'<pre id="add-lines"[^>]*><code>(.*?)</code>', page, re.DOTALL)[0])
    write(folder / "2" / "starters.yml", (folder / "1" / "starters.yml").read_text() + lines)
    held = company.app.state.house.starters
    looks = [held.look(datetime.now(UTC)) for _ in range(3)]
    assert looks == [False, True, False]
    page = await ann.read(f"{PAGE}?name=Report&packages=dask%5Bdataframe%5D")
    assert "dask[dataframe]==2026.7.1\n" in shown_files(page)["requirements.txt"]
    assert '"dask[dataframe]>=2026.7.1,<2027"' in shown_files(page)["pyproject.toml"]


async def test_a_folder_that_cannot_be_offered_changes_nothing_and_administrators_are_told_why(
    company: Running, ann: Visitor, folder: Path
) -> None:
    root = await let_in(company, "user:root")
    held = company.app.state.house.starters
    before = held.newest
    write(folder / "9" / "starters.yml", "packges: []\n")
    for _ in range(2):
        held.look(datetime.now(UTC))
    assert held.newest is before
    assert "version 9: packges: there is no such key" in await root.read(OFFER)
    assert "packges" not in await ann.read(OFFER) + await ann.read(PAGE)
    (folder / "9" / "starters.yml").unlink()
    (folder / "9").rmdir()
    for _ in range(2):
        held.look(datetime.now(UTC))
    assert "packges" not in await root.read(OFFER)


async def test_what_cannot_be_a_package_comes_back_with_a_word_for_each_field(company: Running) -> None:
    root = await let_in(company, "user:root")
    hostile = "%3Cscript%3Ealert(1)%3C%2Fscript%3E"
    for query, word in {
        f"name={hostile}&pinned=1.0&group=house": "name of a package",
        "name=mlflow&pinned=latest&group=house": "such as 2.2.3",
        f"name=mlflow&pinned=1.0&versions={hostile}&group=house": "must be one version",
        f"name=mlflow&pinned=1.0&group={hostile}": "Choose one of the list",
        f"name={'x' * 10_000}&pinned=1.0&group=house": "at most 300",
        "name=mlflow&pinned=1.0&group=house&description=a%0Ab": "must be a line of text",
        "name=&pinned=&group=": "such as 2.2.3",
        "name=&pinned=1.0&group=house": "must be a line of text",
    }.items():
        answer = await root.get(f"{OFFER}?{query}")
        assert answer.status_code == 422, query
        assert word in html.unescape(answer.text), query
        assert "<script>alert" not in answer.text
        assert 'id="add-lines"' not in answer.text
