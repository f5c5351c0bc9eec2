"""What a visitor sees of a page, and a browser without JavaScript that fills in the forms it was really served."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin
from xml.etree.ElementTree import Element

import html5lib
from flask import Flask

HERE = "http://localhost"
TOKEN = "the CSRF token of this page"
_CSRF = re.compile('(name="csrf_token" value=")([^"]+)')


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str]  # as the page filled them in; buttons left out
    buttons: list[str]


@dataclass
class Page:
    status: int
    url: str  # path and query
    text: str
    raw: str
    headers: Any
    tree: Element = field(repr=False)
    token: str = ""  # the CSRF token, which the tree has as TOKEN

    @property
    def path(self) -> str:
        return self.url.partition("?")[0]

    def all(self, tag: str) -> list[Element]:
        return list(self.tree.iter(tag))

    def by_id(self, ident: str) -> Element | None:
        return next((element for element in self.tree.iter() if element.get("id") == ident), None)

    def text_of(self, ident: str) -> str:
        element = self.by_id(ident)
        assert element is not None, f"no #{ident} on {self.path}"
        return words(element)

    @property
    def h1(self) -> str:
        (heading,) = self.all("h1")
        return words(heading)

    @property
    def title(self) -> str:
        return words(self.all("title")[0])

    @property
    def errors(self) -> list[str]:
        """The lines of the error summary."""
        boxes = [div for div in self.all("div") if div.get("class") == "errors"]
        return [words(item) for box in boxes for item in box.iter("li")]

    @property
    def notice(self) -> str:
        return " ".join(words(div) for div in self.all("div") if "note" in (div.get("class") or "").split())

    @property
    def links(self) -> list[str]:
        return [link.get("href") or "" for link in self.all("a")]

    @property
    def forms(self) -> list[Form]:
        return [self.form_of(form) for form in self.all("form")]

    def form_with(self, *names: str) -> Form:
        """The form of the main part that has these fields, or, without names, the only one."""
        main = next(element for element in self.tree.iter("main"))
        forms = [self.form_of(form) for form in main.iter("form")]
        fitting = [form for form in forms if set(names) <= {*form.fields, *form.buttons}]
        assert fitting, f"no form with {names} on {self.path} ({self.status}): {[f.fields for f in forms]}"
        return fitting[0]

    def form_of(self, form: Element) -> Form:
        inputs = list(form.iter("input"))
        fields = {i.get("name"): i.get("value") or "" for i in inputs if i.get("name") and i.get("type") != "checkbox"}
        fields |= {i.get("name"): "" for i in inputs if i.get("type") == "checkbox"}
        fields |= {area.get("name"): area.text or "" for area in form.iter("textarea")}
        fields |= {name: self.token for name, value in fields.items() if value == TOKEN}
        buttons = [button.get("name") or words(button) for button in form.iter("button")]
        return Form(form.get("action") or self.url, form.get("method") or "get", fields, buttons)


def words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def read_page(response: Any, url: str) -> Page:
    raw = response.get_data(as_text=True)
    (token,) = {token for _, token in _CSRF.findall(raw)} or {""}  # one a page
    tree = _parse(_CSRF.sub(rf"\1{TOKEN}", raw), response.mimetype == "text/html")
    return Page(response.status_code, url, words(next(tree.iter("body"))), raw, response.headers, tree, token)


@lru_cache(maxsize=1000)  # but for the token, the same few pages are served again and again, and parsing takes long
def _parse(raw: str, html: bool) -> Element:
    parser = html5lib.HTMLParser(strict=html and "<h1>Redirecting" not in raw, namespaceHTMLElements=False)
    return parser.parse(raw if html else f"<!doctype html><title>x</title><pre>{raw}</pre>")


class Browser:
    """A visitor's browser: its own cookies, no JavaScript. Every HTML page it is served must be valid."""

    def __init__(self, app: Flask, address: str = "203.0.113.7", base_url: str = HERE) -> None:
        self.app, self.address, self.base_url = app, address, base_url
        self.client = app.test_client()

    def open(self, path: str, method: str = "GET", **kwargs: Any) -> Page:
        """One request; redirects are not followed."""
        kwargs.setdefault("environ_overrides", {}).setdefault("REMOTE_ADDR", self.address)
        response = self.client.open(path, method=method, base_url=kwargs.pop("base_url", self.base_url), **kwargs)
        return read_page(response, path)

    def get(self, path: str, **kwargs: Any) -> Page:
        """The page, after any redirects."""
        return self.follow(self.open(path, **kwargs))

    def follow(self, page: Page) -> Page:
        for _ in range(6):
            if page.status != 303:
                return page
            page = self.open(urljoin(page.path, page.headers["Location"]))
        raise AssertionError("redirected in circles")

    def send(self, page: Page, values: dict[str, Any], **kwargs: Any) -> Page:
        """Fill in the page's form and send it; redirects are not followed."""
        form = page.form_with(*values)
        data = {key: value for key, value in {**form.fields, **values}.items() if value != "" or key in values}
        return self.open(form.action, method="POST", data=data, **kwargs)

    def submit(self, page: Page | str, **values: Any) -> Page:
        """Fill in the form of a page (or of the page at a path) and follow where it leads."""
        return self.follow(self.send(page if isinstance(page, Page) else self.get(page), values))

    def press(self, page: Page, label: str) -> Page:
        """Press the button with this label, in a form without fields of its own."""
        form = next(form for form in page.forms if label in form.buttons)
        return self.follow(self.open(form.action, method="POST", data=form.fields))

    def cookie(self, name: str = "session") -> str | None:
        found = self.client.get_cookie(name, domain="localhost")
        return found.value if found else None

    def copy(self, address: str = "") -> "Browser":
        """Another browser that somebody has put this one's cookies into, perhaps at another address."""
        other = Browser(self.app, address or self.address, self.base_url)
        for name in ("session", "known-browser"):
            if value := self.cookie(name):
                other.client.set_cookie(name, value, domain="localhost")
        return other


def csrf(page: Page) -> dict[str, str]:
    return {"csrf_token": page.forms[0].fields["csrf_token"]}


def post(browser: Browser, path: str, token: dict[str, str], **values: Any) -> Page:
    return browser.open(path, method="POST", data={**token, **values})


def masked(page: Page) -> tuple[int, str]:
    """Without the CSRF token, which is another one each second."""
    return page.status, re.sub(r'value="[^"]*"', "", page.raw)
