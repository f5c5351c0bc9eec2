"""Two browsers of one person and one of somebody who knows only the password do anything in any order; a small model
that knows what was proven in each sign-in says how far it may have come."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from itsdangerous import URLSafeTimedSerializer
from werkzeug.test import TestResponse

from authn import recovery_codes, totp
from models import TABLES, RecoveryCode
from tests.support.apps import KEY, on_sqlite
from tests.support.cookies import payload
from tests.support.pages import Browser
from tests.support.people import PASSWORD, Clock, Person
from tests.support.tables import count

NEW = ["three herons and a lighthouse", "an oar, a pier and a gull", PASSWORD]
WRONG = "a guess in the dark"
WELL_FORMED, SLIP = "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ3", "7F3K-9QXM-2D8R-HJ5T-V0WB-4NZ4"
SIGN_IN, CODE, SETUP, PROMPT, LOST = "/login", "/login/code", "/mfa/setup", "/mfa/recovery-code", "/mfa/lost-device"
SIGNED_IN = "/account"

FACTOR, SAVE, ANSWER = "a second factor", "saving the code", "the question about the device"  # what may be due


@dataclass
class Setup:
    """An app being set up in a sign-in: what its page showed, and once a code of it was typed, that one's step."""

    secret: bytes
    step: int | None = None
    code: str | None = None  # the recovery code to be saved before it counts


@dataclass
class SignIn:
    """From a right password on: what is due before it is signed in."""

    began_at: int
    is_first: bool  # there is no app yet
    moved_at: int
    seen_at: int
    due: set[str] = field(default_factory=lambda: {FACTOR})
    claimed: str | None = None  # the recovery code typed in it
    setup: Setup | None = None
    confirmed_at: int | None = None  # password and six-digit code, both
    shown: str | None = None  # the code on its prompt, which no other sign-in is ever shown

    def ends_at(self) -> int:
        if not self.due:
            return min(self.seen_at + 3600, self.began_at + 86400)
        return self.moved_at + (900 if SAVE in self.due or (FACTOR in self.due and self.is_first) else 600)


class Surfer(Browser):
    """A browser that sends any form from anywhere, and stays where it was told to go."""

    where = SIGN_IN

    def ask(self, path: str, method: str = "POST", **fields: Any) -> TestResponse:
        if method == "POST":
            fields["csrf_token"] = self.csrf_token()
        answer = self.client.open(path, method=method, base_url=self.base_url, data=fields or None)
        assert answer.status_code in (200, 303, 400, 403, 404, 422, 429), answer.status
        return answer

    def csrf_token(self) -> str:
        if self.cookie() is None:
            self.ask(SIGN_IN, "GET")
        return str(URLSafeTimedSerializer(KEY, salt="wtf-csrf-token").dumps(payload(self).get("csrf_token", "")))


def leads_to(answer: TestResponse) -> str:
    """The page that a redirect leads to; nothing for other answers."""
    return answer.headers.get("Location", "").partition("?")[0] if answer.status_code == 303 else ""


def found(answer: TestResponse, pattern: str) -> str:
    return re.sub("<[^>]*>", "", match[1]) if (match := re.search(pattern, answer.text, re.S)) else ""


own_browsers = st.sampled_from(["first", "second"])
six_digits = st.sampled_from(["now", "now", "before", "ahead", "used", "wrong", "other's", "older", "old app's"])
recovery_code = st.sampled_from(["saved", "saved", "unsaved", "old", "other's", "wrong", "slip"])
acts = st.one_of(
    st.tuples(st.just("open_the_sign_in_page")),
    st.tuples(st.just("give_the_password"), st.booleans()),
    st.tuples(st.just("type_six_digits"), six_digits),
    st.tuples(st.just("type_a_recovery_code"), recovery_code),
    st.tuples(st.just("save_the_code"), st.sampled_from(["ticked", "ticked", "not ticked", "another's id"])),
    st.tuples(st.just("answer_about_the_device"), st.sampled_from(["yes", "later", "no", "no", "perhaps"])),
    st.tuples(st.just("set_up_an_app"), st.sampled_from([True, True, False])),
    st.tuples(st.just("finish_without_a_code")),
    st.tuples(st.just("confirm_who_one_is"), st.sampled_from([True, True, False]), six_digits),
    st.tuples(st.just("make_a_new_code")),
    st.tuples(st.just("change_the_password"), st.sampled_from(NEW)),
    st.tuples(st.just("sign_out_everywhere_else")),
    st.tuples(st.just("sign_out")),
    st.tuples(st.just("put_an_earlier_cookie_back"), st.integers(0, 99)),
)


