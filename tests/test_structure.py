"""What holds for the whole code base: which way imports point, who may open what, and what no template does."""

import ast
import re
from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.exceptions import MethodNotAllowed

from blueprints import forms
from models import TABLES
from tests.support.apps import ROOT
from tests.support.pages import Browser, Page
from tests.support.people import Person, give_password, save_new_code, sign_in
from tests.support.routes import PUBLIC, ask, requests_to

pytestmark = pytest.mark.pages

Make = Callable[..., Flask]
OURS = {"app", "settings", "store", "models", "authn", "blueprints", "migrations", "tests", "benchmarks"}
FLASK = {"flask", "flask_login", "flask_wtf", "wtforms", "werkzeug", "jinja2", "click"}
PEEWEE = {"peewee", "playhouse", "sqlite3", "psycopg"}
CLOCKS = {"time", "datetime"}


def found(*patterns: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern))


MODULES = found("*.py", "authn/**/*.py", "blueprints/**/*.py")
TEMPLATES = found("templates/**/*.*")


# Modules --------------------------------------------------------------------------------------------------------------


def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def imports_of(module: str) -> set[str]:
    """Every dotted name the module imports, wherever in it: for `from a import b` both a and a.b."""
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports by dots"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    ("where", "of_ours", "never"),
    [
        ("authn/", {"authn"}, FLASK | PEEWEE | CLOCKS),
        ("settings.py", {"authn"}, PEEWEE),
        ("store.py", {"authn"}, FLASK),
        ("models.py", {"authn", "store"}, FLASK),
        ("blueprints/", {"authn", "models", "settings", "store", "blueprints"}, PEEWEE | {"passlib"}),
    ],
)
def test_imports_point_one_way(where: str, of_ours: set[str], never: set[str]) -> None:
    wrong = {
        module: roots(imports_of(module)) & (OURS - of_ours | never) for module in MODULES if module.startswith(where)
    }
    assert wrong
    assert not any(wrong.values()), wrong


def test_the_modules_of_pages_share_only_the_sign_in_the_forms_and_the_words() -> None:
    pages = {module[:-3].replace("/", ".") for module in MODULES if module.startswith("blueprints/")}
    shared = {"blueprints.signin", "blueprints.forms", "blueprints.words"}
    assert shared < pages
    for module in pages:
        assert imports_of(module.replace(".", "/") + ".py") & pages <= shared, module


def test_only_the_sign_in_sequence_uses_flasks_session() -> None:
    def uses_session(module: str) -> bool:
        attributes = (node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Attribute))
        spelled_out = any(node.attr == "session" and ast.unparse(node.value) == "flask" for node in attributes)
        return spelled_out or not imports_of(module).isdisjoint({"flask.session", "flask.sessions", "flask.*"})

    assert [module for module in MODULES if uses_session(module)] == ["blueprints/signin.py"]


def test_only_the_models_write() -> None:
    verbs = {"atomic", "create", "delete_instance", "execute", "execute_sql", "insert", "insert_many", "save"}

    def writes(module: str) -> bool:
        calls = (node.func for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call))
        return any(isinstance(func, ast.Attribute) and func.attr in verbs for func in calls)

    assert [module for module in MODULES if writes(module)] == ["models.py", "store.py"]  # store.py: for migrations


def test_nobody_is_asked_for_hints_or_answers_to_questions() -> None:  # PW-10
    columns = {column.name for table in TABLES for column in table._meta.sorted_fields}
    fields = {name for form in vars(forms).values() if isinstance(form, type) for name in vars(form)}
    assert {"password_hash"} <= columns
    assert {"password", "new_password"} <= fields
    assert not re.findall("hint|question|maiden", " ".join(columns | fields))


@pytest.mark.parametrize("module", [*MODULES, *found("migrations/*.py")])
def test_every_module_says_what_it_is_for(module: str) -> None:
    assert re.fullmatch(r"[A-Z].*[.)]", ast.get_docstring(tree_of(module)) or "", re.DOTALL)


def test_no_test_module_imports_another() -> None:
    tests = found("tests/**/*.py")
    support = {module[:-3].replace("/", ".") for module in tests if module.startswith("tests/support/")}
    modules = {module[:-3].replace("/", ".") for module in tests} - support
    assert "tests.test_structure" in modules
    assert {module: shared for module in tests if (shared := imports_of(module) & modules)} == {}


