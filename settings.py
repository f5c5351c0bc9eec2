"""Every setting: its default and what it may be. A wrong one refuses to start with a sentence that names its key."""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from click import ClickException

from authn.groups import PEOPLE
from authn.passwords import Cost

KEY_MIN_LENGTH = 32
_LONGEST_NAME = 120


class ConfigurationError(ClickException):
    """The app refuses to start; the text names the key and says what to do."""


@dataclass(frozen=True)
class Setting:
    default: Any
    read: Callable[[Any], Any]  # from text or a value; ValueError says what it must be
    in_environment: bool = True


def _boolean(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    known = words.get(str(value).strip().lower())
    if known is None:
        raise ValueError("must be true or false")
    return known


def _number(at_least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        text = str(value).strip()
        if not re.fullmatch("[0-9]{1,9}", text) or int(text) < at_least:
            raise ValueError(f"must be a whole number from {at_least} to 999999999")
        return int(text)

    return read


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("must be one line of text")
    return value.strip()


def _site_name(value: Any) -> str:
    name = _text(value)
    if ":" in name:
        raise ValueError("must have no colon: authenticator apps take it for the end of the name")
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"must have at most {_LONGEST_NAME} bytes, or no QR code holds it")
    return name


def _site_url(value: Any) -> str:
    form = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?", _text(value).lower())
    if form is None or _parts(form[0]) is None:
        raise ValueError("must be an address in the form https://example.com")
    scheme, host, port = form.groups()
    if scheme == "http" and not is_loopback(host.strip("[]")):
        raise ValueError("must begin with https:// unless it is on this machine: passwords must not travel in clear")
    is_usual = port is None or int(port) == {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}" if is_usual else f"{scheme}://{host}:{port}"


def _database_url(value: Any) -> str:
    url = _text(value)
    is_file = re.fullmatch("sqlite:///[^?#;]*[^?#;/]", url) and url != "sqlite:///:memory:"
    if not is_file and not _names_a_server_and_a_database(url):
        raise ValueError(
            "must be in the form sqlite:////folder/file, without ? # and ;, or "
            "postgresql://user:password@host:port/database, with %23 %2F %3A %3F %40 for # / : ? @ in the password"
        )
    return url


def _names_a_server_and_a_database(url: str) -> bool:
    parts = _parts(url)
    return parts is not None and parts.scheme == "postgresql" and parts.path.strip("/") != "" and not parts.fragment


def _parts(url: str) -> SplitResult | None:
    """Return the parts of an address; None where it has half a bracket, or a port that is none."""
    try:
        parts = urlsplit(url)
        return None if parts.port == 0 else parts
    except ValueError:
        return None


_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"  # of which an address is made that every mail server takes
_SENDER = rf"{_ATOM}(?:\.{_ATOM})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"


def _mail_url(value: Any) -> str:
    url = _text(value)
    form = re.fullmatch(r"smtps?://(?:[^@/?#\s]*@)?[^@/?#:\s]+(?::[0-9]{1,5})?/?(?:\?from=([^&#]+))?", url)
    sender = unquote(form[1]) if form and form[1] else "no-reply@host"
    if form is None or _parts(url) is None or not re.fullmatch(_SENDER, sender):
        raise ValueError(
            "must be in the form smtp://user:password@host:port?from=address, or smtps://, with %5B %5D for [ ] in the "
            "password"
        )
    return url


def _secret_key(value: Any) -> str:
    key = _earlier_key(value)
    if re.search(r"\s", key) or re.fullmatch(r"\$[({].*[)}]|`.*`|<.*>|[x.…]+", key):
        raise ValueError("must be random characters, and neither a placeholder nor the command that makes them")
    return key


def _earlier_key(value: Any) -> str:
    """Return any key that is long enough: what was sealed with one that is refused today must still open."""
    if not isinstance(value, str) or len(value) < KEY_MIN_LENGTH:
        raise ValueError(f"must be at least {KEY_MIN_LENGTH} random characters")
    return value


def _earlier_keys(value: Any) -> list[str]:
    if not isinstance(value, str | list | tuple):
        raise ValueError("must be keys separated by commas")
    keys = [key.strip() for key in value.split(",")] if isinstance(value, str) else value
    return [_earlier_key(key) for key in keys if key]


def _hash_cost(value: Any) -> Cost:
    if isinstance(value, Cost):
        return value
    form = re.fullmatch(r"m=([0-9]{1,7}),t=([0-9]{1,3}),p=([0-9]{1,3})", str(value).replace(" ", ""))
    memory_kib, rounds, parallelism = map(int, form.groups()) if form else (0, 0, 0)
    if rounds < 1 or not 1 <= parallelism <= memory_kib // 8:
        raise ValueError("must be in the form m=65536,t=3,p=4, at least 8 KiB for each of p lanes")
    return Cost(memory_kib, rounds, parallelism)


def _home(value: Any) -> str:
    path = _text(value)
    if not re.fullmatch(r"/[!-\[\]-~]{0,499}", path) or re.search(r"//|/\.{1,2}(/|$)", path):
        raise ValueError("must be a path of this site in the form /board, with %20 and the like for other characters")
    return path


def _folders(value: Any) -> list[str]:
    given = value.split(":") if isinstance(value, str) else [value] if isinstance(value, Path) else value
    if not isinstance(given, list | tuple) or not all(isinstance(folder, str | Path) for folder in given):
        raise ValueError("must be folders separated by colons")
    folders = [Path(folder).absolute() for folder in given if str(folder).strip()]
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"must be folders that are there, and {folder} is not")
    return [str(folder) for folder in folders]


