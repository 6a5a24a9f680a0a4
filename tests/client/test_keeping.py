"""Where sign-ins are kept: nobody else reads them, nothing shows them, and one never takes another's place."""

from __future__ import annotations

import json
import os
import pickle
import stat
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import PasswordSetError

from kedro_muniment.problems import NotSignedIn
from kedro_muniment.sign_in import keeping
from kedro_muniment.sign_in.keeping import SignIn, Tokens
from kedro_muniment.sign_in.signing_in import token
from kedro_muniment.sign_in.tokens import Token
from tests.client.tracebacks import shown

SECRET = "never-to-be-seen-access"
NEXT = "never-to-be-seen-refresh"
SINCE = datetime(2027, 1, 4, 8, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a profile to its user by other means.")


class SystemKeyring(KeyringBackend):
    """A system's keyring, as far as it can be had without a desktop. Some refuse what is long."""

    priority = 5

    def __init__(self, longest: int = 10_000) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self._longest = longest

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if len(password) > self._longest:
            raise PasswordSetError(f"cannot hold {password}")
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("MUNIMENT_TOKEN", raising=False)
    earlier = keyring.get_keyring()
    from keyring.backends import null

    keyring.set_keyring(null.Keyring())
    yield tmp_path / "kedro-muniment"
    keyring.set_keyring(earlier)


@pytest.fixture
def system_keyring():
    made = SystemKeyring()
    keyring.set_keyring(made)
    return made


def of(url="https://muniment.example.org", issuer="https://id.example.org", **other):
    made = SignIn(url, issuer, "kedro-muniment", "user:ann", ("openid",), None, SINCE)
    return replace(made, **other)


def tokens(access=SECRET):
    return Tokens(Token(access), Token(NEXT), FAR)


def keep(sign_in, held=None):
    with keeping.alone(sign_in):
        return keeping.keep(sign_in, held or tokens())


@posix
def test_the_file_and_its_directory_are_their_owners_alone(folder):
    kept = keep(of())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert kept.where().startswith(str(folder))


@posix
def test_an_open_directory_is_closed(folder):
    folder.mkdir(mode=0o755)
    folder.chmod(0o777)
    keep(of())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_file_that_others_may_read_or_write_is_refused_and_can_be_ended(folder, mode):
    sign_in = keep(of())
    (file,) = folder.glob("*.json")
    file.chmod(mode)
    with pytest.raises(NotSignedIn, match=f"mode {mode:04o}.*kedro muniment logout, then kedro muniment login"):
        token(sign_in.url)
    assert keeping.tokens_of(sign_in, to_end_it=True) is not None


@posix
def test_a_link_to_somewhere_else_is_refused(folder, tmp_path):
    sign_in = keep(of())
    (file,) = folder.glob("*.json")
    elsewhere = file.replace(tmp_path / "elsewhere")
    file.symlink_to(elsewhere)
    with pytest.raises(NotSignedIn, match="not your own file"):
        token(sign_in.url)


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="Only root can give a file away.")
def test_another_users_file_is_refused_also_to_end_it(folder):
    sign_in = keep(of())
    (file,) = folder.glob("*.json")
    os.chown(file, 65534, 65534)
    for ending in (False, True):
        with pytest.raises(NotSignedIn, match="not your own file"):
            keeping.tokens_of(sign_in, to_end_it=ending)


def test_services_and_issuers_stand_side_by_side_and_the_newest_is_used(folder):
    keep(of(subject="user:old"))
    keep(of(issuer="https://other.example", subject="user:new", since=SINCE + timedelta(hours=1)), tokens("newer"))
    keep(of("https://second.example", subject="user:there"), tokens("second"))
    assert [each.subject for each in keeping.known("https://muniment.example.org")] == ["user:new", "user:old"]
    assert token("https://muniment.example.org").is_same(Token("newer"))
    assert token("https://second.example").is_same(Token("second"))
    assert len(keeping.known()) == 3
    with pytest.raises(NotSignedIn, match="not signed in"):
        token("https://third.example")


