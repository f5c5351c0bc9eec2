"""Every setting: what it may be, where it may come from, and that a wrong one refuses to start and says which it is."""

import os
import re
import secrets
import stat
import string
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest

import settings
from app import create_app
from authn.passwords import Cost
from settings import ConfigurationError
from tests.support.apps import CHEAP, KEY, ROOT

OTHER_KEY = KEY[::-1]
DATABASE = "sqlite:////nowhere/test.db"
BAD_ADDRESSES = [
    "smtp://u:pass\u2048@h.org",
    "smtp://u:a[b@h.org",
    "smtp://u:a]b@h.org",
    "smtp://h[x",
    "smtp://h.org:0",
]
BAD_SENDERS = [
    "a@b.org,c@d.org",
    "a%2Cb@x.org",
    "a%3Bb@x.org",
    "a:b@x.org",
    "a%40b@x.org",
    "a@x..org",
    "a%0Ab@x.org",
    "a@[x",
]
GIVEN = {"SECRET_KEY": KEY, "DATABASE_URL": DATABASE, "SITE_URL": "http://localhost:5000"}

NEEDS = {"APPS": {"SITE_URL": "https://accounts.example.org", "TRUSTED_PROXIES": "1"}}  # what it is refused without

Load = Callable[..., dict[str, Any]]

