"""Pages of one's own, registered after create_app has returned: who may open them, where they lead, what they say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask import Blueprint, Flask, Response, abort, flash, render_template_string, request, session

from blueprints import access
from blueprints.paths import home
from tests.support.forms import bare
from tests.support.pages import Browser, Page, csrf, post
from tests.support.people import PASSWORD, Clock, Person, give_password, sign_in, step_up

Make = Callable[..., Flask]
POLICY = "default-src 'self'"
PAGE = '{% extends "base.html" %}{% set title = "Notices" %}{% block main %}<h1>Notices</h1>{% endblock %}'


def board(folder: Path) -> Blueprint:
    """What a Flask developer adds, with static files in this folder."""
    (folder / "pin.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    bp = Blueprint("board", __name__, url_prefix="/board", static_folder=folder)

    @bp.route("/", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def notices() -> str:
        return render_template_string(PAGE) if request.method == "GET" else "done"

    @bp.get("/about")
    @access.public
    def about() -> str:
        return render_template_string(PAGE)

    @bp.get("/with/<word>")
    def word(word: str) -> Response:
        return Response(word, mimetype="text/plain")

    @bp.route("/safe/<word>", methods=["GET", "POST"])
    @access.step_up_required
    def safe(word: str) -> Response:
        return Response(word, mimetype="text/plain")

    @bp.get("/never")
    def never() -> str:
        abort(403)

    @bp.get("/kept")
    def kept() -> Response:
        answer = Response("kept", mimetype="text/plain")
        answer.headers.update({"Content-Security-Policy": POLICY, "Cache-Control": "private, max-age=60"})
        return answer

    @bp.post("/upload")
    def upload() -> Response:
        return Response(str(len(request.form["text"])), mimetype="text/plain")

    return bp


@pytest.fixture
def own_app(make_app: Make, tmp_path: Path) -> Callable[..., Flask]:
    def make(**config: Any) -> Flask:
        app = make_app("own" if config else "test", RECOVERY_CODES_ENABLED=True, **config)
        (tmp_path / "static").mkdir(exist_ok=True)
        app.register_blueprint(board(tmp_path / "static"))
        return app

    return make


@pytest.fixture
def app(own_app: Callable[..., Flask]) -> Flask:
    return own_app()


# Who may open them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
def test_a_page_that_is_added_is_closed_whatever_the_method(browser: Browser, omar: Person, method: str) -> None:

    def ask(page: Page) -> Any:
        needs_token = method not in ("GET", "HEAD", "OPTIONS")
        return bare(browser, "/board/", method, data=csrf(page) if needs_token else None)

    answer = ask(browser.get("/login"))
    assert (answer.status_code, urlsplit(answer.location).path) == (303, "/login")
    half_way = give_password(browser, omar)
    assert ask(half_way).location == "/login/code"
    assert ask(browser.submit(half_way, code=omar.code())).status_code == 200


def test_a_page_that_says_public_opens_to_all(browser: Browser) -> None:
    assert browser.open("/board/about").h1 == "Notices"


def test_the_files_of_a_blueprint_are_open_and_a_view_with_their_name_is_not(app: Flask, browser: Browser) -> None:
    other = Blueprint("other", __name__, url_prefix="/other")
    other.add_url_rule("/secret", "static", lambda: "a secret")
    app.register_blueprint(other)
    nested = Blueprint("nested", __name__, url_prefix="/nested")
    nested.register_blueprint(board(Path(str(app.blueprints["board"].static_folder))))
    app.register_blueprint(nested)
    for path in ("/board/static/pin.svg", "/nested/board/static/pin.svg"):
        answer = bare(browser, path, "GET")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")
    missing = bare(browser, "/board/static/nothing.svg", "GET")
    assert (missing.status_code, missing.headers["Cache-Control"]) == (404, "no-store")
    assert browser.get("/other/secret").path == "/login"


def test_who_may_not_open_a_page_is_told_as_whom_they_are_signed_in(browser: Browser, omar: Person) -> None:
    sign_in(browser, omar)
    page = browser.open("/board/never")
    assert (page.status, page.h1) == (403, "You can't open this page")
    assert "You're signed in as omar@example.com, who may not open it." in page.text


def test_a_public_page_may_ask_who_is_there_whoever_opens_it(app: Flask, browser: Browser, omar: Person) -> None:
    asks = "{{ current_user.email }} {{ current_user.is_admin }} {{ current_user.is_in('people') }}"
    app.add_url_rule("/who", "who", access.public(lambda: render_template_string(asks)))

    def answer() -> str:
        return str(bare(browser, "/who", "GET").text)

    assert answer() == " False False"
    page = give_password(browser, omar)
    assert answer() == " False False", "not before the second factor"
    browser.submit(page, code=omar.code())
    assert answer() == "omar@example.com False True"


@pytest.mark.parametrize("public_first", [True, False])
def test_a_page_that_is_public_and_asks_who_one_is_never_opens(
    app: Flask, browser: Browser, omar: Person, public_first: bool
) -> None:
    marks = [access.public, access.step_up_required]
    outer, inner = marks if public_first else reversed(marks)
    app.add_url_rule("/both", "both", outer(inner(lambda: "both")))
    app.add_url_rule("/one", "one", access.step_up_required(lambda: "one"))

    def statuses() -> list[int]:
        return [bare(browser, path, "GET").status_code for path in ("/both", "/one")]

    assert statuses() == [403, 303]
    give_password(browser, omar)
    assert statuses() == [403, 303]
    browser.submit("/login/code", code=omar.code())
    assert statuses() == [403, 200]


# Scripts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["cors", "no-cors", "same-origin", "websocket", "anything"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_script_of_somebody_not_signed_in_gets_an_empty_401(
    browser: Browser, omar: Person, mode: str, method: str
) -> None:
    """A POST too, whose token is the second thing that is wrong; and at each step before the last."""
    script = {"headers": {"Sec-Fetch-Mode": mode}}

    def asks(path: str, **kwargs: Any) -> Any:
        return bare(browser, path, method, **script, **kwargs)

    for path in ("/board/", "/account/recovery-code", "/login/recovery"):
        answer = asks(path)
        assert (answer.status_code, answer.data, answer.headers["Cache-Control"]) == (401, b"", "no-store"), path
        assert "Location" not in answer.headers
    page = give_password(browser, omar)
    assert asks("/board/", data=csrf(page)).status_code == 401
    assert asks("/login/code", data=csrf(page)).status_code == (200 if method == "GET" else 422)
    page = browser.submit(page, code=omar.code())
    assert asks("/board/", data=csrf(page)).status_code == 200


def test_a_script_is_let_through_to_what_is_public_and_a_navigation_is_led_to_the_sign_in(browser: Browser) -> None:
    for path in ("/board/about", "/board/static/pin.svg", "/login", "/static/app.css", "/healthz"):
        assert bare(browser, path, "GET", headers={"Sec-Fetch-Mode": "cors"}).status_code == 200, path
    assert bare(browser, "/nowhere", "GET", headers={"Sec-Fetch-Mode": "cors"}).status_code == 404
    for headers in ({"Sec-Fetch-Mode": "navigate"}, {}):
        assert bare(browser, "/board/", "GET", headers=headers).status_code == 303


# Where the sign-in leads ----------------------------------------------------------------------------------------------


def to(page: Page) -> str:
    assert page.status == 303
    return str(page.headers["Location"])


def end_of_sign_in(browser: Browser, person: Person, wanted: str = "") -> Page:
    page = give_password(browser, person, urlencode({"": wanted})[1:])
    return browser.send(page, {"code": person.code()})


def test_home_is_where_the_sign_in_and_the_brand_lead(own_app: Callable[..., Flask], make_person: Any) -> None:
    app = own_app(HOME="/board/")
    omar, browser = make_person("omar@example.com", on=app), Browser(app)
    assert browser.get("/").path == "/login"
    assert to(end_of_sign_in(browser, omar)) == "/board/"
    assert to(browser.open("/")) == to(browser.open("/login")) == to(browser.open("/login/code")) == "/board/"
    brand = next(link for link in browser.open("/account").all("a") if link.get("class") == "brand")
    assert browser.get(str(brand.get("href"))).path == "/board/"


def test_a_page_that_was_asked_for_comes_before_home(own_app: Callable[..., Flask], make_person: Any) -> None:
    app = own_app(HOME="/board/")
    assert to(end_of_sign_in(Browser(app), make_person("omar@example.com", on=app), "/account")) == "/account"


def test_what_is_about_the_account_goes_on_leading_there(
    own_app: Callable[..., Flask], make_person: Any, clock: Clock
) -> None:
    app = own_app(HOME="/board/")
    omar, browser = make_person("omar@example.com", on=app), Browser(app)
    end_of_sign_in(browser, omar, "/board/about")
    page = browser.press(browser.get("/account/recovery-code"), "Make a new code")
    assert browser.submit(page, saved="yes").path == "/account"
    page = browser.get("/account")
    assert browser.press(page, "Sign out everywhere else").path == "/account"
    clock.pass_by(30)
    assert step_up(browser, omar.code()).path == "/account"
    page = browser.submit("/account/password", current_password=PASSWORD, new_password="three herons and a lighthouse")
    assert page.path == "/account"


@pytest.mark.parametrize("home", ["/board", "/board/", "/board/with/caf%C3%A9", "/board/about?x=1#y"])
def test_home_is_any_page_that_a_get_opens(own_app: Callable[..., Flask], make_person: Any, home: str) -> None:
    app = own_app(HOME=home)
    browser = Browser(app)
    page = end_of_sign_in(browser, make_person("omar@example.com", on=app))
    assert to(page) == home
    answer = browser.open(home)
    assert answer.status in (200, 308)


@pytest.mark.parametrize(
    "home",
    [
        *("/nowhere", "/", "/login", "/login/code", "/verify", "/mfa/setup", "/mfa/recovery-code", "/mfa/lost-device"),
        *("/logout", "/welcome/x", "/board/upload", "/static/app.css", "/board/static/pin.svg", "/%61ccount"),
    ],
)
def test_a_home_that_is_no_page_counts_as_the_account_page(
    own_app: Callable[..., Flask], make_person: Any, home: str
) -> None:
    app = own_app(HOME=home)
    browser = Browser(app)
    assert to(end_of_sign_in(browser, make_person("omar@example.com", on=app))) == "/account"
    assert browser.get("/").path == "/account"


def test_a_forgotten_password_is_no_home(make_app: Make) -> None:
    app = make_app(HOME="/forgot", MAIL_URL="smtp://127.0.0.1")
    assert Browser(app).open("/forgot").status == 200
    with app.test_request_context():
        assert home() == "/account"


@pytest.mark.parametrize(
    ("asked_for", "kept"),
    [
        ("/board/with/caf\u00e9?a=1&b=%C3%A9%26", "/board/with/caf%C3%A9?a=1&b=%C3%A9%26"),
        ("/board/with/a%20b%3Fc", "/board/with/a%20b%3Fc"),
        ("/board/with/100%25", "/board/with/100%25"),
        ("/board/with/%25C3%25A9", "/board/with/%25C3%25A9"),
        ("/board/with/it's", "/board/with/it's"),
    ],
)
def test_the_page_that_was_asked_for_is_kept_with_its_query_and_in_percent_encoded_form(
    browser: Browser, omar: Person, clock: Clock, asked_for: str, kept: str
) -> None:
    """Over the sign-in, and over "Confirm it's you"."""
    page = browser.get(asked_for)
    assert parse_qs(urlsplit(page.url).query)["next"] == [kept]
    page = browser.submit(page, email=omar.email, password=PASSWORD)
    page = browser.send(page, {"code": omar.code()})
    assert to(page) == kept
    shown = browser.follow(page)
    assert shown.status == 200
    clock.pass_by(600)
    safe = kept.replace("/with/", "/safe/")
    page = browser.send(browser.get(safe), {"password": PASSWORD, "code": omar.code()})
    assert to(page) == safe
    assert browser.follow(page).raw == shown.raw


def test_a_form_that_asks_who_you_are_leads_back_to_its_page_with_the_query(
    browser: Browser, omar: Person, clock: Clock
) -> None:
    token = csrf(sign_in(browser, omar))
    clock.pass_by(600)
    came_from = "http://localhost/board/with/caf%C3%A9?a=%26&notice=welcome"
    answer = browser.open("/board/safe/x?y=1", "POST", data=token, headers={"Referer": came_from})
    assert parse_qs(urlsplit(to(answer)).query) == {"next": ["/board/with/caf%C3%A9?a=%26"]}
    answer = browser.open("/board/safe/x?y=1", "POST", data=token)
    assert parse_qs(urlsplit(to(answer)).query) == {"next": ["/board/safe/x?y=1"]}


@pytest.mark.parametrize(
    "odd", ["/board/with/%2e%2e", "/board/with/%5Cevil.test", "/board/with/%0A", "/board/with/%41", "/board/with/%ff"]
)
def test_a_page_in_another_than_the_usual_form_is_not_kept(browser: Browser, omar: Person, odd: str) -> None:
    assert to(end_of_sign_in(browser, omar, odd)) == "/account"


# What they say --------------------------------------------------------------------------------------------------------


def test_what_a_view_says_of_its_answer_counts(browser: Browser, omar: Person) -> None:
    sign_in(browser, omar)
    answer = browser.open("/board/kept")
    assert answer.headers.getlist("Content-Security-Policy") == [POLICY]
    assert answer.headers.getlist("Cache-Control") == ["private, max-age=60"]
    assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    silent = browser.open("/board/with/x")
    assert silent.headers.getlist("Cache-Control") == ["no-store"]
    assert silent.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_no_answer_of_ours_is_kept_whatever_is_said_for_all(app: Flask, omar: Person, clock: Clock) -> None:
    """Nor one in place of a page of one's own: a browser that kept the way to the sign-in would go in circles."""

    def keep(answer: Response) -> Response:
        answer.headers["Cache-Control"] = "public, max-age=3600"
        return answer

    app.after_request(keep)
    app.after_request_funcs["board"] = [keep]
    browser = Browser(app)
    assert browser.open("/board/about").headers["Cache-Control"] == "public, max-age=3600"
    script = bare(browser, "/board/", "GET", headers={"Sec-Fetch-Mode": "cors"})
    assert (script.status_code, script.headers["Cache-Control"]) == (401, "no-store")
    answers = [browser.open(path) for path in ("/board/", "/login", "/nowhere")]
    answers += [browser.open("/board/", "POST"), sign_in(browser, omar)]
    answers += [browser.open(path) for path in ("/account", "/board/never", "/admin/people")]
    clock.pass_by(600)
    answers.append(browser.open("/board/safe/x"))
    assert [answer.status for answer in answers] == [303, 200, 404, 400, 200, 200, 403, 403, 303]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_an_answer_that_brings_the_cookie_is_kept_by_nobody(app: Flask, browser: Browser, omar: Person) -> None:
    def greet(word: str) -> Response:
        if word == "new":
            flash("A notice, which goes into the cookie.")
        if word == "for long":
            session.permanent = True
        return Response(word, mimetype="text/plain", headers={"Cache-Control": "public, max-age=3600"})

    app.add_url_rule("/greet/<word>", "greet", greet)
    sign_in(browser, omar)
    assert bare(browser, "/greet/old", "GET").headers["Cache-Control"] == "public, max-age=3600"
    for word in ("new", "for long", "old"):  # the last because Flask refreshes what is permanent
        answer = bare(browser, f"/greet/{word}", "GET")
        assert answer.headers["Set-Cookie"].startswith("session=")
        assert answer.headers.getlist("Cache-Control") == ["no-store"]


