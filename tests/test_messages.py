"""Whatever happens is said in words, and no word is left over."""

from dataclasses import fields
from typing import Any

import pytest
from flask import Flask

from authn import refusals
from authn.events import EventKind
from authn.refusals import (
    AddressesTaken,
    LinkUsed,
    NoSuchKey,
    NoSuchSession,
    OneKeyAlone,
    Refusal,
    RetiredCode,
    Retirement,
    WeakPassword,
)
from blueprints.messages import SENTENCES, explain

BASES = {Refusal, WeakPassword}
WITH_A_PAGE_OR_NOTICE_OF_THEIR_OWN = {AddressesTaken, LinkUsed, NoSuchKey, NoSuchSession, OneKeyAlone}
REFUSALS = {
    each
    for each in vars(refusals).values()
    if isinstance(each, type) and issubclass(each, Refusal) and each not in BASES | WITH_A_PAGE_OR_NOTICE_OF_THEIR_OWN
}


def example(kind: type[Refusal]) -> Refusal:
    values: dict[str, Any] = {"how": Retirement.SPENT, "email": "maya@example.com"}
    return kind(**{field.name: values.get(field.name, 7) for field in fields(kind)})


def test_every_event_has_a_sentence() -> None:
    assert SENTENCES["events"].keys() == set(EventKind)


def test_every_refusal_has_a_sentence() -> None:
    assert SENTENCES["refusals"].keys() == {kind.__name__ for kind in REFUSALS - {RetiredCode}}
    assert SENTENCES["retired"].keys() == set(Retirement)


@pytest.mark.parametrize("kind", sorted(REFUSALS, key=lambda kind: kind.__name__))
def test_a_refusal_is_said_whatever_the_site_is_called(app: Flask, kind: type[Refusal]) -> None:
    app.config["SITE_NAME"] = "{0} {day} {nothing}"
    with app.test_request_context():
        said = explain(example(kind))
    assert said[0].isupper() or said.startswith("maya@example.com")
    assert "{" not in said.replace("{0} {day} {nothing}", "")


@pytest.mark.parametrize("how", Retirement)
def test_a_code_that_stopped_working_is_told_by_how_and_when(app: Flask, how: Retirement) -> None:
    with app.test_request_context():
        said = explain(RetiredCode(1_796_000_400, how))
    assert "30 November 2026" in said
    assert {"spent": "used", "replaced": "replaced", "reset": "reset"}[how] in said