# A value that is right, and texts that are wrong wherever they come from.
TEXTS: dict[str, tuple[str, list[str]]] = {
    "RECOVERY_CODES_ENABLED": ("on", ["maybe", "2", "-1", "enabled", "None"]),
    "SITE_NAME": ("Harbour" * 17, ["\u00e9" * 61, "Har:bour", "Har\nbour", "Har\x1b[31mbour"]),
    "SITE_URL": (
        "https://example.com",
        [
            *("example.com", "ftp://example.com", "javascript:1", "https://", "https:///login", "http://example.com"),
            *("https://[1:2]", "https://example.com:0", "https://localhost:99999"),
            *("https://example.com/app", "https://example.com?a=b", "https://example.com#a", "https://[::1"),
            *("http://127.0.0.1@example.com", "http://localhost\\@example.com", "https://a\nb"),
        ],
    ),
    "SUPPORT_CONTACT": ("Ines, room 12: ext. 7", ["Ines\nroom 12", "Ines\x07"]),
    "DATABASE_URL": (
        "postgresql://us%40er:pass%23word@[::1]:5433/test?sslmode=require",
        [
            *("test.db", "sqlite:test.db", "sqlite://test.db", "mysql://db/test", "postgres://db/test", "a\nb"),
            *(
                "sqlite:///",
                "sqlite:////folder/",
                "sqlite:///:memory:",
                "sqlite:///test.db?a=b",
                "sqlite:///a#b",
                "sqlite:///a;b",
            ),
            *("postgresql://", "postgresql:///", "postgresql://db", "postgresql://db/", "postgresql://db:/", "test/db"),
            *(
                "postgresql://db:port/test",
                "postgresql://db:0/test",
                "postgresql://db:65536/test",
                "postgresql://[::1/test",
            ),
            *("postgresql://u:a#b@db/test", "postgresql://u:a/b@db/test", "postgresql://u:a?b@db/test"),
        ],
    ),
    "APPS": (
        "https://wiki.example.org, https://grafana.example.org ops",
        [
            *("wiki.example.org", "http://wiki.example.org", "https://", "https://wiki.example.org/a", "https://a b c"),
            *("https://wiki.example.org?a=b", "https://u@wiki.example.org", "https://*.example.org", "https://wiki\\a"),
            *("https://wiki.example.org:0", "https://wiki.example.org:65536", "https://wiki.example.org:x"),
            *(
                "https://wiki.example.org o_ps",
                "https://wiki.example.org a,b",
                f"https://a.test {'x' * 33}",
                "https://é.test",
            ),
            *("https://wiki.example.org https://b.test", "https://a.test\tops", "https://a.test\nb"),
            *(
                "https://a.test, https://A.test",
                "https://a.test,https://a.test:8443 ops",
                "https://accounts.example.org",
            ),
            "https://Accounts.example.org:8443",
        ],
    ),
    "SECRET_KEY": (
        KEY,
        [
            *(
                "dev",
                "x" * 31,
                "$(openssl rand -base64 48)",
                "$(cat${IFS}/etc/sparekey/secret_key)",
                "`make-a-new-key-of-48-bytes-now`",
            ),
            *(
                "${SPAREKEY_SECRET_KEY_OF_THIS_MACHINE}",
                "<48-random-bytes-that-nobody-guesses>",
                "\u2026" * 32,
                "." * 32,
            ),
            "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'",
            "\u2026      # python3 -c 'import secrets; print(secrets.token_urlsafe(48))'",
            "a key of several words that nobody has drawn",
        ],
    ),
    "SECRET_KEY_FALLBACKS": (f"{KEY},{OTHER_KEY}", ["dev", f"{KEY},dev", f"dev,{KEY}", "x" * 31]),
    "SIGN_IN_SECONDS": ("60", ["59", "0", "-600", "600.0", "ten", "10 min", "1e3", "0x100", "\u00b2", "1000000000"]),
    "ENROLLMENT_SECONDS": ("60", ["59", "0", "-900", "nine"]),
    "SESSION_IDLE_SECONDS": ("60", ["59", "0", "-1", "1h"]),
    "SESSION_LIFETIME_SECONDS": ("60", ["59", "0", "-1", "1d"]),
    "STEP_UP_SECONDS": ("1", ["0", "-1", "soon"]),
    "PASSWORD_MIN_LENGTH": ("8", ["7", "0", "-15", "long"]),
    "PASSWORD_HASH_COST": (
        "m=19456,t=2,p=1",
        ["high", "m=65536", "m=65536,t=3", "65536,3,4", "m=a,t=b,p=c", "m=1,t=,p=1"],
    ),
    "PASSWORD_HASH_SLOTS": ("2", ["0", "-1", "many"]),
    "MAIL_URL": (
        "smtps://mail.example.com",
        ["mail.example.com", "http://mail.example.com", "smtp://", "smtp://a b", "smtp://a:65536"],
    ),
    "ADDRESS_LIMIT": ("0", ["-1", "none", "1.5"]),
    "EVENT_RETENTION_DAYS": ("30", ["29", "0", "-1", "a year"]),
    "TRUSTED_PROXIES": ("1", ["-1", "all", "127.0.0.1"]),
    "HOME": (
        "/board/caf%C3%A9?mine=1#new",
        [
            *("board", "https://example.com", "https:/board", "//example.com", "/board//x", "/\\example.com", "/a\tb"),
            *("/board/../admin", "/./", "/caf\u00e9", "/a b", "/" + "x" * 500, "\\board", "javascript:1"),
        ],
    ),
    "TEMPLATES": (str(ROOT / "templates"), ["/nowhere", f"{ROOT / 'templates'}:/nowhere", str(ROOT / "app.py")]),
    "MAX_CONTENT_LENGTH": ("65537", ["65535", "0", "-1", "10 MB", "1e6", "none"]),
    "DEMO": ("on", ["maybe", "2", "demo"]),
}

# Values that no text can be, for create_app's argument.
VALUES: dict[str, tuple[Any, list[Any]]] = {
    "RECOVERY_CODES_ENABLED": (True, [2, 0.5, [], [True]]),
    "SITE_NAME": ("123", [123, b"Harbour", True]),
    "SITE_URL": ("https://example.com", [5000, b"https://example.com"]),
    "SUPPORT_CONTACT": ("Ines", [7, ["Ines"]]),
    "DATABASE_URL": (DATABASE, [7, Path("test.db")]),
    "SECRET_KEY": (KEY, [KEY.encode(), 10**40, KEY[:31]]),
    "SECRET_KEY_FALLBACKS": ([KEY, OTHER_KEY], [[KEY, "dev"], [KEY.encode()], [7]]),
    "SIGN_IN_SECONDS": (60, [59, 0, -600, 600.0, True]),
    "ENROLLMENT_SECONDS": (60, [59, False]),
    "SESSION_IDLE_SECONDS": (60, [59, False]),
    "SESSION_LIFETIME_SECONDS": (60, [59, False]),
    "STEP_UP_SECONDS": (1, [0, False]),
    "PASSWORD_MIN_LENGTH": (8, [7, -15, [15]]),
    "PASSWORD_HASH_COST": (Cost(19456, 2, 1), [4, (65536, 3, 4), Cost(19455, 3, 4)]),
    "PASSWORD_HASH_SLOTS": (2, [0, False]),
    "MAIL_URL": (
        "smtp://127.0.0.1:25?from=site@example.com",
        [
            25,
            b"smtp://mail.example.com",
            *BAD_ADDRESSES,
            *(f"smtp://mail.example.com?from={sender}" for sender in BAD_SENDERS),
        ],
    ),
    "ADDRESS_LIMIT": (0, [-1, False]),
    "EVENT_RETENTION_DAYS": (30, [29, False]),
    "TRUSTED_PROXIES": (1, [-1, True]),
    "HOME": ("/board", [7, b"/board", Path("/board")]),
    "TEMPLATES": ([ROOT / "templates", str(ROOT)], [7, [7], [b"/"], Path("/nowhere"), ["/", "/nowhere"]]),
    "MAX_CONTENT_LENGTH": (10_000_000, [65535, True]),
    "APPS": (["https://wiki.example.org", "https://a.test ops"], [7, b"https://a.test", [7], [""], {"a.test": "ops"}]),
    "DEMO": (True, [2, []]),
    "CLOCK": (lambda: 0.0, [0, "time.time", 1.5]),
}


