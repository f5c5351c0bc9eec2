"""Every address of the site, and which of them are open to a stranger."""

from collections.abc import Iterator

from flask import Flask

from tests.support.pages import Browser, Page

IDS = {"session_id": 1, "person_id": 1, "key_id": 1}
ARGUMENTS = {"filename": "app.css", "token": "nobody-has-this", "change": "unlock", **IDS}


def requests_to(app: Flask) -> Iterator[tuple[str, str, str]]:
    """The endpoint, a path and a method, for everything the site answers to."""
    urls = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        path = urls.build(rule.endpoint, {name: ARGUMENTS[name] for name in rule.arguments})
        for method in sorted((rule.methods or set()) & {"GET", "POST"}):
            yield rule.endpoint, path, method


def ask(browser: Browser, path: str, method: str) -> Page:
    """A GET, or a POST of nothing but the CSRF token of the page that the browser is at."""
    token = browser.get("/login").forms[0].fields["csrf_token"] if method == "POST" else None
    return browser.open(path, method=method, data=token and {"csrf_token": token}, buffered=True)


PUBLIC = {
    "login.start": "/",
    "login.password": "/login",
    "account.welcome": "/welcome/nobody-has-this",
    "healthz": "/healthz",
    "static": "/static/app.css",
}
