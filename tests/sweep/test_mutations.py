"""Each defence is taken out of a copy of the source, and the tests of its subject must notice."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mutations import (
    Mutation,
    added,
    always,
    dropped,
    handled,
    instead,
    mutate,
    never,
    unasked,
    undecorated,
    unsaid,
    without,
)

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".*", "instance", "*.pyc.*")  # the last are being written
SECONDS = 300

CODE, RECOVERY, ENROLL = "flows/second_factor.py", "flows/recovery.py", "flows/enrollment.py"
SESSIONS, THROTTLE, PEOPLE, CODES = "flows/sessions.py", "flows/throttle.py", "flows/people.py", "flows/codes.py"
SESSION, ACCESS, PATHS, BROWSERS = (f"blueprints/{name}.py" for name in ("session", "access", "paths", "known_browser"))

KEY_RULES, KEYS, KEY_PAGES = (f"{room}/security_keys.py" for room in ("authn", "flows", "blueprints"))
KEY_TESTS = "authn/test_security_keys security_keys"
APPS, ENTRANCE, PASSES = "blueprints/apps.py", "flows/apps.py", "authn/apps.py"

# What is gone, from where, by what edit, and the files of the quick suite whose affair it is.
MUTATIONS = [
    # Six-digit codes
    Mutation(
        "a code is taken once", "authn/totp.py:accept", instead("step in accepted", "False"), "sign_in authn/test_totp"
    ),
    Mutation(
        "nor an older one",
        "authn/totp.py:accept",
        instead("any(step < each <= newest for each in accepted)", "False"),
        "sign_in authn/test_totp",
    ),
    Mutation(
        "a used one keeps its charge",
        f"{CODE}:_accept",
        instead("UsedCode()", "charge.refund() or UsedCode()"),
        "sign_in recovery_code throttle step_up sessions",
    ),
    Mutation("step-up needs the password", f"{CODE}:step_up", never("check_password"), "step_up"),
    Mutation(
        "what no key opens lets nobody in",
        f"{CODE}:_matching_step",
        handled("Unreadable", "return context.now // 30"),
        "secrets_at_rest",
    ),
    # Recovery codes
    Mutation("one sign-in claims a code", f"{RECOVERY}:_claim_free", unasked("free"), "recovery_code"),
    Mutation("only a live one", f"{RECOVERY}:_claim_free", unasked("retired_at"), "recovery_code"),
    Mutation(
        "only one's own", f"{RECOVERY}:_claim_free", unasked("RecoveryCode", "user"), "secrets_at_rest recovery_code"
    ),
    Mutation("a claim dies with its time", f"{RECOVERY}:_claim_free", unasked("in_time"), "recovery_code"),
    Mutation("its replacement spends it", f"{RECOVERY}:save_code", never("spend"), "recovery_code"),
    Mutation("only the code that was shown", f"{RECOVERY}:save_code", unsaid("digest", "shown"), "recovery_code"),
    Mutation("only while codes are on", f"{RECOVERY}:claim", without("require_on"), "recovery_flag between_steps"),
    Mutation("also when it is saved", f"{RECOVERY}:save_code", without("require_on"), "recovery_flag between_steps"),
    Mutation(
        "a wrong one is charged",
        f"{RECOVERY}:claim",
        instead(
            "throttle.charged(RECOVERY_CODE, user.email, context)",
            "throttle.charged(RECOVERY_CODE, str(context), context)",
        ),
        "throttle recovery_code",
    ),
    Mutation("saving one retires the others", f"{CODES}:confirm", without("retire"), "recovery_flag recovery_code"),
    Mutation(
        "a digest is one person's",
        "authn/recovery_codes.py:digest",
        instead("person_id", "0"),
        "authn/test_recovery_codes",
    ),
    Mutation(
        "the box must be ticked", "blueprints/recovery.py:prompt", never("saved", "data"), "recovery_flag enrollment"
    ),
    # The flag
    Mutation(
        "the gate reads the flag", f"{ACCESS}:_answer_in_place_of", never("needs_recovery_codes"), "recovery_flag"
    ),
    Mutation(
        "nonsense counts as off",
        "models.py:recovery_codes_are_on",
        instead(
            "store().settings['RECOVERY_CODES_ENABLED'] is True", "bool(store().settings['RECOVERY_CODES_ENABLED'])"
        ),
        "recovery_flag",
    ),
    Mutation("an unfinished recovery ends with it", f"{SESSION}:_look_up", never("REPLACE_CODE"), "recovery_flag"),
    Mutation(
        "nobody skips the prompt",
        "blueprints/recovery.py:finish_without_code",
        never("recovery_codes_are_on"),
        "recovery_flag",
    ),
    # Tries
    Mutation(
        "a pause holds",
        "authn/throttle.py:Limit.check",
        never("paused_until"),
        "throttle sign_in",
    ),
    Mutation("a hundred failures stop a secret", "authn/throttle.py:Limit.check", never("is_stopped"), "throttle"),
    Mutation("a refund is one's own", f"{THROTTLE}:refund", unasked("account"), "throttle"),
    Mutation("one address has a limit", "authn/throttle.py:Window.charge", never("limit"), "throttle"),
    Mutation(
        "a right password clears no other count",
        f"{THROTTLE}:take_back",
        instead(
            "charge.refund()", "Throttle.delete().where(Throttle.account == charge.account.split(':')[1]).execute()"
        ),
        "throttle sign_in",
    ),
    Mutation("a refund is tried again", f"{THROTTLE}:take_back", handled("UNAVAILABLE", "raise"), "throttle"),
    Mutation(
        "passwords are hashed in slots",
        "authn/passwords.py:_slot",
        instead("self._order[: self._slots]", "self._order"),
        "authn/test_passwords",
    ),
    Mutation(
        "the line is bounded",
        "authn/passwords.py:__init__",
        instead("_LONGEST_LINE", "10**6"),
        "authn/test_passwords",
    ),
    Mutation(
        "one network has three places", "authn/passwords.py:queued", unsaid("has_its_share"), "authn/test_passwords"
    ),
    Mutation(
        "nobody's password costs the same",
        "authn/passwords.py:verify",
        instead("stored or self._nobody", "stored"),
        "authn/test_passwords",
    ),
    Mutation(
        "an inactive person's is wrong",
        "flows/passwords.py:_compare",
        instead("user and user.is_active", "user"),
        "people enumeration",
    ),
    # The sequence
    Mutation("signed in is the default", f"{ACCESS}:_closed_view", always("_is_public"), "steps structure"),
    Mutation("a page for a group wants the group", f"{ACCESS}:group_required", unsaid("is_in"), "groups"),
    Mutation("and is not public", f"{ACCESS}:group_required", unsaid("_is_public"), "groups"),
    Mutation("nor one for who has just proved it", f"{ACCESS}:_after_step_up", never("_is_public"), "own_pages"),
    Mutation("a step opens its own pages", f"{ACCESS}:_answer_in_place_of", never("_open_at"), "steps"),
    Mutation("a password is looked at again", f"{SESSIONS}:start", never("has_kept_password"), "between_steps"),
    Mutation(
        "a new app replaces the one it was to", f"{ENROLL}:complete", never("replaces"), "between_steps enrollment"
    ),
    Mutation("an enrollment is its session's", "models.py:open_in", unasked("session"), "enrollment"),
    Mutation("a completed one ends other sessions", f"{ENROLL}:complete", without("end_others"), "enrollment"),
    # Step-up
    Mutation(
        "for a new password", "blueprints/account.py:password", undecorated("step_up_required"), "step_up account"
    ),
    Mutation(
        "for a new code", "blueprints/account.py:new_recovery_code", undecorated("step_up_required"), "step_up account"
    ),
    Mutation(
        "for a new app",
        "blueprints/enrollment.py:setup",
        undecorated("step_up_or_recovery_required"),
        "step_up enrollment",
    ),
    Mutation("for admins", "blueprints/admin.py:change", undecorated("step_up_required"), "people step_up"),
    Mutation(
        "a recovery sign-in is none",
        f"{RECOVERY}:claim",
        added("second_factor", "verified_at=context.now"),
        "step_up recovery_code",
    ),
    # Security keys
    Mutation("a challenge is one session's", f"{KEY_RULES}:challenge", instead("token_digest", "0"), KEY_TESTS),
    Mutation("and one step's", f"{KEY_RULES}:challenge", instead("purpose", "0"), KEY_TESTS),
    Mutation("the origin is compared exactly", f"{KEY_RULES}:_server", dropped("verify_origin"), KEY_TESTS),
    Mutation("no frame of others asks", f"{KEY_RULES}:_check_client_data", unsaid("crossOrigin"), KEY_TESTS),
    Mutation("nor is ours in one", f"{KEY_RULES}:_check_client_data", unsaid("topOrigin"), KEY_TESTS),
    Mutation("for a new key", f"{KEY_RULES}:_new_key", without("_check_client_data"), KEY_TESTS),
    Mutation("and a known one", f"{KEY_RULES}:_answering_key", without("_check_client_data"), KEY_TESTS),
    Mutation("backup flags are possible", f"{KEY_RULES}:_new_key", without("_check_flags"), KEY_TESTS),
    Mutation("also later", f"{KEY_RULES}:_answering_key", without("_check_flags"), KEY_TESTS),
    Mutation("and as they were", f"{KEY_RULES}:_answering_key", without("is_backup_eligible"), KEY_TESTS),
    Mutation("a handle is the person's", f"{KEY_RULES}:_answering_key", without("holder", "user_handle"), KEY_TESTS),
    Mutation("an id has a length", f"{KEY_RULES}:_new_key", without("len", "credential_id"), KEY_TESTS),
    Mutation("and is the one attested", f"{KEY_RULES}:_new_key", without("_to_text"), KEY_TESTS),
    Mutation("and the one named", f"{KEY_RULES}:_read", without("rawId"), KEY_TESTS),
    Mutation("a public key is one", f"{KEY_RULES}:_new_key", without("_check_public_key"), KEY_TESTS),
    Mutation("of a kind asked for", f"{KEY_RULES}:_check_public_key", without("_PARAMETERS"), KEY_TESTS),
    Mutation("of its length", f"{KEY_RULES}:_check_public_key", without("_LENGTHS"), KEY_TESTS),
    Mutation("on its curve", f"{KEY_RULES}:_check_public_key", without("verify"), KEY_TESTS),
    Mutation("transports are words", f"{KEY_RULES}:_new_key", without("_TRANSPORT"), KEY_TESTS),
    Mutation("an answer has a length", f"{KEY_RULES}:_read", without("LONGEST_ANSWER"), KEY_TESTS),
    Mutation("a number is no text", f"{KEY_RULES}:_read", without("isinstance"), KEY_TESTS),
    Mutation("a password is no key", f"{KEY_RULES}:_read", without("public-key"), KEY_TESTS),
    Mutation("whatever is raised is one refusal", f"{KEY_RULES}:_or_refused", handled("Exception", "raise"), KEY_TESTS),
    Mutation("a person's keys alone", f"{KEYS}:of", instead("SecurityKey.user == user", "True"), KEY_TESTS),
    Mutation("a copy is refused", f"{KEYS}:_accept", never("is_a_copy"), KEY_TESTS),
    Mutation("ten refusals are noted", f"{KEYS}:_refuse", unasked("_MOST_REFUSALS_NOTED"), KEY_TESTS),
    Mutation("ten keys", f"{KEYS}:_add", never("MOST_KEYS"), KEY_TESTS),
    Mutation("a key of another is nobody's", f"{KEYS}:add", handled("IntegrityError", "raise"), KEY_TESTS),
    Mutation("a new key ends other sessions", f"{KEYS}:_add", without("end_others"), KEY_TESTS),
    Mutation("and so does one removed", f"{KEYS}:remove", without("end_others"), KEY_TESTS),
    Mutation("step-up by key needs the password", f"{KEYS}:step_up", never("check_password"), KEY_TESTS),
    Mutation("one key alone is too few", f"{KEYS}:ask_only_for_keys", never("_has_a_spare"), KEY_TESTS),
    Mutation("no old sign-in goes on", f"{KEYS}:ask_only_for_keys", without("end_unfinished_others"), KEY_TESTS),
    Mutation("the last key but one opens", f"{KEYS}:take_away", never("key_count"), KEY_TESTS),
    Mutation("codes are closed", "blueprints/login.py:code", never("are_asked_for_alone"), KEY_TESTS),
    Mutation("at step-up too", "blueprints/login.py:_verify_form", never("only_key"), KEY_TESTS),
    Mutation("a reset takes keys", f"{PEOPLE}:reset", without("SecurityKey"), KEY_TESTS),
    Mutation("a lost key ends sessions", f"{RECOVERY}:answer_lost_device", never("take_away"), KEY_TESTS),
    *(
        Mutation(f"step-up for {view} a key", f"{KEY_PAGES}:{view}", undecorated("step_up_required"), KEY_TESTS)
        for view in ("add", "remove", "only_key")
    ),
    # Sessions and cookies
    Mutation("signing out ends the session", f"{SESSION}:end_session", without("end"), "sessions sign_in"),
    Mutation("a new password ends the others", f"{PEOPLE}:change_password", without("end_others"), "account sessions"),
    Mutation("a session ends with its time", f"{SESSION}:_look_up", never("expires_at"), "sessions sign_in"),
    Mutation("and after a day", "models.py:expires_at", instead("self.created_at", "now"), "sessions"),
    Mutation("also by a clock that ran ahead", "authn/clocks.py:end_of", always("latest"), "clocks"),
    Mutation("and so does what is asked for", "authn/clocks.py:bounds", instead("now + seconds", "2**62"), "clocks"),
    Mutation(
        "also in a session that is used",
        f"{SESSIONS}:touch",
        instead("abs(now - session.last_seen_at)", "now - session.last_seen_at"),
        "clocks",
    ),
    Mutation("one's own sessions alone", f"{SESSIONS}:_others", unasked("user"), "account sessions"),
    Mutation(
        "the database holds no token",
        "authn/tokens.py:digest",
        instead("sha256(token.encode()).hexdigest()", "token"),
        "sessions secrets_at_rest",
    ),
    Mutation("a new token has a new CSRF token", f"{SESSION}:go_on", without("clear"), "cookies"),
    Mutation(
        "every step renews the token", f"{SESSIONS}:move_on", instead("tokens.generate()", "session.token"), "cookies"
    ),
    Mutation(
        "a known browser's mark is checked",
        f"{BROWSERS}:known_browser",
        instead("hmac.compare_digest(mark[_MAC:], _second(browser, user))", "True"),
        "known_browsers",
    ),
    Mutation(
        "and dies with a new password", f"{BROWSERS}:_second", instead("user.browser_generation", "0"), "known_browsers"
    ),
    # The record
    Mutation(
        "the password alone does not fill it",
        "flows/audit.py:record",
        instead("_hour_key(event) if kind in REPEATABLE else None", "None"),
        "repeated_events",
    ),
    Mutation(
        "nor what is refused before the end of a sign-in",
        f"{SESSION}:signed_in_person",
        unsaid("is_signed_in"),
        "repeated_events",
    ),
    # Requests
    Mutation("next is one plain path", f"{PATHS}:_page_at", instead("not _PLAIN.fullmatch(path)", "False"), "next"),
    Mutation("of this site", f"{PATHS}:_page_at", handled("HTTPException", "return path"), "next"),
    Mutation("a form needs its token", "app.py:_watch_requests", without("CSRFProtect"), "cross_site"),
    Mutation("Sec-Fetch-Site is looked at", "app.py:_refuse_foreign_requests", never("Sec-Fetch-Site"), "cross_site"),
    Mutation("and Origin", "app.py:_refuse_foreign_requests", never("origin"), "cross_site"),
    Mutation("one host is answered to", "app.py:_refuse_foreign_requests", never("healthz"), "hosts"),
    Mutation(
        "links name the configured host",
        f"{SESSION}:welcome_link",
        instead("current_app.config['SITE_URL']", "request.host_url"),
        "hosts links",
    ),
    Mutation("the demo has one host", "app.py:_is_of_site", instead("is_demo", "False"), "hosts"),
    Mutation("and somebody says which", "settings.py:load", never("DEMO"), "settings"),
    Mutation("a link is no referrer", "app.py:_add_headers", never("_is_link"), "headers"),
    Mutation("a body has a limit", "app.py:_limit_bodies", without("max_content_length"), "own_pages"),
    Mutation("and is not cut there", "app.py:_limit_bodies", never("is_exhausted"), "long_input"),
    Mutation("a script is turned away", "app.py:_watch_requests", without("turn_scripts_away"), "own_pages"),
    Mutation("no answer of ours is kept", "app.py:_add_headers", unsaid("view_answers"), "own_pages"),
    Mutation("no step of a sign-in is HOME", f"{PATHS}:home", unsaid("_SIGN_IN"), "own_pages"),
    Mutation("a view called static is closed", f"{PATHS}:is_file", unsaid("has_static_folder"), "own_pages"),
    Mutation("only tests are signed in at once", "testing.py:signed_in", never("testing"), "testing"),
    Mutation("nobody frames a page", "app.py", dropped("X-Frame-Options"), "headers"),
    Mutation("nothing keeps a page", "app.py:_add_headers", never("view_answers"), "headers"),
    # Other sites behind this sign-in
    Mutation("only a pass passes", f"{APPS}:check", never("session"), "apps"),
    Mutation("and never two", f"{APPS}:check", instead("len(passes) == 1", "passes"), "apps"),
    Mutation("a group is asked for", f"{APPS}:check", never("may_enter"), "apps"),
    Mutation("polling keeps nothing alive", f"{APPS}:check", always("_is_navigation"), "apps"),
    Mutation("opening a page does", f"{APPS}:check", without("touch"), "apps"),
    Mutation(
        "addresses are UTF-8",
        f"{APPS}:check",
        instead("person.email.encode().decode('latin-1')", "person.email"),
        "apps",
    ),
    Mutation("the app is told who", f"{APPS}:check", dropped("Remote-Email"), "apps"),
    Mutation("and in which groups", f"{APPS}:check", dropped("Remote-Groups"), "apps"),
    Mutation("scripts are not sent to sign in", f"{APPS}:start", never("_is_navigation"), "apps"),
    Mutation("two passes go in no circle", f"{APPS}:start", never("_PASS"), "apps"),
    Mutation("a form is not asked for again", f"{APPS}:start", always("is_page"), "apps"),
    Mutation("a start leads to a path", f"{APPS}:start", instead("local_path", "str"), "apps"),
    Mutation("five starts are enough", f"{APPS}:start", instead("_MOST_STARTS", "99"), "apps"),
    Mutation("but five there are", f"{APPS}:start", instead("_MOST_STARTS", "2"), "apps"),
    Mutation("only an app gets a ticket", f"{APPS}:passage", never("APPS"), "apps"),
    Mutation("only for a digest", f"{APPS}:passage", unsaid("is_digest"), "apps"),
    Mutation("only for the group", f"{APPS}:passage", never("may_enter"), "apps"),
    Mutation("and leads to a path", f"{APPS}:passage", instead("local_path", "str"), "apps"),
    Mutation("one nonce", f"{APPS}:enter", unsaid("nonces"), "apps"),
    Mutation("no second pass", f"{APPS}:enter", unsaid("passes"), "apps"),
    Mutation("nowhere without a pass", f"{APPS}:enter", never("given"), "apps"),
    Mutation("then to a path", f"{APPS}:enter", instead("local_path", "str"), "apps"),
    Mutation("the nonce goes", f"{APPS}:enter", instead("_set_cookie(answer, name, '', 0)", "None"), "apps"),
    Mutation("the log says what to set", f"{APPS}:_warn_of", never("_OURS"), "apps"),
    Mutation(
        "hosts are folded", f"{APPS}:answer_on_hosts_of_apps", instead("request.host.lower()", "request.host"), "apps"
    ),
    Mutation(
        "GET alone", f"{APPS}:answer_on_hosts_of_apps", instead("request.method in ('GET', 'HEAD')", "True"), "apps"
    ),
    Mutation(
        "closed without a database",
        f"{APPS}:answer_on_hosts_of_apps",
        instead("UNAVAILABLE", "ZeroDivisionError"),
        "apps",
    ),
    Mutation("a failed connection goes", f"{APPS}:answer_on_hosts_of_apps", without("reconnect"), "apps"),
    Mutation("a pass is https's", f"{APPS}:_set_cookie", dropped("secure"), "apps"),
    Mutation("no script's", f"{APPS}:_set_cookie", dropped("httponly"), "apps"),
    Mutation("and no other site's", f"{APPS}:_set_cookie", dropped("samesite"), "apps"),
    Mutation("a ticket is one browser's", f"{ENTRANCE}:exchange", unsaid("nonce_digest"), "apps"),
    Mutation("and the group's", f"{ENTRANCE}:exchange", unsaid("may_enter"), "apps"),
    Mutation("entering is told", f"{ENTRANCE}:exchange", without("record"), "apps"),
    Mutation("a session ends", f"{ENTRANCE}:_live_session", always("expires_at"), "apps"),
    Mutation("its beginning counts", f"{ENTRANCE}:_signed_in", unasked("created_at"), "apps"),
    Mutation("half a sign-in does not", f"{ENTRANCE}:_signed_in", unasked("step"), "apps"),
    Mutation("without a second factor", f"{ENTRANCE}:_signed_in", unasked("second_factor"), "apps"),
    Mutation("deactivated", f"{ENTRANCE}:_signed_in", unasked("is_active"), "apps"),
    Mutation("a pass is one host's", f"{PASSES}:_bound", instead("f'{host} {text}'", "text"), "apps"),
    Mutation("a ticket is no pass", f"{PASSES}:_bound", instead("f'app {what}'", "'app'"), "apps"),
    Mutation(
        "it is signed",
        f"{PASSES}:_read",
        instead("form and keyring.is_fingerprint(*_bound(what, host, form[1]), form[2])", "form"),
        "apps",
    ),
    Mutation("for a minute", f"{PASSES}:read_ticket", unsaid("end_of"), "apps"),
    Mutation("paths are short", f"{PASSES}:local_path", unsaid("_LONGEST_PATH"), "apps"),
    Mutation("and plain", f"{PASSES}:local_path", unsaid("_LOCAL"), "apps"),
    Mutation("and not ours", f"{PASSES}:local_path", unsaid("_RESERVED"), "apps"),
    Mutation("however encoded", f"{PASSES}:_decoded", instead("path.lower()", "path"), "apps"),
    Mutation("a name is exact", f"{PASSES}:values_of", instead("pair.strip(' ')", "pair.strip()"), "apps"),
    Mutation(
        "an old key opens",
        "authn/sealing.py:Keyring.is_fingerprint",
        instead("self._secrets", "self._secrets[:1]"),
        "apps",
    ),
    Mutation("forms may end at an app", "app.py:_page_headers", instead("apps", "()"), "apps"),
    Mutation("nothing for the app's host", "app.py:_add_headers", never("app_host"), "apps"),
    Mutation("no host twice", "settings.py:_apps", never("host_alone"), "settings"),
    Mutation("https for apps", "settings.py:_settle_apps", never("https"), "settings"),
    Mutation("a proxy for apps", "settings.py:_settle_apps", never("TRUSTED_PROXIES"), "settings"),
    Mutation("never our host", "settings.py:_settle_apps", never("hostname"), "settings"),
    # Admins, links, secrets at rest
    Mutation("a pasted command is no key", "settings.py:_secret_key", never("search"), "settings"),
    Mutation("a new database is its owner's", "database.py:connect_database", without("touch"), "settings"),
    Mutation("reseal wants the old key", "blueprints/cli.py:reseal_keys", never("SECRET_KEY_FALLBACKS"), "keys"),
    Mutation("what changes is named", "blueprints/cli.py:_name_database", without("echo"), "commands"),
    Mutation(
        "damage is no traceback", "blueprints/cli.py:Commands.invoke", instead("UNAVAILABLE", "Superseded"), "database"
    ),
    Mutation("only admins open their pages", "blueprints/admin.py:admins_only", never("is_admin"), "people steps"),
    Mutation(
        "a demoted admin's act does not count",
        "flows/transactions.py:locked",
        instead("found.get(context.admin_id, True)", "True"),
        "between_steps",
    ),
    Mutation("the last admin stays one", f"{PEOPLE}:_change", never("admins"), "people"),
    Mutation("a link works once", "models.py:Invitation.open_at", unasked("used_at"), "links"),
    Mutation("for 72 hours", "models.py:Invitation.open_at", unasked("ends"), "links"),
    Mutation("a link by mail is for people with an app", "flows/forgot.py:issue", unsaid("authenticator"), "forgot"),
    Mutation("who has it still", "models.py:Invitation.open_at", instead("has_app", "True"), "forgot"),
    Mutation("asking ends the earlier one", "flows/forgot.py:issue", without("drop_forgotten_links"), "forgot"),
    Mutation("and so does deactivation", f"{PEOPLE}:_change", without("drop_forgotten_links"), "forgot"),
    Mutation("it makes no browser known", "blueprints/account.py:welcome", never("refusal", "forgotten"), "forgot"),
    Mutation(
        "the token is in no log",
        "mail.py:Mailer._send_link",
        instead("repr(error).replace(token, '…')", "repr(error)"),
        "forgot",
    ),
    Mutation("an address is one address", "mail.py:Mailer._message", never("read"), "forgot"),
    Mutation("a reset takes the password", f"{PEOPLE}:reset", dropped("password_hash"), "people links"),
    Mutation(
        "a sealed secret is its owner's",
        "authn/sealing.py:_binding",
        instead("owner", "0"),
        "secrets_at_rest authn/test_sealing",
    ),
]


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("mutations") / "copy", ignore=NOT_COPIED))


def run(copy: Path, *tests: str) -> tuple[int, str]:
    """What pytest returns for these tests there, and its last line, which counts them."""
    environment = {name: at for name, at in os.environ.items() if not name.startswith(("PYTEST", "COV_", "FLASK_"))}
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--engine=sqlite"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=copy,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, (done.stdout.strip().splitlines() or [done.stderr])[-1]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.defence)
def test_without_a_defence_the_tests_of_its_subject_fail(copy: Path, mutation: Mutation) -> None:
    path = mutation.where.partition(":")[0]
    try:
        mutate(mutation, copy)
        status, counts = run(copy, *mutation.files)
    finally:
        shutil.copy2(ROOT / path, copy / path)
    assert status == 1, counts
    assert re.search(r"\d+ failed", counts), counts
