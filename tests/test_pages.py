"""What every page keeps to, in every state, as far as it can be seen without a browser; and what the pages say."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from flask import Flask

from tests.support.apps import few_of
from tests.support.pages import Browser, Page, read_page, words
from tests.support.people import Clock, Person
from tests.support.places import PLACES, World
from tests.support.sentences import DONE, NOTICES, STATUS_PAGES

STATIC = Path(__file__).parent.parent / "static"
CSS = (STATIC / "app.css").read_text()
STYLED = set(re.findall(r"\.([a-z][\w-]*)(?=[^{}]*\{)", re.sub(r"/\*.*?\*/", "", CSS)))
DRAWN = {"segno", "qrline"}  # by the library that draws the QR code
Arrive = Callable[..., Page]
Rule = Callable[[Page], Iterator[str]]


@pytest.fixture
def arrive(make_app: Callable[..., Flask], clock: Clock, make_person: Callable[..., Person]) -> Arrive:
    """The page of a place, on a site with more settings of one's own."""

    def arrive(name: str, **settings: Any) -> Page:
        place = PLACES[name]
        app = make_app("place", **{**place.settings, **settings})
        return place.go(World(app, clock, make_person)).page()

    return arrive


# Rules ----------------------------------------------------------------------------------------------------------------
# Each yields what a page does wrong. BROKEN below shows that each can.


def shown(page: Page) -> Iterator[Element]:
    """The fields a visitor fills in."""
    for field in page.all("input"):
        if field.get("type") != "hidden" and field.get("hidden") is None:
            yield field


def one_heading_and_a_title_that_says_it(page: Page) -> Iterator[str]:
    if len(page.all("h1")) != 1:
        yield f"{len(page.all('h1'))} h1"
    start = "Error: " if page.status == 422 else ""
    if not re.fullmatch(rf"{start}(?!Error: ).+ – Sparekey", page.title):
        yield f"title {page.title!r}"
    if bool(page.errors) != (page.status == 422):
        yield "a summary of errors that does not go with the status"


def a_head_that_browsers_need(page: Page) -> Iterator[str]:
    html = page.tree if page.tree.tag == "html" else page.all("html")[0]
    metas = {meta.get("name"): meta.get("content") for meta in page.all("meta")}
    if html.get("lang") != "en":
        yield "no lang"
    if metas.get("viewport") != "width=device-width, initial-scale=1" or metas.get("color-scheme") != "light dark":
        yield "no viewport, or no colour scheme"


def a_frame_that_keys_can_skip(page: Page) -> Iterator[str]:
    first = next(page.all("body")[0].iter("a"), None)
    if first is None or first.get("href") != "#main" or [main.get("id") for main in page.all("main")] != ["main"]:
        yield "no skip link to the main part"


def a_label_for_every_field(page: Page) -> Iterator[str]:
    labelled = {label.get("for") for label in page.all("label") if words(label)}
    yield from (f"no label for {field.get('name')}" for field in shown(page) if field.get("id") not in labelled)


def words_on_every_button_and_link(page: Page) -> Iterator[str]:
    for element in [*page.all("button"), *page.all("a"), *page.all("summary")]:
        if not words(element):
            yield f"an empty {element.tag}"
    for button in page.all("button"):
        if (label := button.get("aria-label")) and not label.startswith(words(button)):
            yield f"{label!r} does not begin with what is read on it"
        if button.get("disabled") is not None:
            yield "a button that is off"


def ids_that_are_there_once_for_whoever_names_them(page: Page) -> Iterator[str]:
    ids = [element.get("id") for element in page.tree.iter() if element.get("id")]
    yield from {f"twice #{ident}" for ident in ids if ids.count(ident) > 1}
    naming = ("aria-describedby", "aria-labelledby", "aria-controls", "for", "data-show", "data-copy")
    for element in page.tree.iter():
        named = [ident for name in naming for ident in (element.get(name) or "").split()]
        named += [f"{element.get(name)}-status" for name in ("data-show", "data-copy") if element.get(name)]
        named += [element.get("href", "")[1:]] if element.get("href", "").startswith("#") else []
        yield from (f"no #{ident}" for ident in named if ident not in ids)