# Templates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_template_reads_the_configuration_or_styles_or_scripts_by_itself(template: str) -> None:
    text = (ROOT / template).read_text()
    inline = r"\bconfig\b|<style|\sstyle\s*=|<script(?![^>]*\ssrc=)|\son[a-z]+\s*=|javascript:"
    assert re.findall(inline, text, re.IGNORECASE) == []


# Pages ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "methods", "endpoint"),
    [
        ("/", "GET", "login.start"),
        ("/login", "GET POST", "login.password"),
        ("/login/code", "GET POST", "login.code"),
        ("/login/recovery", "GET POST", "recovery.challenge"),
        ("/logout", "POST", "login.sign_out"),
        ("/mfa/setup", "GET POST", "enrollment.setup"),
        ("/mfa/recovery-code", "GET POST", "recovery.prompt"),
        ("/mfa/recovery-code.txt", "GET", "recovery.download"),
        ("/mfa/lost-device", "GET POST", "recovery.lost_device"),
        ("/account", "GET", "account.overview"),
        ("/account/recovery-code", "GET POST", "account.new_recovery_code"),
        ("/verify", "GET POST", "login.verify"),
        ("/account/password", "GET POST", "account.password"),
        ("/account/sessions/7/revoke", "POST", "account.revoke_session"),
        ("/account/sessions/revoke-others", "POST", "account.revoke_others"),
        ("/welcome/a-token", "GET POST", "account.welcome"),
        ("/admin/people", "GET", "admin.people"),
        ("/admin/people/7/reset-mfa", "GET POST", "admin.reset_mfa"),
        ("/admin/people/7/invite", "POST", "admin.invite"),
        ("/admin/people/7/unlock", "POST", "admin.change"),
        ("/admin/people/7/activate", "POST", "admin.change"),
        ("/admin/people/7/deactivate", "POST", "admin.change"),
        ("/admin/settings", "GET", "admin.settings"),
        ("/admin/audit", "GET", "admin.audit"),
        ("/healthz", "GET", "healthz"),
    ],
)
def test_every_page_has_its_address_and_its_name(app: Flask, path: str, methods: str, endpoint: str) -> None:
    urls = app.url_map.bind("localhost")
    for method in ("GET", "POST"):
        if method in methods.split():
            assert urls.match(path, method)[0] == endpoint
        else:
            with pytest.raises(MethodNotAllowed):
                urls.match(path, method)


@pytest.mark.parametrize("demo", [False, True], ids=["not a demo", "demo"])
def test_a_stranger_may_open_only_the_public_pages(make_app: Make, demo: bool) -> None:
    app = make_app(DEMO=demo, RECOVERY_CODES_ENABLED=True)
    open_to_all = {}
    for endpoint, path, method in requests_to(app):
        answer = ask(Browser(app), path, method)
        assert answer.status in (200, 303, 404 if endpoint == "account.welcome" else 422), (endpoint, method)
        if not answer.headers.get("Location", "").startswith("/login?notice=needed"):
            open_to_all[endpoint] = path
    assert open_to_all == PUBLIC | ({"demo.phone": "/demo/phone"} if demo else {})


# Where an unfinished sign-in can be, and the page that is due there. "after no" is lost_device once the person has
# answered that the old app is gone.
DUE = {
    "challenge": "/login/code",
    "enroll": "/mfa/setup",
    "save_code": "/mfa/recovery-code",
    "lost_device": "/mfa/lost-device",
    "after no": "/mfa/lost-device",
}
MAY_OPEN: dict[str, set[str]] = {
    **{endpoint: set(DUE) for endpoint in (*PUBLIC, "demo.phone", "login.sign_out")},
    "login.password": set(),
    "login.code": {"challenge"},
    "recovery.challenge": {"challenge"},
    "enrollment.setup": {"enroll", "after no"},
    "recovery.prompt": {"save_code"},
    "recovery.download": {"save_code"},
    "recovery.finish_without_code": set(),  # see FINISH
    "recovery.lost_device": {"lost_device", "after no"},
    "login.verify": set(),
    "account.overview": set(),
    "account.activity": set(),
    "account.dismiss_recovery_notice": set(),
    "account.password": set(),
    "account.new_recovery_code": set(),
    "account.revoke_session": set(),
    "account.revoke_others": set(),
    "admin.people": set(),
    "admin.reset_mfa": set(),
    "admin.invite": set(),
    "admin.change": set(),
    "admin.settings": set(),
    "admin.switch_recovery_codes": set(),
    "admin.audit": set(),
}
NEED_CODES = {"recovery.challenge", "recovery.prompt", "recovery.download", "account.new_recovery_code"}
FINISH = ("recovery.finish_without_code", "save_code")  # opens when codes are turned off in the middle
SAID_ELSEWHERE = {"login.start": "/account", "login.sign_out": "/login?notice=signed-out", FINISH[0]: "/account"}