def test_more_may_be_sent_to_a_page_of_ones_own_and_no_more_to_ours(own_app: Any, make_person: Any) -> None:
    app = own_app(MAX_CONTENT_LENGTH=200_000)
    browser = Browser(app)
    token = csrf(sign_in(browser, make_person("omar@example.com", on=app)))
    assert post(browser, "/board/upload", token, text="x" * 150_000).text == "150000"
    assert post(browser, "/board/upload", token, text="x" * 250_000).status == 413
    assert post(browser, "/account/password", token, new_password="x" * 70_000).status == 413
    assert post(browser, "/account/password", token, new_password="x" * 60_000).status == 422


# Templates ------------------------------------------------------------------------------------------------------------


def test_templates_of_ones_own_come_before_ours(own_app: Any, make_person: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (first / "nav.html").write_text('{{ nav_link("board.notices", "Notices for " ~ current_user.email) }}')
    (first / "head.html").write_text('<meta name="theme-color" content="#0e5a4b">')
    (first / "errors").mkdir()
    page = '{% extends "base.html" %}{% block main %}<h1>Lost at sea</h1>{% endblock %}'
    (first / "errors" / "status.html").write_text(page)
    (second / "head.html").write_text("<title>never</title>")
    (second / "account").mkdir()
    (second / "account" / "activity.html").write_text(page)
    app = own_app(TEMPLATES=f"{first}:{second}")
    browser = Browser(app)
    stranger = browser.open("/login")
    assert (stranger.by_id("email") is not None, "theme-color" in stranger.raw, stranger.all("nav")) == (True, True, [])
    assert browser.open("/nowhere").h1 == "Lost at sea"
    sign_in(browser, make_person("omar@example.com", on=app))
    assert browser.open("/account/activity").h1 == "Lost at sea"
    page = browser.open("/board/")
    (link,) = [link for link in page.all("a") if link.get("aria-current")]
    assert (link.get("href"), link.text) == ("/board/", "Notices for omar@example.com")
    assert "theme-color" in page.raw