@pytest.mark.parametrize(
    "spelt",
    ["https://MUNIMENT.example.org", "HTTPS://muniment.example.org/", "https://muniment.example.org:443"],
)
def test_a_service_is_one_however_its_address_is_spelt(spelt):
    keep(of())
    assert keeping.known(spelt) == keeping.known("https://muniment.example.org")
    assert len(keeping.known(spelt)) == 1


@pytest.mark.parametrize(
    "other", ["https://muniment.example.org:8443", "https://muniment.example.org/b", "http://localhost"]
)
def test_another_address_is_another_service(other):
    keep(of())
    assert keeping.known(other) == []


def test_a_real_keyring_holds_the_tokens_and_the_file_holds_none(folder, system_keyring):
    sign_in = keep(of())
    assert sign_in.where() == "the system's keyring"
    (file,) = folder.glob("*.json")
    assert "never-to-be-seen" not in file.read_text()
    assert list(system_keyring.held) == [("kedro-muniment", "https://muniment.example.org by https://id.example.org")]
    assert token(sign_in.url).is_same(Token(SECRET))
    with keeping.alone(sign_in):
        keeping.forget(sign_in)
    assert system_keyring.held == {}
    assert list(folder.glob("*.json")) == []


def test_what_a_keyring_does_not_take_goes_into_the_file(folder):
    keyring.set_keyring(SystemKeyring(longest=50))
    sign_in = keep(of())
    assert sign_in.store == "file"
    assert token(sign_in.url).is_same(Token(SECRET))


def test_a_keyring_that_keeps_plain_text_is_not_used(folder, system_keyring, monkeypatch):
    monkeypatch.setattr(SystemKeyring, "priority", 0.5)
    assert keep(of()).store == "file"
    assert system_keyring.held == {}


def test_tokens_that_are_gone_from_the_keyring_are_no_sign_in(system_keyring):
    sign_in = keep(of())
    system_keyring.held.clear()
    with pytest.raises(NotSignedIn, match="not signed in"):
        token(sign_in.url)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}', "null", "\x00", '{"format": 99, "url": "x"}'])
def test_a_file_that_is_none_of_ours_is_as_if_it_were_not_there(folder, text):
    sign_in = keep(of())
    (file,) = folder.glob("*.json")
    file.write_text(text)
    with pytest.raises(NotSignedIn, match="not signed in"):
        token(sign_in.url)


def test_a_file_under_another_services_name_is_not_believed(folder):
    keep(of("https://second.example"))
    (file,) = folder.glob("*.json")
    file.rename(folder / f"{of().name}.json")
    assert keeping.known(of().url) == []


def test_the_secrets_are_in_no_repr_and_no_pickle(folder):
    sign_in = keep(of())
    held = keeping.tokens_of(sign_in)
    assert "never-to-be-seen" not in repr(held) + repr(sign_in) + str(held) + repr(token(sign_in.url))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(held)


def test_a_sign_in_that_cannot_be_kept_leaves_the_earlier_one_whole(folder, monkeypatch):
    sign_in = keep(of())
    before = {file: file.read_text() for file in folder.glob("*.json")}

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match=r"No space left on device.*Nothing was kept") as refused:
        keep(sign_in, tokens("never-to-be-seen-newer"))
    assert "_written:" in shown(refused.value) or "keep:" in shown(refused.value)
    assert "never-to-be-seen" not in shown(refused.value)
    assert {file: file.read_text() for file in folder.glob("*") if file.suffix != ".lock"} == before


def test_json_on_disk_holds_what_is_needed_and_a_format(folder):
    keep(of())
    (file,) = folder.glob("*.json")
    held = json.loads(file.read_text())
    assert held["format"] == keeping.FORMAT
    assert held["tokens"] == {"access": SECRET, "refresh": NEXT, "ends": FAR.isoformat()}
