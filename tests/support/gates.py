"""A browser before two sites that stand behind this sign-in, and what their proxy does: it asks before it lets pass."""

from typing import Any
from urllib.parse import urljoin, urlsplit

from flask import Flask

from tests.support.pages import Browser, Page

ACCOUNTS, WIKI, GRAFANA = "https://accounts.example.org", "https://wiki.example.org", "https://grafana.example.org"
APPS = {"SITE_URL": ACCOUNTS, "TRUSTED_PROXIES": 1, "APPS": f"{WIKI}, {GRAFANA} ops"}
NAVIGATION = {"Sec-Fetch-Mode": "navigate"}
SCRIPT = {"Sec-Fetch-Mode": "cors"}
ASKED = "/.sparekey/"


class Window(Browser):
    """Goes from host to host as Locations say. What is not ours of an app's host is guarded by its proxy, so that the
    page that arrives there is the answer that lets it pass, with the headers that the app is given."""

    def __init__(self, app: Flask, address: str = "203.0.113.7") -> None:
        super().__init__(app, address, ACCOUNTS)

    def open(self, path: str, method: str = "GET", **kwargs: Any) -> Page:
        url = urljoin(ACCOUNTS, path)
        base = f"https://{urlsplit(url).netloc}"
        target = url.removeprefix(base)
        headers = {**NAVIGATION, **kwargs.pop("headers", {})}
        if base in (WIKI, GRAFANA) and not target.startswith(ASKED):
            headers = {"X-Forwarded-Uri": target, "X-Forwarded-Method": method, **headers}
            page = super().open(f"{ASKED}forward", base_url=base, headers=headers, **kwargs)
        else:
            page = super().open(target, method, base_url=base, headers=headers, **kwargs)
        page.url = path
        return page

    def ask(self, host: str, what: str = "check", **kwargs: Any) -> Page:
        """What our own addresses on the host of an app answer."""
        return self.open(f"{host}{ASKED}{what}", **kwargs)

    def on(self, host: str, name: str = "__Host-pass") -> str | None:
        """The value of a cookie of that host."""
        found = self.client.get_cookie(name, domain=urlsplit(host).netloc)
        return found.value if found else None

    def keep(self, host: str, name: str, value: str, **kwargs: Any) -> None:
        self.client.set_cookie(name, value, domain=urlsplit(host).netloc, **kwargs)
