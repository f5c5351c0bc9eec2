"""What holds for the whole code base: which way imports point, who may open what, and what no template does."""

import ast
import re

import pytest
from flask import Flask
from werkzeug.exceptions import MethodNotAllowed

from blueprints import forms
from models import TABLES
from tests.support.apps import ROOT
from tests.support.tables import known_of

OURS = {
    "app",
    "settings",
    "database",
    "statements",
    "models",
    "roster",
    "mail",
    "authn",
    "flows",
    "blueprints",
    "tests",
    "benchmarks",
}
FLASK = {"flask", "flask_login", "flask_wtf", "wtforms", "werkzeug", "jinja2", "click"}
PEEWEE = {"peewee", "playhouse", "sqlite3", "psycopg"}
CLOCKS = {"time", "datetime"}


def found(*patterns: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern))


MODULES = found("*.py", "authn/**/*.py", "flows/**/*.py", "blueprints/**/*.py")
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
        ("database.py", {"authn"}, FLASK),
        ("statements.py", {"database"}, FLASK),
        ("models.py", {"authn", "database", "statements"}, FLASK),
        ("roster.py", {"authn", "models"}, FLASK),
        ("flows/", {"authn", "database", "statements", "models", "flows"}, FLASK),
        ("blueprints/", {"authn", "database", "models", "roster", "flows", "blueprints"}, PEEWEE | {"passlib"}),
    ],
)
def test_imports_point_one_way(where: str, of_ours: set[str], never: set[str]) -> None:
    wrong = {
        module: roots(imports_of(module)) & (OURS - of_ours | never) for module in MODULES if module.startswith(where)
    }
    assert wrong
    assert not any(wrong.values()), wrong


FLOWS = [  # each imports from the floors above it
    {"transactions"},
    {"audit"},
    {"throttle"},
    {"passwords", "codes"},
    {"sweep"},
    {"sessions"},
    {"second_factor", "security_keys", "enrollment"},
    {"recovery"},
    {"people", "keys", "demo", "forgot", "apps"},
]


def test_flows_import_only_what_lies_below_them() -> None:
    assert {f"flows/{name}.py" for floor in FLOWS for name in floor} == {*found("flows/*.py")} - {"flows/__init__.py"}
    for height, floor in enumerate(FLOWS):
        below = {f"flows.{name}" for lower in FLOWS[:height] for name in lower}
        for name in floor:
            modules = {each for each in imports_of(f"flows/{name}.py") if re.fullmatch(r"flows\.[a-z_]+", each)}
            assert modules <= below, name


def test_views_share_only_rooms_without_pages() -> None:
    pages = {module[:-3].replace("/", ".") for module in MODULES if module.startswith("blueprints/")}
    shared = {
        f"blueprints.{name}" for name in ("access", "session", "known_browser", "paths", "forms", "messages", "cli")
    }
    assert shared < pages
    for module in pages:
        assert imports_of(module.replace(".", "/") + ".py") & pages <= shared, module


def test_only_one_module_uses_flasks_session() -> None:
    def uses_session(module: str) -> bool:
        attributes = (node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Attribute))
        spelled_out = any(node.attr == "session" and ast.unparse(node.value) == "flask" for node in attributes)
        return spelled_out or not imports_of(module).isdisjoint({"flask.session", "flask.sessions", "flask.*"})

    assert [module for module in MODULES if uses_session(module)] == ["blueprints/session.py"]


def test_only_flows_write() -> None:
    verbs = {"atomic", "create", "delete", "delete_instance", "execute", "execute_sql", "insert", "save", "update"}

    def writes(module: str) -> bool:
        calls = (node.func for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call))
        named = (func for func in calls if isinstance(func, ast.Attribute) and func.attr in verbs)
        return any(not ast.unparse(func).startswith(("app.config.", "app.jinja_env.", "hmac.")) for func in named)

    writing = {module for module in MODULES if writes(module)}
    assert {module for module in writing if not module.startswith("flows/")} == {"database.py", "statements.py"}
    assert "flows/sessions.py" in writing


def lines_of(module: str) -> int:
    return len((ROOT / module).read_text().splitlines())


def test_every_room_is_small_and_every_function_is_short() -> None:
    assert lines_of("models.py") < 450
    assert {module: lines_of(module) for module in found("flows/*.py") if lines_of(module) >= 200} == {}
    functions = [
        (module, node) for module in MODULES for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef)
    ]
    lengths = {f"{module}:{node.name}": (node.end_lineno or 0) - node.lineno + 1 for module, node in functions}
    assert {name: length for name, length in lengths.items() if length > 30} == {}
    assert len(lengths) > 200


def test_nobody_is_asked_for_hints_or_answers_to_questions() -> None:
    columns = {column.name for table in TABLES for column in known_of(table).sorted_fields}
    fields = {name for form in vars(forms).values() if isinstance(form, type) for name in vars(form)}
    assert {"password_hash"} <= columns
    assert {"password", "new_password"} <= fields
    assert not re.findall("hint|question|maiden", " ".join(columns | fields))


@pytest.mark.parametrize("module", [*MODULES, *found("migrations/*.py")])
def test_every_module_says_what_it_is_for(module: str) -> None:
    assert re.fullmatch(r"[A-Z].*[.)]", ast.get_docstring(tree_of(module)) or "", re.DOTALL)


def test_tests_reach_into_nothing_private_but_in_one_place() -> None:
    def private_names(module: str) -> set[str]:
        attributes = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Attribute)]
        theirs = [node for node in attributes if getattr(node.value, "id", "") not in ("self", "cls")]
        return {node.attr for node in theirs if re.match("_[a-z]", node.attr)}

    found_there = {module: names for module in found("tests/**/*.py") if (names := private_names(module))}
    assert found_there == {"tests/support/tables.py": {"_meta"}}


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
        ("/login/key", "GET POST", "security_keys.challenge"),
        ("/account/keys/new", "GET POST", "security_keys.add"),
        ("/account/keys/7/remove", "POST", "security_keys.remove"),
        ("/account/only-key", "POST", "security_keys.only_key"),
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
        ("/admin/people/7/groups", "GET POST", "admin.groups"),
        ("/admin/people/new", "GET POST", "admin.new_people"),
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
