"""What the figures of docs/benchmarks.md are held against is fair, and every promise stands there. The benchmark itself
is run by the sweep."""

import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from flask import Flask
from html5lib import parse

from benchmarks.figures import Curve, Row, growth_table, table
from benchmarks.page import PROMISES, written
from tests.support.apps import ROOT
from tests.support.pages import Browser

PAGE = (ROOT / "docs" / "benchmarks.md").read_text()


@pytest.fixture
def references(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Flask:
    monkeypatch.setenv("FLASK_SECRET_KEY", "a key of the references, of some length")
    monkeypatch.setenv("FLASK_DATABASE_URL", f"sqlite:///{tmp_path}/references.db")
    from benchmarks import references

    return references.app


def elements(html: str) -> list[Any]:
    return [element for element in parse(html, namespaceHTMLElements=False).iter() if isinstance(element.tag, str)]


def test_the_page_beside_the_sign_in_page_has_its_shape_and_its_form(references: Flask, browser: Browser) -> None:
    ours, theirs = browser.get("/login").raw, references.test_client().get("/page").text
    inputs = [
        sorted((each.get("name"), each.get("type")) for each in elements(page) if each.tag == "input")
        for page in (ours, theirs)
    ]
    assert inputs[0] == inputs[1]
    assert len(inputs[0]) == 4
    assert [each.tag for each in elements(ours)] == [each.tag for each in elements(theirs)]
    assert len(theirs) == pytest.approx(len(ours), rel=0.1)


def test_the_page_shows_the_worst_of_the_rows_and_whether_the_promise_is_kept() -> None:
    rows = [
        Row("POST /login", 105, "ms", 100, "one argon2 verify", "<= 1.1"),
        Row("GET /login with 1,004,000 people", 1, "ms", 1, "with 4,000", "<= 1.2"),
        Row("GET /account with 1,004,000 people", 13, "ms", 10, "with 4,000", "<= 1.2"),
        Row("20 browsers send one code at once: sign-ins", 1, promise="= 1"),
        Row("20 browsers send one recovery_code at once: sign-ins", 0, promise="= 1"),
    ]
    curve = Curve("people of the site", "GET /account", "ms", {"10": 2.5, "1,000": 2.75})
    run = {"day": "1 May 2026", "seconds": 300, "machine": "two cores", "load": 3}
    figures = {**run, "rows": [row.facts() for row in rows], "growth": [vars(curve)]}
    page = written(PAGE, json.loads(json.dumps(figures)))
    assert "Measured on 1 May 2026, in 300 seconds, with a load of 3 at the end, on two cores." in page
    assert "| at most 1.1 times one argon2 verify | 1.05 (105 ms : 100 ms) | kept |" in page
    assert "| at most 1.2 times with 4,000 | 1.30 (13 ms : 10 ms) | **not kept** |" in page
    assert "| 1 | 0 | **not kept** |" in page
    assert "| `GET /account` | 2.5 ms | 2.75 ms |" in page
    assert table(rows).count("NOT KEPT") == 2
    assert "GET /account" in growth_table([curve])


def test_every_promise_stands_on_the_page_with_what_it_means() -> None:
    said = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert [promise.what for promise in PROMISES if not any(promise.means in line for line in said)] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_is_one_that_any_page_may_show(scheme: str) -> None:
    text = (ROOT / "docs" / "pictures" / f"benchmarks-{scheme}.svg").read_text()
    root = ElementTree.fromstring(text)  # noqa: S314, which is ours
    assert {element.tag.rpartition("}")[2] for element in root.iter()}.isdisjoint({"script", "image", "a", "use"})
    assert not re.search(r"url\(|href", text)
    assert all(word in text for word in ("Sparekey", "A closed page", "A six-digit code", "A recovery code"))