def an_error_at_its_field_in_the_same_words(page: Page) -> Iterator[str]:
    links = [link for box in page.all("div") if box.get("class") == "errors" for link in box.iter("a")]
    for link in links:
        field = page.by_id(link.get("href", "")[1:])
        if field is None or field.tag not in (
            "input",
            "textarea",
        ):  # the one group of buttons has no place for an error
            continue
        described_by = (field.get("aria-describedby") or "").split()
        said = [page.text_of(ident) for ident in described_by if page.by_id(ident) is not None]
        if field.get("aria-invalid") != "true" or f"Error: {words(link)}" not in said:
            yield f"{field.get('id')} does not say {words(link)!r}"
    named = list(dict.fromkeys(link.get("href", "")[1:] for link in links))
    invalid = [element.get("id") for element in page.tree.iter() if element.get("aria-invalid") is not None]
    if set(invalid) - set(named):
        yield f"marked without a line in the summary: {invalid}"
    order = [element.get("id") for element in page.tree.iter() if element.get("id") in named]
    if order != named:
        yield f"the summary's order is not the page's: {named}"


def no_order_of_its_own_for_the_tab_key(page: Page) -> Iterator[str]:
    yield from (f"tabindex {e.get('tabindex')}" for e in page.tree.iter() if e.get("tabindex") not in (None, "0", "-1"))


# What browsers, phones and password managers go by, by the name of the field.
AUTOCOMPLETE = {
    "email": "username",
    "username": "username",
    "password": "current-password",
    "current_password": "current-password",
    "new_password": "new-password",
    "code": "one-time-code",
    "recovery_code": "off",
    "key": "off",
    "groups": "off",
    "emails": "off",
    "name": "off",
}
KEYBOARD = {
    "email": {"type": "email", "inputmode": "email", "autocapitalize": "none", "spellcheck": "false"},
    "password": {"type": "password", "autocapitalize": "none", "spellcheck": "false"},
    "current_password": {"type": "password", "autocapitalize": "none", "spellcheck": "false"},
    "new_password": {"type": "password", "autocapitalize": "none", "spellcheck": "false"},
    "code": {"type": "text", "inputmode": "numeric", "autocapitalize": "none", "spellcheck": "false"},
    "recovery_code": {"type": "text", "autocapitalize": "characters", "spellcheck": "false"},
    "saved": {"type": "checkbox", "value": "yes"},
}
# What may be left empty, and how the page says so.
MAY_BE_EMPTY = {
    "reason": ["Shown in the audit log"],
    "code": ["Leave the code empty", "Can't use your key?"],
    "groups": ["Leave it empty"],
    "lost_keys": ["Tick the security keys you've lost"],
    "mail": ["Mail the links"],
}


def fields_that_fill_themselves_in(page: Page) -> Iterator[str]:
    for field in page.all("input"):
        name = field.get("name") or ""
        if field.get("type") != "hidden" and field.get("autocomplete") != AUTOCOMPLETE.get(name):
            yield f"{name} has autocomplete {field.get('autocomplete')}"
        wrong = {key for key, value in KEYBOARD.get(name, {}).items() if field.get(key) != value}
        if wrong:
            yield f"{name} has another {wrong}"
    for field in shown(page):
        ways_to_say_so = MAY_BE_EMPTY.get(field.get("name") or "", [])
        if field.get("required") is None and not any(words in page.text for words in ways_to_say_so):
            yield f"{field.get('name')} does not say that it is required"


def fields_that_stand_in_nobodys_way(page: Page) -> Iterator[str]:
    for field in shown(page):
        if int(field.get("maxlength") or 64) < 64 or field.get("pattern") or field.get("placeholder"):
            yield f"{field.get('name')} has a maxlength, a pattern or a placeholder"
        if field.get("autofocus") is not None and page.errors:
            yield f"{field.get('name')} takes the focus from the summary"