class Sequences(RuleBasedStateMachine):
    """Everything the model believes follows from what was typed; from the site it takes the keys and codes it shows."""

    def __init__(self, app: Flask, clock: Clock, make_person: Callable[..., Person], reached: Counter[str]) -> None:
        super().__init__()
        self.app, self.clock, self.make_person, self.reached = app, clock, make_person, reached

    @initialize(
        start=st.sampled_from(["with a code", "without a code", "new"]), codes_on=st.sampled_from([True] * 3 + [False])
    )
    def begin(self, start: str, codes_on: bool) -> None:
        with self.app.app_context():
            for table in reversed(TABLES):
                table.delete().execute()
        self.app.config["RECOVERY_CODES_ENABLED"] = codes_on
        self.person = self.make_person("omar@example.com", enrolled=start != "new", code=start == "with a code")
        self.other = self.make_person("noor@example.com")
        self.browsers = {name: Surfer(self.app) for name in ("first", "second", "attacker")}
        self.password: str | None = PASSWORD
        self.secret, self.last_step, self.old_secret = self.person.secret, 0, None
        self.saved: str | None = self.person.recovery_code
        self.unsaved: list[str] = []  # every code that was shown and not saved
        self.old: list[str] = []
        self.sign_ins: dict[str, SignIn] = {}  # by the one cookie that holds it
        self.cookies: list[str] = []  # all that the person's browsers ever had
        self.link: str | None = None
        self.used_links: list[str] = []

    # What the model knows

    @property
    def now(self) -> int:
        return self.clock.now

    @property
    def codes_on(self) -> bool:
        return self.app.config["RECOVERY_CODES_ENABLED"] is True

    def of(self, name: str) -> SignIn | None:
        return self.sign_ins.get(self.browsers[name].cookie() or "")

    def send(self, name: str, path: str, **fields: str) -> tuple[SignIn | None, TestResponse, bool]:
        """Send a form: the sign-in it belongs to, the answer, and whether it brought a new cookie, which then is the
        only one that holds the sign-in."""
        browser, here = self.browsers[name], self.of(name)
        browser.csrf_token()
        before = browser.cookie()
        answer = browser.ask(path, **fields)
        after = browser.cookie()
        is_new = after is not None and after != before
        if is_new and here:
            del self.sign_ins[before or ""]
            self.keep(name, here)
        return here, answer, is_new

    def keep(self, name: str, sign_in: SignIn) -> None:
        cookie = self.browsers[name].cookie() or ""
        self.sign_ins[cookie] = sign_in
        self.cookies += [cookie] if name != "attacker" else []

    def end(self, but: SignIn | None = None, unfinished_only: bool = False) -> None:
        kept = {c: s for c, s in self.sign_ins.items() if s is but or (unfinished_only and not s.due)}
        self.sign_ins = kept

    def move(self, here: SignIn, due: set[str]) -> None:
        here.due, here.moved_at, here.seen_at = due, self.now, self.now

    def accept(self, step: int | None) -> None:
        """The site took a six-digit code: it must be one of this app, near now and newer than every one before."""
        assert step is not None, "not a code of this app"
        assert abs(step - self.now // 30) <= 1
        assert step > self.last_step, "a code was taken twice"
        self.last_step = step

    def retire(self, code: str | None) -> None:
        self.old += [code] if code else []

    def confirm(self, here: SignIn, code: str) -> None:
        """A code is saved, and the one before it dead; so is every other unfinished sign-in."""
        self.save(here, code)
        self.end(here, unfinished_only=True)

    def save(self, here: SignIn, code: str) -> None:
        assert code == here.shown
        self.retire(self.saved)
        self.unsaved.remove(code)
        self.saved, here.shown = code, None

    def complete(self, here: SignIn, code: str | None = None) -> None:
        """A new app is on, with its code if it has one; every other session is over."""
        assert here.setup and here.setup.step is not None
        if FACTOR in here.due:
            here.confirmed_at = self.now
        if code:
            self.save(here, code)
        self.old_secret, self.secret, self.last_step = self.secret, here.setup.secret, here.setup.step
        here.setup = None
        self.reached["a new app"] += 1
        self.finish(here)
        self.end(here)

    def finish(self, here: SignIn) -> None:
        if here.due:
            self.reached["by recovery code" if here.claimed else "with six digits or a new app"] += 1
        self.move(here, set())

    def read_prompt(self, name: str) -> str:
        """The code that the prompt shows: this sign-in's own, shown in no other and never saved before."""
        page = self.browsers[name].ask(PROMPT, "GET")
        code, here = found(page, r'id="recovery-code"[^>]*>(.*?)</output>'), self.of(name)
        if code and here and code != here.shown:
            assert code not in (*self.unsaved, *self.old, self.saved), "it was shown before, elsewhere"
            self.unsaved.append(code)
            here.shown = code
        return code

    # What a browser may do

    def open_the_sign_in_page(self, name: str) -> None:
        self.browsers[name].ask(SIGN_IN, "GET")

    def give_the_password(self, name: str, is_right: bool) -> None:
        typed = WRONG if not is_right else PASSWORD if name == "attacker" else self.password or PASSWORD
        here, answer, is_new = self.send(name, SIGN_IN, email=self.person.email, password=typed)
        if here is None and is_new and leads_to(answer) in (CODE, SETUP):
            assert typed == self.password
            self.keep(name, SignIn(self.now, self.secret is None, moved_at=self.now, seen_at=self.now))

    def digits_of(self, name: str, which: str) -> tuple[str, int | None]:
        """What is typed, and the step it belongs to if it is a code of the person's app. The attacker has seen those
        that were typed before, and no others."""
        steps = {"now": 0, "before": -1, "ahead": 1, "older": -2}
        if self.secret and which in steps and name != "attacker":
            step = self.now // 30 + steps[which]
            return totp.code_at(self.secret, step * 30), step
        if self.secret and self.last_step and which not in ("wrong", "other's", "old app's"):
            return totp.code_at(self.secret, self.last_step * 30), self.last_step
        if which == "old app's" and self.old_secret:
            return totp.code_at(self.old_secret, self.now), None
        return self.other.code() if which == "other's" else "000000", None

    def type_six_digits(self, name: str, which: str) -> None:
        typed, step = self.digits_of(name, which)
        here, _, is_new = self.send(name, CODE, code=typed)
        if here and is_new:
            self.accept(step)
            assert here.due == {FACTOR}
            if self.codes_on and not self.saved:
                self.move(here, {SAVE})
                self.read_prompt(name)
            else:
                here.confirmed_at = self.now
                self.finish(here)

    def type_a_recovery_code(self, name: str, which: str) -> None:
        known = {which: codes[-1] for which, codes in (("old", self.old), ("unsaved", self.unsaved)) if codes}
        known |= {"saved": self.saved} if self.saved else {}
        if name == "attacker":
            known.pop("saved", None)
        typed = known.get(which) or {"other's": self.other.recovery_code, "slip": SLIP}.get(which) or WELL_FORMED
        here, was = self.of(name), self.browsers[name].where
        answer = self.browsers[name].ask("/login/recovery", recovery_code=typed)
        if was != CODE or leads_to(answer) != PROMPT:
            return
        assert here
        assert here.due == {FACTOR}
        assert self.codes_on
        assert typed == self.saved, "a code that is not saved and alive was taken"
        assert all(s.claimed != typed or SAVE not in s.due for s in self.sign_ins.values()), "it is set aside elsewhere"
        here.claimed = typed
        self.move(here, {SAVE, ANSWER})
        self.read_prompt(name)

    def save_the_code(self, name: str, how: str) -> None:
        code = self.read_prompt(name)
        user = 1
        with self.app.app_context():
            user = RecoveryCode.user.rel_model.get(email=self.person.email).id
        shown = recovery_codes.digest(recovery_codes.read(code or WELL_FORMED), user)
        other = recovery_codes.digest(recovery_codes.read(self.old[-1] if self.old else WELL_FORMED), user)
        here, _, is_new = self.send(
            name, PROMPT, shown=other if how == "another's id" else shown, saved="" if how == "not ticked" else "yes"
        )
        if not (here and is_new):
            return
        assert code
        assert self.codes_on
        assert how == "ticked"
        if here.setup and here.setup.code == code:
            self.complete(here, code)
            return
        if SAVE in here.due and here.claimed:
            assert here.claimed == self.saved, "it was spent before"
            self.confirm(here, code)
            self.move(here, {ANSWER})
        else:
            assert here.due <= {SAVE}
            self.confirm(here, code)
            if here.due:
                here.confirmed_at = self.now
            self.finish(here)

    def answer_about_the_device(self, name: str, still_have: str) -> None:
        here, answer, is_new = self.send(name, LOST, still_have=still_have)
        if here and is_new:
            assert here.due == {ANSWER}
            assert still_have in ("yes", "later")
            self.finish(here)
        elif here and leads_to(answer) == SETUP and here.due == {ANSWER} and here.setup is None:
            here.setup = Setup(b"")
            here.moved_at = self.now

    def set_up_an_app(self, name: str, is_right: bool) -> None:
        here, page = self.of(name), self.browsers[name].ask(SETUP, "GET")
        secret = totp.read_setup_key(found(page, r'id="setup-key"[^>]*>(.*?)</'))
        is_right = is_right and name != "attacker"
        step = self.now // 30
        if secret and here and (here.setup is None or here.setup.secret != secret):
            here.setup = Setup(secret)
        typed = totp.code_at(secret, self.now) if secret and is_right else "000000"
        here, answer, is_new = self.send(name, SETUP, code=typed)
        if not (here and secret and (is_new or leads_to(answer) == PROMPT)):
            return
        assert is_right
        assert here.setup
        assert here.due == {ANSWER} or (here.due == {FACTOR} and self.secret is None) or self.is_confirmed(here)
        here.setup.step = step
        if is_new:
            assert self.saved or not self.codes_on, "the prompt was left out"
            self.complete(here)
        else:
            if here.due:
                self.move(here, here.due | {SAVE})
            here.setup.code = self.read_prompt(name)

    def is_confirmed(self, here: SignIn) -> bool:
        """Signed in, and password and six-digit code both given in the last ten minutes."""
        return not here.due and here.confirmed_at is not None and self.now - here.confirmed_at < 600

    def finish_without_a_code(self, name: str) -> None:
        here, _, is_new = self.send(name, "/mfa/finish")
        if not (here and is_new):
            return
        assert not self.codes_on
        assert not here.claimed or not here.due
        if here.setup and here.setup.step is not None:
            assert here.due or self.is_confirmed(here)
            self.complete(here)
        else:
            assert here.due == {SAVE}
            here.confirmed_at = self.now
            self.finish(here)
        self.reached["without a code"] += 1

    def confirm_who_one_is(self, name: str, is_right: bool, which: str) -> None:
        typed, step = self.digits_of(name, which)
        password = (self.password if name != "attacker" else PASSWORD) if is_right else WRONG
        here, _, is_new = self.send(name, "/verify", password=password or "", code=typed)
        if here and is_new:
            assert not here.due
            assert is_right
            self.accept(step)
            here.confirmed_at = self.now
            self.reached["confirmed"] += 1

    def make_a_new_code(self, name: str) -> None:
        here, answer, _ = self.send(name, "/account/recovery-code")
        if here and not here.due and leads_to(answer) == PROMPT:
            assert self.codes_on
            assert self.is_confirmed(here)
            here.setup = None
            self.read_prompt(name)
            self.reached["made a new code"] += 1

    def change_the_password(self, name: str, new: str) -> None:
        current = PASSWORD if name == "attacker" else self.password or PASSWORD
        here, _, is_new = self.send(name, "/account/password", current_password=current, new_password=new)
        if here and is_new:
            assert self.is_confirmed(here)
            assert current == self.password
            self.password, self.link = new, None
            self.end(here)
            self.reached["changed the password"] += 1

    def sign_out_everywhere_else(self, name: str) -> None:
        here, answer, _ = self.send(name, "/account/sessions/revoke-others")
        if here and not here.due and leads_to(answer) == SIGNED_IN:
            self.end(here)

    def sign_out(self, name: str) -> None:
        before = self.browsers[name].cookie()
        self.send(name, "/logout")
        self.sign_ins.pop(before or "", None)

    def put_an_earlier_cookie_back(self, name: str, number: int) -> None:
        earlier = [c for c in self.cookies if name != "attacker" or c not in self.sign_ins]
        if earlier:
            self.browsers[name].client.set_cookie("session", earlier[number % len(earlier)], domain="localhost")
            self.reached["a cookie of old"] += earlier[number % len(earlier)] not in self.sign_ins

    # What happens

    def something_is_done(self, name: str, act: tuple[Any, ...]) -> None:
        self.look(name)
        method, *args = act
        getattr(self, method)(name, *args)

    @rule(name=own_browsers, act=acts)
    def the_person_does_something(self, name: str, act: tuple[Any, ...]) -> None:
        self.something_is_done(name, act)

    @rule(act=acts)
    def the_attacker_does_something(self, act: tuple[Any, ...]) -> None:
        if self.browsers["attacker"].where == SIGN_IN:
            self.give_the_password("attacker", True)
        self.something_is_done("attacker", act)

    @rule(seconds=st.sampled_from([5, 30, 30, 30, 30, 30, 600, 900, 3600, 86400]))
    def time_passes(self, seconds: int) -> None:
        self.clock.pass_by(seconds)

    @rule(what=st.sampled_from(["flip_the_flag", "an_admin_resets"]))
    def the_site_changes(self, what: str) -> None:
        getattr(self, what)()

    def flip_the_flag(self) -> None:
        self.app.config["RECOVERY_CODES_ENABLED"] = not self.codes_on

    def an_admin_resets(self) -> None:
        result = self.app.test_cli_runner().invoke(args=["users", "reset-mfa", self.person.email])
        self.link = result.output.strip().rpartition("/")[2]
        self.retire(self.saved)
        self.old_secret = self.secret or self.old_secret
        self.secret = self.password = self.saved = None
        self.last_step = 0
        self.end()

    @precondition(lambda self: self.link or self.used_links)
    @rule(new=st.sampled_from(NEW), is_new_link=st.booleans())
    def use_a_link(self, new: str, is_new_link: bool) -> None:
        link = self.link if is_new_link and self.link else (self.used_links or [self.link])[-1]
        if leads_to(Surfer(self.app).ask(f"/welcome/{link}", new_password=new)) == SIGN_IN:
            assert link == self.link, "a link was used twice"
            self.password, self.link = new, None
            self.used_links.append(link)
            self.end()

    def go_on_rightly(self, name: str, steps: int, by_app: bool) -> None:
        """As the person would who has everything at hand."""
        for _ in range(steps):
            self.look(name)
            where = self.browsers[name].where
            if where == SIGN_IN and self.password is None:
                self.use_a_link(PASSWORD, True)
            elif where == SIGN_IN:
                self.give_the_password(name, True)
            elif where == CODE:
                if by_app or not self.saved:
                    self.type_six_digits(name, "now")
                else:
                    self.type_a_recovery_code(name, "saved")
            elif where == SETUP:
                self.set_up_an_app(name, True)
            elif where == PROMPT:
                (self.save_the_code if self.codes_on else self.finish_without_a_code)(
                    *[name, "ticked"][: 1 + self.codes_on]
                )
            elif where == LOST:
                self.answer_about_the_device(name, "yes" if by_app else "later")

    @rule(name=own_browsers, by_app=st.booleans())
    def the_person_signs_in(self, name: str, by_app: bool) -> None:
        self.go_on_rightly(name, 4, by_app)

    @rule(name=own_browsers, steps=st.integers(1, 4), by_app=st.booleans(), act=acts)
    def the_person_goes_on_and_does_something(self, name: str, steps: int, by_app: bool, act: tuple[Any, ...]) -> None:
        self.clock.pass_by(30)  # the app shows a new code
        self.go_on_rightly(name, steps, by_app)
        self.something_is_done(name, act)

    @rule(
        name=own_browsers, steps=st.integers(1, 3), by_app=st.booleans(), and_back=st.sampled_from([True, True, False])
    )
    def the_flag_is_flipped_on_the_way(self, name: str, steps: int, by_app: bool, and_back: bool) -> None:
        self.go_on_rightly(name, steps, by_app)
        self.flip_the_flag()
        self.go_on_rightly(name, 4, by_app)
        if and_back:
            self.flip_the_flag()

    # What must be so

    def look(self, name: str) -> None:
        """Where the browser is, and that it may be there."""
        browser = self.browsers[name]
        for cookie, sign_in in [*self.sign_ins.items()]:
            is_ended = sign_in.claimed and SAVE in sign_in.due and not self.codes_on and cookie == browser.cookie()
            if sign_in.ends_at() <= self.now or is_ended:
                del self.sign_ins[cookie]
        here, answer = self.of(name), browser.ask("/verify", "GET")  # as any page for the signed in, and a quick one
        browser.where = leads_to(answer) or SIGNED_IN
        assert answer.status_code in (200, 303)
        if browser.where == SIGN_IN:
            assert here is None, "a sign-in was lost"
            return
        assert here, "there is no sign-in in this browser"
        is_due = {CODE: {FACTOR}, SETUP: {FACTOR}, LOST: {ANSWER}, SIGNED_IN: set()}.get(browser.where, here.due)
        assert here.due == is_due
        assert browser.where != PROMPT or SAVE in here.due
        assert browser.where != CODE or self.secret
        assert browser.where != SETUP or not self.secret
        here.seen_at = self.now
        if name == "attacker":
            assert here.due == {FACTOR}

    @invariant()
    def every_browser_is_where_its_sign_in_may_be(self) -> None:
        for name in self.browsers:
            self.look(name)

    def teardown(self) -> None:
        for browser in self.browsers.values():
            assert (browser.ask(SIGNED_IN, "GET").status_code == 200) == (browser.where == SIGNED_IN)

    @invariant()
    def one_code_is_saved_and_a_session_shows_one(self) -> None:
        live, is_saved = RecoveryCode.retired_at.is_null(), RecoveryCode.saved_at.is_null(False)
        assert count(self.app, RecoveryCode, live, is_saved) == bool(self.saved) + 1, "one is the other person's"
        with self.app.app_context():
            unsaved = RecoveryCode.select(RecoveryCode.session, RecoveryCode.sealed_code).where(~is_saved).tuples()
            shown = [session for session, sealed in unsaved if sealed or session]
        assert len(shown) == len({*shown} - {None})


@on_sqlite  # long, and about the pages
def test_a_browser_is_signed_in_only_by_what_was_proven_in_its_sign_in(app, clock, make_person, caplog) -> None:
    caplog.set_level("ERROR", "sparekey.events")
    reached: Counter[str] = Counter()
    for number in range(6):  # of few sequences each: one run's examples are variations of each other
        run_state_machine_as_test(
            seed(number)(lambda: Sequences(app, clock, make_person, reached)),
            settings=settings(
                max_examples=10,
                stateful_step_count=30,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
    print(dict(reached))
    assert len(reached) == 8, "every way was gone"