def _apps(value: Any) -> dict[str, str]:
    """Return the hosts of other sites, each with the group that may enter it."""
    if not isinstance(value, str | list | tuple):
        raise ValueError("must be addresses separated by commas")
    apps = dict[str, str]()
    for entry in filter(str.strip, value.split(",") if isinstance(value, str) else map(_text, value)):
        form = re.fullmatch(r"https://([a-z0-9.-]+)(?::([0-9]{1,5}))?/?(?: +([a-z0-9-]{1,32}))?", entry.strip().lower())
        if form is None or not 0 < int(form[2] or 443) < 65536:
            raise ValueError(
                "must be addresses in the form https://wiki.example.org, separated by commas, "
                "each with a space and one group behind it where not everybody may enter"
            )
        host, port, group = form.groups()
        if host in map(host_alone, apps):
            raise ValueError(f"must name no host twice, as it does {host}: a browser sends its cookies to every port")
        apps[host if port in (None, "443") else f"{host}:{int(port)}"] = group or PEOPLE
    return apps


def _clock(value: Any) -> Callable[[], float]:
    if not callable(value):
        raise ValueError("must be a function that gives the seconds since 1970")
    return value  # type: ignore[no-any-return]


SETTINGS = {
    "RECOVERY_CODES_ENABLED": Setting(None, _boolean),
    "SITE_NAME": Setting("Sparekey", _site_name),
    "SITE_URL": Setting("http://localhost:5000", _site_url),
    "SUPPORT_CONTACT": Setting("the person who runs this site", _text),
    "DATABASE_URL": Setting(None, _database_url),
    "SECRET_KEY": Setting(None, _secret_key),
    "SECRET_KEY_FALLBACKS": Setting((), _earlier_keys),
    "SIGN_IN_SECONDS": Setting(600, _number(60)),
    "ENROLLMENT_SECONDS": Setting(900, _number(60)),
    "SESSION_IDLE_SECONDS": Setting(3600, _number(60)),
    "SESSION_LIFETIME_SECONDS": Setting(86400, _number(60)),
    "STEP_UP_SECONDS": Setting(600, _number(1)),
    "PASSWORD_MIN_LENGTH": Setting(15, _number(8)),
    "PASSWORD_HASH_COST": Setting(Cost(), _hash_cost),
    "PASSWORD_HASH_SLOTS": Setting(1, _number(1)),
    "ADDRESS_LIMIT": Setting(100, _number(0)),
    "EVENT_RETENTION_DAYS": Setting(400, _number(30)),
    "MAIL_URL": Setting(None, _mail_url),
    "TRUSTED_PROXIES": Setting(0, _number(0)),
    "HOME": Setting("/account", _home),
    "TEMPLATES": Setting((), _folders),
    "MAX_CONTENT_LENGTH": Setting(65536, _number(65536)),
    "APPS": Setting((), _apps),
    "DEMO": Setting(False, _boolean),
    "CLOCK": Setting(time.time, _clock, in_environment=False),
}