def a_password_beside_the_name_it_belongs_to(page: Page) -> Iterator[str]:
    for form in page.all("form"):
        tokens = [field.get("autocomplete") for field in form.iter("input") if field.get("autocomplete")]
        if {"current-password", "new-password"} & set(tokens) and (
            tokens[0] != "username" or tokens.count("username") > 1
        ):
            yield f"a form for {tokens}"


def forms_that_post_where_they_say(page: Page) -> Iterator[str]:
    """Without an action, the #fragment of the page goes with the form, and browsers then focus that, not the errors."""
    for form in page.all("form"):
        names = [field.get("name") for field in form.iter("input")]
        if form.get("method") != "post" or not form.get("action") or names.count("csrf_token") != 1:
            yield f"a form without POST, an action or a CSRF token: {names}"
        fields = {field.get("type") for field in form.iter("input")} - {"hidden"}
        if fields and form.get("novalidate") is None:
            yield f"the browser's own bubbles for {names}"
    if any(field.get("type") in ("submit", "button", "image") for field in page.all("input")):
        yield "a button that is an input"


def nothing_inline_and_nothing_from_elsewhere(page: Page) -> Iterator[str]:
    for element in page.tree.iter():
        if element.tag == "style" or (
            element.tag == "script" and ("".join(element.itertext()) or not element.get("src"))
        ):
            yield f"inline {element.tag}"
        yield from (name for name in element.attrib if name == "style" or re.match("on[a-z]", str(name)))
        for name in (
            "src",
            "href",
            "action",
            "data",
            "poster",
            "srcset",
            "formaction",
            "{http://www.w3.org/1999/xlink}href",
        ):
            if not re.match(r"$|/(?!/)|#|otpauth://totp/", element.get(name) or ""):
                yield f"{name} {element.get(name)}"


def few_bytes_and_three_requests(page: Page) -> Iterator[str]:
    if len(page.raw.encode()) > 20_000:
        yield f"{len(page.raw.encode())} bytes"
    loaded = {e.get("src") or e.get("href") for e in page.tree.iter() if e.tag in ("script", "link", "img", "iframe")}
    if loaded != {"/static/app.css", "/static/app.js"}:
        yield f"loads {loaded}"


NEVER = r"please|oops|invalid|successfully|otp|tokens?|backup code|2fa|verification code|log[ -]?in|scratch code"


def words_that_people_know(page: Page) -> Iterator[str]:
    attributes = ("aria-label", "title", "alt", "placeholder", "data-label")
    said = " ".join([*page.tree.itertext(), *(e.get(a) or "" for e in page.tree.iter() for a in attributes)])
    admin = page.path.startswith("/admin")
    yield from re.findall(rf"\b(?:{NEVER}{'' if admin else '|mfa|totp'})\b", said, re.IGNORECASE)
    for element in [*page.all("h1"), *page.all("h2"), *page.all("button")]:
        if words(element).endswith("."):
            yield f"a full stop after {words(element)!r}"


def times_that_programs_read_too(page: Page) -> Iterator[str]:
    for time in page.all("time"):
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time.get("datetime") or ""):
            yield f"time {words(time)}"
    outside = re.sub(r"<time.*?</time>|<li>.*?</li>|<p class=\"err\".*?</p>", "", page.raw, flags=re.DOTALL)
    yield from re.findall(r"\d \w+ \d{4}, \d\d:\d\d UTC|\d{4}-\d\d-\d\d \d\d:\d\d", outside)


def tables_that_can_be_read_cell_by_cell(page: Page) -> Iterator[str]:
    for table in page.all("table"):
        heads = [words(cell) for row in table.iter("tr") for cell in row if cell.get("scope") == "col"]
        for row in next(table.iter("tbody")).iter("tr"):
            for cell, head in zip(list(row), [*heads, ""], strict=False):
                if cell.tag == "td" and words(cell) and cell.get("data-label") not in (head, None):
                    yield f"{cell.get('data-label')} under {head}"
        if not heads:
            yield "a table without heads"