def rows(table: dict[str, tuple[Any, list[Any]]]) -> list[tuple[str, Any, Any]]:
    return [(key, wrong, right) for key, (right, all_wrong) in table.items() for wrong in all_wrong]


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FLASK_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The settings in force, beside a key, a database and where the demo is, in an instance folder of this test's
    own."""

    def load_with(**given: Any) -> dict[str, Any]:
        return settings.load({**GIVEN, **given}, tmp_path / "instance")

    return load_with


def refusal(load: Callable[[], Any]) -> str:
    with pytest.raises(ConfigurationError) as error:
        load()
    return error.value.message


def is_one_sentence_about(key: str, message: str) -> bool:
    return message.startswith(f"{key} ") and message.endswith(".") and ". " not in message and message.isprintable()


# What is wrong --------------------------------------------------------------------------------------------------------


def test_every_setting_is_tried_below() -> None:
    assert VALUES.keys() == settings.SETTINGS.keys()
    assert TEXTS.keys() == settings.SETTINGS.keys() - {"CLOCK"}


@pytest.mark.parametrize(("key", "wrong", "right"), rows(TEXTS))
def test_a_wrong_text_in_the_environment_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, wrong: str, right: str
) -> None:
    for name, value in {**GIVEN, **NEEDS.get(key, {}), key: wrong}.items():
        monkeypatch.setenv(f"FLASK_{name}", value)
    assert is_one_sentence_about(key, refusal(lambda: settings.load({}, tmp_path)))
    monkeypatch.setenv(f"FLASK_{key}", right)
    assert settings.load({}, tmp_path)[key] != settings.SETTINGS[key].default


@pytest.mark.parametrize(("key", "wrong", "right"), [*rows(TEXTS), *rows(VALUES)])
def test_a_wrong_value_in_the_argument_refuses_to_start(load: Load, key: str, wrong: Any, right: Any) -> None:
    assert is_one_sentence_about(key, refusal(lambda: load(**{**NEEDS.get(key, {}), key: wrong})))
    assert load(**{**NEEDS.get(key, {}), key: right})[key] != settings.SETTINGS[key].default


@pytest.mark.parametrize("cost", [CHEAP, "m=19455,t=2,p=1", "m=19456,t=1,p=1", "m=38911,t=1,p=4", "m=8,t=999,p=1"])
def test_a_cheap_hash_is_for_tests_only(load: Load, cost: str) -> None:
    assert is_one_sentence_about("PASSWORD_HASH_COST", refusal(lambda: load(PASSWORD_HASH_COST=cost)))
    numbers = [int(part[2:]) for part in cost.split(",")]
    assert load(PASSWORD_HASH_COST=cost, TESTING=True)["PASSWORD_HASH_COST"] == Cost(*numbers)


@pytest.mark.parametrize("cost", ["m=19456,t=2,p=1", "m=47104,t=1,p=1", "m=65536,t=3,p=4", "m=2097152,t=1,p=4"])
def test_the_costs_that_owasp_and_rfc_9106_name_are_taken(load: Load, cost: str) -> None:
    assert load(PASSWORD_HASH_COST=cost)["PASSWORD_HASH_COST"] == Cost(*(int(part[2:]) for part in cost.split(",")))


def test_the_clock_does_not_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    monkeypatch.setenv("FLASK_CLOCK", "0")
    assert load()["CLOCK"] is time.time
    assert load(CLOCK=len)["CLOCK"] is len


# What is right --------------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_documents(tmp_path: Path) -> None:
    loaded = settings.load({}, tmp_path)
    assert len(loaded.pop("SECRET_KEY")) >= 64
    assert loaded == {
        "RECOVERY_CODES_ENABLED": None,
        "SITE_NAME": "Sparekey",
        "SITE_URL": "http://localhost:5000",
        "SUPPORT_CONTACT": "the person who runs this site",
        "DATABASE_URL": f"sqlite:///{tmp_path}/sparekey.db",
        "SECRET_KEY_FALLBACKS": [],
        "SIGN_IN_SECONDS": 600,
        "ENROLLMENT_SECONDS": 900,
        "SESSION_IDLE_SECONDS": 3600,
        "SESSION_LIFETIME_SECONDS": 86400,
        "STEP_UP_SECONDS": 600,
        "PASSWORD_MIN_LENGTH": 15,
        "PASSWORD_HASH_COST": Cost(65536, 3, 4),
        "PASSWORD_HASH_SLOTS": 1,
        "MAIL_URL": None,
        "ADDRESS_LIMIT": 100,
        "EVENT_RETENTION_DAYS": 400,
        "TRUSTED_PROXIES": 0,
        "HOME": "/account",
        "TEMPLATES": [],
        "MAX_CONTENT_LENGTH": 65536,
        "APPS": {},
        "DEMO": False,
        "CLOCK": time.time,
    }


@pytest.mark.parametrize("key", ["RECOVERY_CODES_ENABLED", "DEMO"])
@pytest.mark.parametrize(
    ("words", "meant"), [(["true", "1", "yes", "on"], True), (["false", "0", "no", "off"], False)], ids=["on", "off"]
)
def test_booleans_are_read_in_every_spelling(
    monkeypatch: pytest.MonkeyPatch, load: Load, key: str, words: list[str], meant: bool
) -> None:
    for word in chain.from_iterable((word, word.upper(), word.title(), f" {word}\n") for word in words):
        assert load(**{key: word})[key] is meant
        monkeypatch.setenv(f"FLASK_{key}", word)
        assert load()[key] is meant
    monkeypatch.delenv(f"FLASK_{key}")
    assert load(**{key: meant})[key] is load(**{key: int(meant)})[key] is meant


@pytest.mark.parametrize("key", TEXTS)
@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, empty: str) -> None:
    unset = settings.load({}, tmp_path)
    monkeypatch.setenv(f"FLASK_{key}", empty)
    assert settings.load({}, tmp_path) == unset


@pytest.mark.parametrize("text", ["123", "true", "null", "[1]", "0x10", "{{7*7}}", "Caf\u00e9 & S\u00f8ns"])
def test_text_stays_text(monkeypatch: pytest.MonkeyPatch, load: Load, text: str) -> None:
    monkeypatch.setenv("FLASK_SITE_NAME", text)
    monkeypatch.setenv("FLASK_SECRET_KEY_FALLBACKS", "1" * 32)
    assert load()["SITE_NAME"] == load(SITE_NAME=text)["SITE_NAME"] == text
    assert load()["SECRET_KEY_FALLBACKS"] == ["1" * 32]


@pytest.mark.parametrize("key", TEXTS)
def test_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    given = {
        "RECOVERY_CODES_ENABLED": False,
        "SITE_NAME": "Lamp",
        "SITE_URL": "https://example.org",
        "SUPPORT_CONTACT": "Omar",
        "DATABASE_URL": "postgresql://db/test",
        "SECRET_KEY": OTHER_KEY,
        "SECRET_KEY_FALLBACKS": [OTHER_KEY],
        "PASSWORD_HASH_COST": Cost(65536, 4, 4),
        "MAIL_URL": "smtp://mail.example.com",
        "HOME": "/wiki",
        "TEMPLATES": [str(ROOT / "docs")],
        "MAX_CONTENT_LENGTH": 70_000,
        "APPS": ["https://other.test"],
        "DEMO": False,
    }.get(key, 77)
    meant = settings.SETTINGS[key].read(given)
    for name, text in {**GIVEN, **NEEDS.get(key, {}), key: TEXTS[key][0]}.items():
        monkeypatch.setenv(f"FLASK_{name}", text)
    assert settings.load({}, tmp_path)[key] not in (meant, settings.SETTINGS[key].default)
    assert settings.load({key: given}, tmp_path)[key] == meant


def test_create_app_takes_its_argument_before_the_environment_and_refuses_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {"SECRET_KEY": KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/test.db", "SITE_NAME": "Harbour"}
    monkeypatch.setenv("FLASK_SITE_NAME", "Lamp")
    monkeypatch.setenv("FLASK_SUPPORT_CONTACT", "Ines")
    config = create_app(given).config
    assert (config["SITE_NAME"], config["SUPPORT_CONTACT"], config["SECRET_KEY"]) == ("Harbour", "Ines", KEY)
    assert is_one_sentence_about("SITE_NAME", refusal(lambda: create_app({**given, "SITE_NAME": "Har:bour"})))


@pytest.mark.parametrize("odd", ["isolation_level=odd", "timeout=soon", "stale_timeout=never", "field_types=5"])
def test_a_database_url_that_asks_for_what_there_is_not_is_one_sentence(odd: str) -> None:
    """The rest of it is the driver's affair: the pages are 503, and the commands say why, as for a server away."""
    given = {"SECRET_KEY": KEY, "DATABASE_URL": f"postgresql:///test?{odd}&host=/nowhere"}
    assert is_one_sentence_about("DATABASE_URL", refusal(lambda: create_app(given)))
    for wrong in ("sslmode=odd", "nothing=1", "connect_timeout=soon", "port=none", "connect_timeout=1"):
        app = create_app({**given, "DATABASE_URL": f"postgresql:///test?{wrong}&host=/nowhere"})
        result = app.test_cli_runner().invoke(args=["users", "list"])
        assert re.fullmatch(r"Error: The database can't be used \(.*\): .*\.\n", result.stderr), wrong
        assert app.test_client().get("/healthz").status_code == 503, wrong


