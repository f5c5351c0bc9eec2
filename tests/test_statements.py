"""Queries that are built once: they find and change what the same query built anew would, whatever it is asked."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask
from peewee import Select

from models import Event, Throttle, User
from statements import compiled
from tests.support.people import Person
from tests.support.races import at_once

pytestmark = pytest.mark.databases
Make = Callable[..., Flask]


@compiled
def people_at(emails: list[str]) -> Any:
    return User.select().where(User.email.in_(emails)).order_by(User.id)


@compiled
def waiting_since(moment: int | None) -> Any:
    return User.select(User.email).where(User.waiting_since == moment).tuples()


@compiled
def change(email: str, /, **columns: Any) -> Any:
    return User.update(columns).where(User.email == email)


def built(app: Flask) -> int:
    return len(app.extensions["store"].statements)


def test_models_are_found_by_lists_of_any_length(app: Flask, omar: Person, ines: Person) -> None:
    with app.app_context():
        for emails in ([], [omar.email], [ines.email, "nobody@example.com"], [omar.email, ines.email], [ines.email]):
            expected = list(User.select().where(User.email.in_(emails)).order_by(User.id))
            found = people_at(emails)
            assert [vars(each)["__data__"] for each in found] == [vars(each)["__data__"] for each in expected]


def test_nothing_is_compared_as_sql_compares_it(app: Flask, omar: Person, ines: Person) -> None:
    """A query with a value in that place finds nothing where there is none, and the other way round."""
    with app.app_context():
        for moment, found in ((None, 2), (7, 0), (None, 2)):
            assert len(waiting_since(moment)) == found
        assert change(omar.email, waiting_since=7) == 1
        assert waiting_since(7) == [(omar.email,)]
        assert waiting_since(None) == [(ines.email,)]
        assert change(omar.email, waiting_since=None) == 1
        assert len(waiting_since(None)) == 2


def test_shapes_are_told_apart(app: Flask, omar: Person, ines: Person) -> None:
    """None, a value, and lists of none and of one: each is asked in a place where the others were asked before."""

    @compiled
    def at(email: Any) -> Any:
        column = User.email
        return User.select(User.email).where(column.in_(email) if isinstance(email, list) else column == email).tuples()

    here = (omar.email,)
    asked = [(None, []), ([omar.email], [here]), (omar.email, [here]), ([], []), (omar.email, [here]), (None, [])]
    with app.app_context():
        assert [(value, at(value)) for value, _ in asked] == asked


def test_how_many_rows_were_changed_is_said_and_columns_may_differ(app: Flask, omar: Person) -> None:
    with app.app_context():
        assert change("nobody@example.com", groups="ops") == 0
        assert change(omar.email, groups="ops", waiting_since=5) == 1
        assert change(omar.email, waiting_since=6, groups="wiki") == 1, "the same columns in another order"
        assert (User.find(omar.email).groups, User.find(omar.email).waiting_since) == ("wiki", 6)


def test_a_row_that_is_written_comes_back_where_the_query_says_so(app: Flask, omar: Person) -> None:
    @compiled
    def count_up(key: str, account: str) -> Any:
        one_more = {Throttle.failures: Throttle.failures + 1}
        row = {"key": key, "account": account, "failures": 1, "updated_at": 0}
        insert = Throttle.insert(row).on_conflict(conflict_target=[Throttle.key], update=one_more)
        return insert.returning(Throttle.failures).tuples()

    with app.app_context():
        assert [count_up("a key", "") for _ in range(3)] == [[(1,)], [(2,)], [(3,)]]


def test_a_query_is_built_once_and_no_value_stays_in_it(app: Flask, omar: Person, monkeypatch) -> None:
    calls = []
    sql = Select.__sql__
    monkeypatch.setattr(Select, "__sql__", lambda *args: calls.append(1) or sql(*args))
    with app.app_context():
        people_at([omar.email])
        known, before = len(calls), built(app)
        assert [person.email for person in people_at([omar.email])] == [omar.email]
        assert people_at(["x' OR 1=1 --"]) == []
        assert (len(calls), built(app)) == (known, before)
        people_at([omar.email, "another length"])
        assert built(app) == before + 1
        statements = app.extensions["store"].statements.values()
        assert not any(omar.email in f"{statement.sql}{statement.params}" for statement in statements)


def test_many_threads_ask_one_query_at_once(app: Flask, make_person: Callable[..., Person]) -> None:
    emails = [make_person(f"person{number}@example.com", enrolled=False).email for number in range(8)]
    app.extensions["store"].statements.clear()

    def ask(email: str) -> list[list[str]]:
        with app.app_context():
            return [[person.email for person in people_at([email])] for _ in range(50)]

    assert at_once([partial(ask, email) for email in emails]) == [[[email]] * 50 for email in emails]


def test_two_apps_in_one_process_never_meet(make_app: Make, make_person: Callable[..., Person]) -> None:
    here, there = make_app("here"), make_app("there")
    make_person("maya@example.com", on=here, enrolled=False)
    for app, found in ((here, 1), (there, 0), (here, 1)):
        with app.app_context():
            assert len(people_at(["maya@example.com"])) == found
            assert Event.select().count() == found