def classes_that_the_style_sheet_knows(page: Page) -> Iterator[str]:
    yield from {name for e in page.tree.iter() for name in (e.get("class") or "").split()} - STYLED - DRAWN


def an_answer_nobody_keeps_or_embeds(page: Page) -> Iterator[str]:
    policy = page.headers.get("Content-Security-Policy", "")
    if page.headers.get("Cache-Control") != "no-store":
        yield "kept in caches"
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
        if part not in policy:
            yield f"no {part}"


RULES: list[Rule] = [
    one_heading_and_a_title_that_says_it,
    a_head_that_browsers_need,
    a_frame_that_keys_can_skip,
    a_label_for_every_field,
    words_on_every_button_and_link,
    ids_that_are_there_once_for_whoever_names_them,
    an_error_at_its_field_in_the_same_words,
    no_order_of_its_own_for_the_tab_key,
    fields_that_fill_themselves_in,
    fields_that_stand_in_nobodys_way,
    a_password_beside_the_name_it_belongs_to,
    forms_that_post_where_they_say,
    nothing_inline_and_nothing_from_elsewhere,
    few_bytes_and_three_requests,
    words_that_people_know,
    times_that_programs_read_too,
    tables_that_can_be_read_cell_by_cell,
    classes_that_the_style_sheet_knows,
    an_answer_nobody_keeps_or_embeds,
]


@pytest.mark.parametrize("name", PLACES)
def test_every_page_keeps_every_rule(arrive: Arrive, name: str) -> None:
    page = arrive(name)
    assert (page.status, page.h1) == (PLACES[name].status, PLACES[name].h1)
    assert [(rule.__name__, wrong) for rule in RULES for wrong in rule(page)] == []