# Settings that depend on another --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:5000", "sparekey.localhost:8000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "[::1]"],
)
def test_plain_http_is_for_this_machine(load: Load, host: str) -> None:
    assert load(SITE_URL=f"http://{host}/")["SITE_URL"] == f"http://{host}"
    assert load(SITE_URL=f"http://{host}", DEMO=True)["DEMO"] is True
    assert load(SITE_URL=f"https://{host}", DEMO=True)["DEMO"] is True


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "notlocalhost",
        "0.0.0.0:5000",
        "192.168.1.7",
        "169.254.169.254",
        "[fe80::1]",
        "[2001:db8::1]",
        "2130706433",
    ],
)
def test_other_hosts_need_https_and_have_no_demo(load: Load, host: str) -> None:
    assert is_one_sentence_about("SITE_URL", refusal(lambda: load(SITE_URL=f"http://{host}")))
    assert "DEMO is only" in refusal(lambda: load(SITE_URL=f"https://{host}", DEMO=True))
    assert load(SITE_URL=f"https://{host}", DEMO=False)["SITE_URL"] == f"https://{host}"


def test_the_demo_starts_only_where_it_is_said_where_it_is_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The default would do for whatever a proxy leads here from outside."""
    for unset in ({}, {"SITE_URL": None}, {"SITE_URL": ""}):
        assert is_one_sentence_about(
            "SITE_URL", refusal(lambda given=unset: settings.load({"DEMO": True, **given}, tmp_path))
        )
    assert list(tmp_path.iterdir()) == []
    assert settings.load({"DEMO": True, "SITE_URL": settings.SETTINGS["SITE_URL"].default}, tmp_path)["DEMO"]
    monkeypatch.setenv("FLASK_DEMO", "1")
    assert is_one_sentence_about("SITE_URL", refusal(lambda: settings.load({}, tmp_path)))
    monkeypatch.setenv("FLASK_SITE_URL", "http://localhost:5000")
    assert settings.load({}, tmp_path)["DEMO"]


def test_a_shared_database_needs_a_key_that_is_given(tmp_path: Path) -> None:
    message = refusal(lambda: settings.load({"DATABASE_URL": "postgresql://db/test"}, tmp_path))
    assert is_one_sentence_about("SECRET_KEY", message)
    assert "python -c" in message
    assert list(tmp_path.iterdir()) == []
    loaded = settings.load({"DATABASE_URL": "postgresql://db/test", "SECRET_KEY": KEY}, tmp_path)
    assert loaded["SECRET_KEY"] == KEY


def test_nothing_is_written_where_key_and_database_are_given(load: Load, tmp_path: Path) -> None:
    assert load()["SECRET_KEY"] == KEY
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    instance = tmp_path / "new" / "instance"
    before = os.umask(0)  # the most generous one: the file must not depend on it
    try:
        key = settings.load({}, instance)["SECRET_KEY"]
    finally:
        os.umask(before)
    assert [path.name for path in instance.iterdir()] == ["secret_key"]
    assert stat.S_IMODE((instance / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(instance.stat().st_mode) == 0o700
    assert len(key) >= 64
    assert settings.load({}, instance)["SECRET_KEY"] == key
    assert settings.load({"SECRET_KEY": KEY}, instance)["SECRET_KEY"] == KEY
    assert settings.load({}, instance)["SECRET_KEY"] == key
    assert settings.load({}, tmp_path / "other")["SECRET_KEY"] != key


def test_a_new_database_is_its_owners_alone_wherever_it_is(tmp_path: Path) -> None:
    """And so is what SQLite keeps beside it; the rights of one that is there are its owner's affair."""
    path = tmp_path / "anywhere.db"
    before = os.umask(0)
    try:
        app = create_app({"SECRET_KEY": KEY, "DATABASE_URL": f"sqlite:///{path}"})
        assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
        with app.app_context():
            app.extensions["store"].database.execute_sql("DELETE FROM event")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        assert modes == dict.fromkeys(["anywhere.db", "anywhere.db-shm", "anywhere.db-wal"], 0o600)
        path.chmod(0o640)
        create_app({"SECRET_KEY": KEY, "DATABASE_URL": f"sqlite:///{path}"})
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_processes_that_start_at_once_end_with_the_same_key(tmp_path: Path) -> None:
    start = (
        "import settings, sys, pathlib; print('ready', flush=True); sys.stdin.read();"
        "print(settings.load({}, pathlib.Path(sys.argv[1]))['SECRET_KEY'])"
    )
    gate, opener = os.pipe()  # closing it starts them all
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", start, str(tmp_path)], cwd=ROOT, stdin=gate, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    os.close(gate)
    assert [process.stdout and process.stdout.readline() for process in processes] == ["ready\n"] * 8
    os.close(opener)
    keys = [process.communicate()[0].strip() for process in processes]
    assert keys == [(tmp_path / "secret_key").read_text().strip()] * 8
    assert len(keys[0]) >= 64
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