def load(given: Mapping[str, Any], instance: Path) -> dict[str, Any]:
    """The settings in force: what create_app was given, else FLASK_ variables, else defaults. ConfigurationError when
    one is wrong, or unknown outside tests."""
    testing = given.get("TESTING") is True
    unknown = given.keys() - SETTINGS.keys() - {"TESTING"}
    if unknown and not testing:
        raise ConfigurationError(f"{min(unknown)} is not a setting. README.md lists them.")
    loaded = {key: given[key] for key in given.keys() & (unknown | {"TESTING"})}
    unset = set()
    for key, setting in SETTINGS.items():
        value = given.get(key)
        if key not in given and setting.in_environment:
            value = os.environ.get(f"FLASK_{key}", "").strip()
        if value in (None, ""):
            unset.add(key)
            value = setting.default
        loaded[key] = _read(key, setting, value)
    if loaded["DEMO"] and "SITE_URL" in unset:
        raise ConfigurationError("SITE_URL must be set where DEMO is on, to where it is opened on this machine alone.")
    _settle(loaded, instance, testing)
    return loaded


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def host_alone(host: str) -> str:
    """Return the host without its port."""
    return host.partition(":")[0]


def _read(key: str, setting: Setting, value: Any) -> Any:
    try:
        return None if value is None else setting.read(value)
    except ValueError as error:
        raise ConfigurationError(f"{key} {error}.") from None


def _settle(loaded: dict[str, Any], instance: Path, testing: bool) -> None:
    """What depends on more than one setting."""
    if loaded["DEMO"] and not is_loopback(urlsplit(loaded["SITE_URL"]).hostname or ""):
        raise ConfigurationError("DEMO is only for this machine: set SITE_URL to a loopback address or leave DEMO off.")
    _settle_apps(loaded)
    cost = loaded["PASSWORD_HASH_COST"]
    if not testing and (cost.memory_kib < 19456 or cost.rounds * cost.memory_kib < 2 * 19456):
        raise ConfigurationError("PASSWORD_HASH_COST is too cheap to protect anybody: use at least m=19456,t=2,p=1.")
    if loaded["DATABASE_URL"] is None:
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        loaded["DATABASE_URL"] = f"sqlite:///{instance / 'sparekey.db'}"
    if loaded["SECRET_KEY"] is None:
        if not loaded["DATABASE_URL"].startswith("sqlite:"):
            raise ConfigurationError(
                "SECRET_KEY must be set when the database is shared, the same on every machine: make one with "
                "python -c 'import secrets; print(secrets.token_urlsafe(48))'."
            )
        loaded["SECRET_KEY"] = _kept_key(instance / "secret_key")


def _settle_apps(loaded: dict[str, Any]) -> None:
    site = urlsplit(loaded["SITE_URL"])
    if loaded["APPS"] and site.scheme != "https":
        raise ConfigurationError("APPS needs a SITE_URL that begins with https://.")
    if loaded["APPS"] and not loaded["TRUSTED_PROXIES"]:
        raise ConfigurationError("APPS needs TRUSTED_PROXIES of 1 or more: it is a proxy in front that asks.")
    if site.hostname in map(host_alone, loaded["APPS"]):
        raise ConfigurationError("APPS must not name the host of SITE_URL: its cookie would be sent to that app.")


def _kept_key(path: Path) -> str:
    """The key of this instance, made on its first start; of several processes at once all get the same."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{token_urlsafe(8)}")
    try:
        if not path.exists():
            draft.touch(mode=0o600)
            draft.write_text(token_urlsafe(48))
            os.link(draft, path)  # unlike a rename, it never replaces a key that is there
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    key = path.read_text().strip()
    if len(key) < KEY_MIN_LENGTH:
        raise ConfigurationError(f"SECRET_KEY: {path} holds no key; put the key back, or delete it to have one made.")
    return key
