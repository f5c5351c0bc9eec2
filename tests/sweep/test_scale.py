"""The admin pages with 100,000 people and 1,000,000 events, and a person's own pages with as many events of theirs: by
indexes alone, so quick from first page to last."""

from time import process_time

import pytest
from flask import Flask

from flows.sweep import sweep
from models import Session, Throttle
from tests.support.apps import on_sqlite
from tests.support.pages import Browser
from tests.support.people import Person, sign_in

PEOPLE, EVENTS = 100_000, 1_000_000
MANY_EVENTS_OF_ONE = """
INSERT INTO event (at, kind, user_id, actor, remote_addr, user_agent, detail)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {events})
SELECT 1700000000 + i, 'signed_in', (SELECT id FROM user WHERE email = 'ines@example.com'), '', '203.0.113.7', '', ''
FROM n
"""
MANY_PEOPLE = """
INSERT INTO user (email, is_admin, is_active, created_at)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {people})
SELECT printf('person%06d@example.com', i), 0, 1, 1700000000 FROM n
"""
MANY_CODES = """
INSERT INTO recovery_code (user_id, digest, created_at, saved_at)
SELECT id, printf('%064x', id), 1700000000, 1700000000 FROM user WHERE id % 2 AND email LIKE 'person%'
"""
MANY_EVENTS = """
INSERT INTO event (at, kind, user_id, actor, remote_addr, user_agent, detail)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {events})
SELECT 1700000000 + i, CASE i % 3 WHEN 0 THEN 'signed_in' ELSE 'password_right' END,
       (SELECT min(id) FROM user) + i * 7919 % {people}, '', '203.0.113.7', '', '' FROM n
"""


@pytest.fixture
def crowd(make_app, make_person) -> tuple[Flask, Browser]:
    app = make_app()
    ines: Person = make_person("ines@example.com", admin=True, on=app)
    with app.app_context():
        database = app.extensions["store"].database
        database.pragma("cache_size", -500_000)
        with database.atomic():
            for statement in (MANY_PEOPLE, MANY_CODES, MANY_EVENTS, MANY_EVENTS_OF_ONE):
                database.execute_sql(statement.format(people=PEOPLE, events=EVENTS))
    browser = Browser(app)
    sign_in(browser, ines)
    return app, browser


@on_sqlite
def test_people_the_audit_log_and_ones_own_pages_answer_in_under_100_ms(crowd: tuple[Flask, Browser]) -> None:
    _, browser = crowd
    for path, rows in (
        ("/admin/people", 51),
        ("/admin/people?after=person099000@example.com", 51),
        ("/admin/audit", 51),
        ("/admin/audit?before=60", 51),
        ("/admin/audit?person=77777", 11),
        ("/admin/audit?person=1", 51),
        ("/account", 13),
        ("/account/activity", 51),
        ("/account/activity?before=1500000", 51),
    ):
        times = []
        for _ in range(5):
            started = process_time()
            answer = browser.client.get(path)
            times.append(process_time() - started)
        assert answer.status_code == 200
        assert answer.get_data(as_text=True).count("<tr>") in range(rows - 1, rows + 1), path
        assert min(times) < 0.1, (path, times)


MANY_SESSIONS = """
INSERT INTO session (token_digest, user_id, step, step_at, second_factor, created_at, last_seen_at, remote_addr,
    user_agent, next_path, refused_answers)
SELECT printf('%064x', id), id, 'signed_in', {now} - 1800, 'totp', {now} - 1800, {now} - 60, '203.0.113.7', '', '', 0
FROM user WHERE email LIKE 'person%'
"""
MANY_ADDRESSES = """
INSERT INTO throttle (key, account, failures, paused_until, updated_at)
SELECT 'address:' || id, '', 1, {now} + 900, {now} FROM user WHERE email LIKE 'person%'
"""


@on_sqlite
def test_a_sign_in_reads_nothing_of_those_who_are_signed_in_or_tried_elsewhere(
    crowd: tuple[Flask, Browser], clock
) -> None:
    """The sweep before it finds by an index what is over, and that alone."""
    app, _ = crowd
    with app.app_context():
        for statement in (MANY_SESSIONS, MANY_ADDRESSES):
            app.extensions["store"].database.execute_sql(statement.format(now=clock.now))
        times = []
        for _ in range(5):
            started = process_time()
            sweep(clock.now)
            times.append(process_time() - started)
        assert min(times) < 0.005, times
        assert (Session.select().count(), Throttle.select().count()) == (PEOPLE + 1, PEOPLE)
        sweep(clock.now + 3600)
        assert (Session.select().count(), Throttle.select().count()) == (0, 0)