@pytest.mark.parametrize("cost", ["m=65536,t=3,p=0", "m=65536,t=3,p=-1", "m=65536,t=3,p=100000", "m=65536,t=3,p=4,x=5"])
def test_a_cost_that_argon2_would_not_take_is_refused(load: Load, cost: str) -> None:
    assert is_one_sentence_about("PASSWORD_HASH_COST", refusal(lambda: load(PASSWORD_HASH_COST=cost)))


def test_a_key_made_by_the_documented_command_always_passes(load: Load) -> None:
    assert "import secrets; print(secrets.token_urlsafe(48))" in (ROOT / "docs" / "operations.md").read_text()
    for _ in range(20_000):
        key = secrets.token_urlsafe(48)
        assert load(SECRET_KEY=key)["SECRET_KEY"] == key


def test_a_random_key_of_any_signs_passes(load: Load) -> None:
    """A site that has run on one must start after an update."""
    draw = Random(48)  # noqa: S311 - the same at each run
    signs = string.ascii_letters + string.digits + string.punctuation
    keys = ["".join(draw.choices(signs, k=48)) for _ in range(200)]
    assert [load(SECRET_KEY=key)["SECRET_KEY"] for key in keys] == keys


def test_a_key_that_is_refused_still_opens_what_it_sealed(load: Load) -> None:
    """Or a site that runs on one could not change it."""
    pasted = "$(python3 -c 'import secrets; print(secrets.token_urlsafe(48))')"
    assert is_one_sentence_about("SECRET_KEY", refusal(lambda: load(SECRET_KEY=pasted)))
    assert load(SECRET_KEY_FALLBACKS=pasted)["SECRET_KEY_FALLBACKS"] == [pasted]