@pytest.fixture
def walked(make_app: Make) -> Flask:
    return make_app("walked", DEMO=True, RECOVERY_CODES_ENABLED=True)


@pytest.fixture
def arrive(walked: Flask, make_person: Callable[..., Person]) -> Callable[[str], Browser]:
    """A browser of somebody new whose sign-in has come to this place."""
    emails = (f"person{number}@example.com" for number in range(1000))

    def arrive(place: str) -> Browser:
        browser = Browser(walked)
        has_code = place not in ("enroll", "save_code")
        person = make_person(next(emails), enrolled=place != "enroll", code=has_code, on=walked)
        page = give_password(browser, person)
        if place == "save_code":
            page = browser.submit(page, code=person.code())
        elif place in ("lost_device", "after no"):
            page = save_new_code(browser, browser.submit("/login/recovery", recovery_code=person.recovery_code), person)
        assert page.path == DUE[place]
        if place == "after no":
            assert browser.submit(page, still_have="no").path == "/mfa/setup"
        return browser

    return arrive


def outcome(answer: Page, endpoint: str, due: str) -> str:
    if answer.status == 403:
        return "off"
    if answer.status != 303:
        opened = answer.status in (200, 404 if endpoint == "account.welcome" else 422)
        return "open" if opened else str(answer.status)
    to = answer.headers["Location"]
    return "due" if to == due else "open" if to == SAID_ELSEWHERE.get(endpoint) else to


@pytest.mark.parametrize("codes_on", [True, False], ids=["codes on", "codes turned off"])
@pytest.mark.parametrize("place", DUE)
def test_an_unfinished_sign_in_may_open_only_what_its_step_needs(
    walked: Flask, arrive: Callable[[str], Browser], place: str, codes_on: bool
) -> None:
    def there() -> Browser:
        walked.config["RECOVERY_CODES_ENABLED"] = True
        browser = arrive(place)
        walked.config["RECOVERY_CODES_ENABLED"] = codes_on
        return browser

    def expected(endpoint: str) -> str:
        if endpoint in NEED_CODES and not codes_on:
            return "off"
        may_open = place in MAY_OPEN[endpoint] or (not codes_on and (endpoint, place) == FINISH)
        return "open" if may_open else "due"

    visitor, wrong = there(), []
    for endpoint, path, method in requests_to(walked):
        goes_on = method == "POST" and expected(endpoint) == "open"  # all others leave the sign-in where it is
        answer = ask(there() if goes_on else visitor, path, method)
        if (seen := outcome(answer, endpoint, DUE[place])) != expected(endpoint):
            wrong.append((method, path, seen))
    assert wrong == []


def test_every_page_is_in_the_table_of_what_a_step_may_open(walked: Flask) -> None:
    assert {rule.endpoint for rule in walked.url_map.iter_rules()} == set(MAY_OPEN)


@pytest.mark.parametrize("place", [*DUE, "signed in"])
def test_no_page_that_is_served_styles_or_scripts_by_itself(
    walked: Flask, arrive: Callable[[str], Browser], make_person: Callable[..., Person], place: str
) -> None:
    if place == "signed in":
        browser = Browser(walked)
        sign_in(browser, make_person("ines@example.com", admin=True, on=walked))
    else:
        browser = arrive(place)
    pages = [browser.get(path, buffered=True) for _, path, method in requests_to(walked) if method == "GET"]
    assert any(page.path == DUE.get(place, "/account") for page in pages)
    for element in (element for page in pages for element in page.tree.iter()):
        assert element.tag != "style"
        assert element.tag != "script" or (element.get("src", "").startswith("/static/") and not element.text)
        assert [name for name in element.attrib if name == "style" or name.startswith("on")] == []