GOOD = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>Error: Sign in – Sparekey</title>
<link rel="stylesheet" href="/static/app.css"><script defer src="/static/app.js"></script></head>
<body><a class="skip" href="#main">Skip</a><main id="main" tabindex="-1">
<div class="errors"><ul><li><a href="#email">Enter it</a></li></ul></div><h1>Sign in</h1>
<form method="post" action="/login" novalidate><input type="hidden" name="csrf_token" value="x">
<label for="email">Email address</label><p class="field-error" id="email-error">Error: Enter it</p>
<input type="email" name="email" id="email" autocomplete="username" inputmode="email" autocapitalize="none"
spellcheck="false" required aria-invalid="true" aria-describedby="email-error">
<label for="password">Password</label><input type="password" name="password" id="password"
autocomplete="current-password" autocapitalize="none" spellcheck="false" required>
<button>Sign in</button></form>
<table><thead><tr><th scope="col">Time</th></tr></thead><tbody><tr><td data-label="Time">
<time datetime="2026-11-30T01:00:00Z">30 November 2026, 01:00 UTC</time></td></tr></tbody></table>
</main></body></html>"""
PASSWORD_FIELD = 'autocomplete="current-password"'
FAULTS: list[tuple[Rule, str, str]] = [
    (one_heading_and_a_title_that_says_it, "<h1>Sign in</h1>", "<h1>Sign in</h1><h1>Again</h1>"),
    (one_heading_and_a_title_that_says_it, "Error: Sign in – ", "Sign in – "),
    (one_heading_and_a_title_that_says_it, '<li><a href="#email">Enter it</a></li>', ""),
    (a_head_that_browsers_need, ' lang="en"', ""),
    (a_head_that_browsers_need, "width=device-width, initial-scale=1", "width=device-width, maximum-scale=1"),
    (a_frame_that_keys_can_skip, '<a class="skip" href="#main">Skip</a>', ""),
    (a_label_for_every_field, "Email address</label>", "</label>"),
    (words_on_every_button_and_link, "<button>Sign in", '<button aria-label="Log on">Sign in'),
    (words_on_every_button_and_link, "<button>Sign in", "<button disabled>Sign in"),
    (words_on_every_button_and_link, "<button>Sign in", "<button>"),
    (ids_that_are_there_once_for_whoever_names_them, 'id="password"', 'id="email"'),
    (ids_that_are_there_once_for_whoever_names_them, '="email-error">\n', '="email-error None">\n'),
    (an_error_at_its_field_in_the_same_words, ' aria-invalid="true"', ""),
    (an_error_at_its_field_in_the_same_words, "Error: Enter it", "Error: Enter that"),
    (an_error_at_its_field_in_the_same_words, 'type="password"', 'type="password" aria-invalid="None"'),
    (
        an_error_at_its_field_in_the_same_words,
        '<li><a href="#email">Enter it</a></li>',
        '<li><a href="#password">Enter it</a></li><li><a href="#email">Enter it</a></li>',
    ),
    (no_order_of_its_own_for_the_tab_key, 'tabindex="-1"', 'tabindex="1"'),
    (fields_that_fill_themselves_in, PASSWORD_FIELD, 'autocomplete="off"'),
    (fields_that_fill_themselves_in, 'inputmode="email"', ""),
    (fields_that_fill_themselves_in, 'spellcheck="false" required>', 'spellcheck="false">'),
    (fields_that_stand_in_nobodys_way, 'type="password"', 'type="password" maxlength="63"'),
    (fields_that_stand_in_nobodys_way, 'type="password"', 'type="password" pattern="[a-z]*"'),
    (fields_that_stand_in_nobodys_way, 'type="password"', 'type="password" autofocus'),
    (a_password_beside_the_name_it_belongs_to, 'autocomplete="username"', ""),
    (forms_that_post_where_they_say, ' action="/login"', ""),
    (forms_that_post_where_they_say, " novalidate", ""),
    (forms_that_post_where_they_say, 'name="csrf_token"', 'name="other"'),
    (forms_that_post_where_they_say, "<button>Sign in</button>", '<input type="submit" value="Sign in">'),
    (nothing_inline_and_nothing_from_elsewhere, "<h1>", '<h1 style="color:red">'),
    (nothing_inline_and_nothing_from_elsewhere, "<h1>", '<h1 onclick="go()">'),
    (nothing_inline_and_nothing_from_elsewhere, "</head>", "<style>h1{color:red}</style></head>"),
    (nothing_inline_and_nothing_from_elsewhere, "</head>", "<script>go()</script></head>"),
    (nothing_inline_and_nothing_from_elsewhere, 'src="/static', 'src="//cdn.example/static'),
    (few_bytes_and_three_requests, "<h1>", '<img src="/static/a.png" alt="A"><h1>'),
    (few_bytes_and_three_requests, "Sign in</h1>", "Sign in" + "!" * 20_000 + "</h1>"),
    (words_that_people_know, "Enter it</a>", "Please enter your OTP</a>"),
    (words_that_people_know, "<td ", '<td aria-label="MFA" '),
    (words_that_people_know, "<button>Sign in", "<button>Sign in."),
    (times_that_programs_read_too, ' datetime="2026-11-30T01:00:00Z"', ""),
    (times_that_programs_read_too, "</main>", "<p>30 November 2026, 01:00 UTC</p></main>"),
    (tables_that_can_be_read_cell_by_cell, 'data-label="Time"', 'data-label="Who"'),
    (tables_that_can_be_read_cell_by_cell, ' scope="col"', ""),
    (classes_that_the_style_sheet_knows, 'class="field-error"', 'class="field-erroror"'),
]


class Answer:
    mimetype = "text/html"

    def __init__(self, text: str, **headers: str) -> None:
        self.text, self.status_code = text, 422
        policy = "default-src 'none'; script-src 'self'; style-src 'self'; frame-ancestors 'none'"
        self.headers = {"Cache-Control": "no-store", "Content-Security-Policy": policy, **headers}

    def get_data(self, as_text: bool) -> str:
        return self.text


def test_a_page_that_keeps_every_rule_is_told_so() -> None:
    page = read_page(Answer(GOOD), "/login")
    assert [(rule.__name__, wrong) for rule in RULES for wrong in rule(page)] == []


@pytest.mark.parametrize(("rule", "good", "bad"), FAULTS)
def test_each_rule_notices_what_it_is_for(rule: Rule, good: str, bad: str) -> None:
    assert good in GOOD
    assert list(rule(read_page(Answer(GOOD.replace(good, bad, 1)), "/login")))


def test_every_rule_is_tried_on_a_fault() -> None:
    assert {rule for rule, _, _ in FAULTS} | {an_answer_nobody_keeps_or_embeds} == set(RULES)
    page = read_page(Answer(GOOD, **{"Cache-Control": "max-age=60"}), "/login")
    assert list(an_answer_nobody_keeps_or_embeds(page)) == ["kept in caches"]


# The style sheet ------------------------------------------------------------------------------------------------------

LIGHT, DARK = (dict(re.findall(r"--([\w-]+):\s*(#\w+)", block)) for block in re.findall(r":root\{([^}]*#[^}]*)\}", CSS))
TEXTS = ("ink", "soft", "accent", "accent-hi", "bad", "ok", "warn")
BACKGROUNDS = ("paper", "surface", "bad-bg", "ok-bg", "warn-bg", "slip")
EDGES = ("field", "focus", "accent", "accent-hi", "bad", "ok", "warn", "slip-line")


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance of #rrggbb."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_colour_stands_out_from_every_background(scheme: dict[str, str]) -> None:
    text = {(t, b): contrast(scheme[t], scheme[b]) for t in TEXTS for b in BACKGROUNDS}
    text |= {("on-accent", b): contrast(scheme["on-accent"], scheme[b]) for b in ("accent", "accent-hi")}
    edges = {(e, b): contrast(scheme[e], scheme[b]) for e in EDGES for b in BACKGROUNDS}
    assert {pair: ratio for pair, ratio in text.items() if ratio < 4.5} == {}
    assert {pair: ratio for pair, ratio in edges.items() if ratio < 3} == {}


def test_contrast_is_measured_as_wcag_does() -> None:
    assert round(contrast("#000000", "#ffffff"), 2) == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


def test_every_colour_is_a_token_that_both_schemes_have() -> None:
    assert LIGHT.keys() == DARK.keys() == {*TEXTS, *BACKGROUNDS, *EDGES, "on-accent", "line"}  # line only decorates
    rules = re.sub(r":root\{[^}]*\}", "", CSS)
    assert set(re.findall(r"#[0-9a-f]{3,8}\b", rules)) == {"#fff", "#000"}  # the QR code's plate, and paper
    used = set(re.findall(r"var\(--([\w-]+)", CSS))
    defined = set(re.findall(r"--([\w-]+):", CSS))
    assert used <= defined
    assert defined <= used


def test_style_and_script_are_small_and_load_nothing() -> None:
    script = (STATIC / "app.js").read_text()
    assert len(CSS.encode()) + len(script.encode()) < 16_000
    assert re.findall(r"url\(|@import|https?:|//[a-z]+\.|fetch|XMLHttp|WebSocket|sendBeacon", CSS + script) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|localStorage|cookie", script) == []
    assert sorted(path.name for path in STATIC.iterdir()) == ["app.css", "app.js"]


def test_every_style_is_for_something_on_a_page() -> None:
    templates = "".join(path.read_text() for path in STATIC.parent.glob("templates/**/*.html"))
    forms = (STATIC.parent / "blueprints" / "forms.py").read_text()
    assert {name for name in STYLED if not re.search(rf"[\"' ]{name}[\"' ]", templates + forms)} == set()


# What the pages say ---------------------------------------------------------------------------------------------------

SITE, CONTACT = "Harbor & Sons <Quay>", 'Ines <ines@harbor.example>, "room 4"'
NAMES_A_HELPER = {
    "sign in page",
    "sign in left empty",
    "sign in paused",
    "sign in stopped",
    "welcome with an old link",
    "challenge",
    "challenge while codes are off",
    "challenge with a wrong code",
    "challenge paused",
    "recovery",
    "recovery with a slip",
    "recovery while codes are off",
    "recovery while codes are off for a stranger",
    "recovery ended because codes were turned off",
    "setup while codes are off",
    "prompt without the tick",
}


@pytest.mark.parametrize("name", few_of(PLACES, "account", *NAMES_A_HELPER))
def test_every_page_says_the_sites_own_name_and_whom_to_ask(arrive: Arrive, name: str) -> None:
    page = arrive(name, SITE_NAME=SITE, SUPPORT_CONTACT=CONTACT)
    assert page.title.endswith(f" – {SITE}")
    assert "Sparekey" not in page.raw
    assert "the person who runs this site" not in page.text
    if name in NAMES_A_HELPER:
        assert f"sk {CONTACT}" in page.text or f" {CONTACT} " in page.text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("setup", f"1. Add {SITE} to your app"),
        ("setup begun before", f"If your app already has a {SITE} entry from then, delete it"),
        ("setup with a third wrong code", f"the newest code your app shows for {SITE}."),
        ("challenge", f"Open your authenticator app and find {SITE}."),
        ("verify", f"Open your authenticator app and find {SITE}."),
        ("recovery", "look for a file named harbor-sons-quay-recovery-code."),
        ("challenge", f"No recovery code? Ask {CONTACT} to reset your authenticator."),
        ("challenge while codes are off", f"Can't use your app? Ask {CONTACT} to reset your authenticator."),
        ("setup while codes are off", f"If you lose your phone, ask {CONTACT} to reset this for you."),
        ("setup", "Next: a recovery code, in case you lose your phone."),
        ("account after a recovery code while waiting for a phone", "until then only your recovery code gets you in."),
        (
            "account while waiting for a phone when codes were turned off",
            f"until then, ask {CONTACT} to let you in.",
        ),
        ("prompt asked for", "The code you have keeps working until you've saved this one."),
        ("prompt without the tick", f"losing your phone means waiting for {CONTACT} to let you in."),
        ("sign in stopped", f"sign-in is stopped until {CONTACT} allows it again."),
    ],
)
def test_help_names_this_site_and_fits_whether_codes_are_on(arrive: Arrive, name: str, says: str) -> None:
    assert says in arrive(name, SITE_NAME=SITE, SUPPORT_CONTACT=CONTACT).text


@pytest.mark.parametrize("name", ["sign in page", "challenge", "setup", "password", "verify", "sign in paused"])
def test_no_page_speaks_of_recovery_while_codes_are_off(arrive: Arrive, name: str) -> None:
    assert "recovery" not in arrive(name, RECOVERY_CODES_ENABLED=False).raw.lower()


@pytest.mark.parametrize("notice", NOTICES)
def test_every_notice_is_shown_once_and_read_out(make_app: Callable[..., Flask], notice: str) -> None:
    browser = Browser(make_app())
    page = browser.get(f"/login?notice={notice}")
    assert page.notice == NOTICES[notice]
    notes = [(div.get("class"), div.get("role")) for div in page.all("div") if "note" in div.get("class", "")]
    assert notes == [("note ok" if notice in DONE else "note", "status")]
    assert browser.submit(page, email="", password="").notice == ""
    assert browser.get("/login?notice=<b>").notice == ""


def test_every_status_has_its_page_in_the_table_of_places() -> None:
    assert {place.status for place in PLACES.values()} == {200, 422, 429, *STATUS_PAGES}
    assert {title for title, _ in STATUS_PAGES.values()} <= {place.h1 for place in PLACES.values()}