def test_fallback_keys_may_have_space_around_the_comma(load: Load) -> None:
    first, second = "a" * 40, "b" * 40
    assert load(SECRET_KEY_FALLBACKS=f"{first}, {second}")["SECRET_KEY_FALLBACKS"] == [first, second]
    assert is_one_sentence_about("SECRET_KEY_FALLBACKS", refusal(lambda: load(SECRET_KEY_FALLBACKS=5)))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("https://EXAMPLE.com", "https://example.com"),
        ("https://example.com:443/", "https://example.com"),
        ("https://example.com:8443", "https://example.com:8443"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_the_site_url_is_kept_as_browsers_send_it(load: Load, said: str, meant: str) -> None:
    assert load(SITE_URL=said)["SITE_URL"] == meant


BEHIND_A_PROXY = {"SITE_URL": "https://accounts.example.org", "TRUSTED_PROXIES": 1}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("https://Wiki.Example.org", {"wiki.example.org": "people"}),
        ("https://wiki.example.org:443/", {"wiki.example.org": "people"}),
        ("https://wiki.example.org:8443", {"wiki.example.org:8443": "people"}),
        (" https://b.test ops ,, https://a.test  Admins,", {"b.test": "ops", "a.test": "admins"}),
        (["https://a.test:08443 x-1"], {"a.test:8443": "x-1"}),
    ],
)
def test_the_hosts_of_apps_are_kept_as_browsers_send_them(load: Load, said: Any, meant: dict[str, str]) -> None:
    assert load(APPS=said, **BEHIND_A_PROXY)["APPS"] == meant


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"APPS": "wiki.example.org"},
            "APPS must be addresses in the form https://wiki.example.org, separated by commas, each with a space and "
            "one group behind it where not everybody may enter.",
        ),
        (
            {"APPS": "https://a.test ops, https://a.test:8443"},
            "APPS must name no host twice, as it does a.test: a browser sends its cookies to every port.",
        ),
        (
            {"APPS": "https://accounts.example.org:8443"},
            "APPS must not name the host of SITE_URL: its cookie would be sent to that app.",
        ),
        ({"SITE_URL": "http://localhost:5000"}, "APPS needs a SITE_URL that begins with https://."),
        ({"TRUSTED_PROXIES": 0}, "APPS needs TRUSTED_PROXIES of 1 or more: it is a proxy in front that asks."),
    ],
)
def test_what_apps_need_is_said(load: Load, given: dict[str, Any], sentence: str) -> None:
    right = {"APPS": "https://a.test", **BEHIND_A_PROXY}
    assert refusal(lambda: load(**{**right, **given})) == sentence
    assert load(**right)["APPS"] == {"a.test": "people"}


@pytest.mark.parametrize(
    "wrong",
    ["https://éa.com", "https://example.com:abc", "https://u:p@example.com", "https://exa mple.com", "https://[::1"],
)
def test_a_site_url_that_no_browser_would_send_is_refused(load: Load, wrong: str) -> None:
    assert is_one_sentence_about("SITE_URL", refusal(lambda: load(SITE_URL=wrong)))


@pytest.mark.parametrize("content", ["", "short"])
def test_a_key_file_without_a_key_is_refused_and_deleting_it_makes_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret_key").write_text(content)
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        settings.load({}, tmp_path)
    (tmp_path / "secret_key").unlink()
    assert len(settings.load({}, tmp_path)["SECRET_KEY"]) >= 32


def test_none_in_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    monkeypatch.setenv("FLASK_RECOVERY_CODES_ENABLED", "true")
    assert load()["RECOVERY_CODES_ENABLED"] is True
    assert load(RECOVERY_CODES_ENABLED=None)["RECOVERY_CODES_ENABLED"] is None
    assert load(RECOVERY_CODES_ENABLED="")["RECOVERY_CODES_ENABLED"] is None
