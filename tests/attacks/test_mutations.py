"""Each defence is taken out of a copy of the source, and the tests named beside it must notice."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".*", "instance", "__pycache__")
SECONDS = 300

SIGN_IN, RECOVERY, FLAG = "tests/test_signin.py", "tests/test_recovery.py", "tests/test_flag.py"
VERBS, ATTACKED, COOKIE = "tests/test_verbs.py", "tests/test_attacked.py", "tests/test_cookie.py"
ACCOUNT, ADMIN, ENROLLMENT = "tests/test_account.py", "tests/test_admin.py", "tests/test_enrollment.py"
NEXT, STRUCTURE, AT_REST = "tests/test_next.py", "tests/test_structure.py", "tests/test_at_rest.py"
STEPS, CODES, SESSIONS = (f"tests/attacks/test_{name}.py" for name in ("a_steps", "b_codes", "c_sessions"))
BROWSER, INPUT, OPERATIONS = (f"tests/attacks/test_{name}.py" for name in ("d_browser", "e_input", "g_operations"))


@dataclass(frozen=True)
class Mutation:
    defence: str  # that is gone
    path: str
    old: str
    new: str
    test: str  # that notices
    file: str

    @property
    def node(self) -> str:
        return f"{self.file}::{self.test}"


MUTATIONS = [
    # Six-digit codes
    Mutation(
        "a six-digit code is taken once",
        "models.py",
        ".where(this_app, TotpAuthenticator.last_step < self.step)",
        ".where(this_app)",
        "test_a_code_is_accepted_once",
        SIGN_IN,
    ),
    Mutation(
        "nor an older one after a newer one",
        "models.py",
        "TotpAuthenticator.last_step < self.step)",
        "TotpAuthenticator.last_step != self.step)",
        "test_an_older_step_is_refused_after_a_newer_one",
        SIGN_IN,
    ),
    Mutation(
        "a used one keeps its charge",
        "models.py",
        "if accepted or self.authenticator.last_step > self.step + 2:",
        "if True:",
        "test_a_code_taken_anywhere_is_used_up_everywhere",
        CODES,
    ),
    # Recovery codes
    Mutation(
        "a recovery code is claimed by one sign-in",
        "models.py",
        ".where(this_one, free)",
        ".where(this_one)",
        "test_a_code_claimed_in_one_browser_is_busy_in_another_and_free_when_that_one_ends",
        RECOVERY,
    ),
    Mutation(
        "only a live one is claimed",
        "models.py",
        "(cls.digest == digest) & cls.retired_at.is_null()\n            if not cls.update(claimed_by",
        "(cls.digest == digest)\n            if not cls.update(claimed_by",
        "test_a_recovery_code_works_once_and_is_replaced",
        RECOVERY,
    ),
    Mutation(
        "only one's own is claimed",
        "models.py",
        "this_one = (cls.user == user) & (cls.digest == digest)",
        "this_one = (cls.digest == digest)",
        "test_a_recovery_code_moved_to_another_person_works_for_neither",
        OPERATIONS,
    ),
    Mutation(
        "its digest is bound to the person",
        "authn/recovery_codes.py",
        "\\0{person_id}\\0{code}",
        "\\0{code}",
        "test_a_digest_belongs_to_one_person_and_one_code",
        "tests/authn/test_recovery_codes.py",
    ),
    Mutation(
        "a claim is dead with its time",
        "models.py",
        "(Session.step == Step.SAVE_CODE) & (Session.step_at > now - store().lifetimes.enrollment)",
        "Session.step == Step.SAVE_CODE",
        "test_a_claim_lapses_with_its_sessions_time",
        RECOVERY,
    ),
    Mutation(
        "saving the new one spends the old one",
        "models.py",
        "if self.is_recovering and not RecoveryCode.spend(self, act):",
        "if False:",
        "test_saving_the_replacement_spends_it",
        RECOVERY,
    ),
    Mutation(
        "saving one retires every other",
        "models.py",
        "        cls.retire((cls.user == user) & (cls.digest != digest), Retirement.REPLACED, act)\n",
        "",
        "test_the_account_page_says_how_the_code_stands_and_makes_a_new_one",
        FLAG,
    ),
    Mutation(
        "a code counts as saved only with the box ticked",
        "blueprints/recovery.py",
        "if not form.saved.data:",
        "if False:",
        "test_enrollment_is_complete_only_once_the_code_is_confirmed_as_saved",
        FLAG,
    ),
    Mutation(
        "and only if it is the one that was shown",
        "models.py",
        "if pending is None or pending.digest != shown:",
        "if pending is None:",
        "test_the_form_of_a_code_that_is_not_it_any_more_is_refused_and_shows_the_current_one",
        RECOVERY,
    ),
    Mutation(
        "a recovery sign-in is no step-up",
        "models.py",
        "Kind.DEVICE_MISSING, act, self.user)\n            return self._finish(act)",
        "Kind.DEVICE_MISSING, act, self.user)\n            return self._finish(act, verified_at=act.now)",
        "test_a_recovery_code_never_replaces_the_password_nor_the_step_up",
        RECOVERY,
    ),
    # The flag
    Mutation(
        "the gate reads the flag",
        "blueprints/signin.py",
        'if getattr(view, "needs_recovery_codes", False) and not recovery_codes_on():',
        "if False:",
        "test_every_recovery_page_is_a_403_page_while_they_are_off",
        FLAG,
    ),
    Mutation(
        "it is read again where a code is claimed",
        "models.py",
        "                raise CodesAreOff\n            others",
        "                pass\n            others",
        "test_the_flag_is_read_again_where_a_code_is_claimed_and_where_it_is_spent",
        ATTACKED,
    ),
    Mutation(
        "and where it is spent",
        "models.py",
        "                raise CodesAreOff\n            pending",
        "                pass\n            pending",
        "test_the_flag_is_read_again_where_a_code_is_claimed_and_where_it_is_spent",
        ATTACKED,
    ),
    Mutation(
        "nonsense counts as off",
        "blueprints/signin.py",
        "else fixed is True",
        "else bool(fixed)",
        "test_nonsense_in_the_configuration_counts_as_off",
        FLAG,
    ),
    Mutation(
        "turning codes off ends an unfinished recovery sign-in",
        "blueprints/signin.py",
        "if found.is_recovering and not recovery_codes_on():",
        "if False:",
        "test_an_unfinished_recovery_sign_in_ends_and_its_code_stays_unspent",
        FLAG,
    ),
    Mutation(
        "while codes are on nobody finishes without one",
        "blueprints/recovery.py",
        "if signin.recovery_codes_on() or not sign_in",
        "if not sign_in",
        "test_finish_setup_does_not_skip_the_prompt_while_they_are_on",
        FLAG,
    ),
    # Tries
    Mutation(
        "a pause lets nothing through",
        "models.py",
        "open_to_tries = (cls.paused_until <= act.now) |",
        "open_to_tries = (cls.paused_until >= 0) |",
        "test_five_wrong_passwords_bring_a_pause_for_known_and_unknown_addresses_alike",
        SIGN_IN,
    ),
    Mutation(
        "a hundred failures stop a secret",
        "models.py",
        "            if limit.stop is not None:\n                open_to_tries &= cls.failures < limit.stop\n",
        "",
        "test_a_hundred_failures_stop_a_secret_until_an_admin_acts_or_it_is_another",
        CODES,
    ),
    Mutation(
        "a password is charged for before it is compared",
        "models.py",
        "            charge = Throttle.charge(PASSWORD, email, act)\n            try:\n"
        "                user, matches = cls._compare(email, password)\n",
        "            try:\n                user, matches = cls._compare(email, password)\n"
        "                charge = Throttle.charge(PASSWORD, email, act)\n",
        "test_a_try_during_a_pause_takes_under_5_ms_and_hashes_nothing",
        CODES,
    ),
    Mutation(
        "a wrong recovery code is charged for",
        "models.py",
        "charge = Throttle.charge(RECOVERY_CODE, user.email, act)",
        'charge = Charge("", "")',
        "test_wrong_codes_are_tries",
        RECOVERY,
    ),
    Mutation(
        "a right secret takes back its own charge alone",
        "models.py",
        ".where(Throttle.key == self.account, any_failures)",
        ".where(any_failures)",
        "test_nothing_but_a_sign_in_with_the_secret_itself_gives_new_tries",
        CODES,
    ),
    Mutation(
        "the right password does not clear the second factor's count",
        "models.py",
        "            charge.take_back()\n            Event.record(Kind.PASSWORD_RIGHT",
        "            Throttle.clear(EVERY_LIMIT, email, act)\n            Event.record(Kind.PASSWORD_RIGHT",
        "test_five_wrong_codes_bring_a_pause_that_a_new_password_step_does_not_lift",
        SIGN_IN,
    ),
    Mutation(
        "one address may not try many accounts",
        "models.py",
        'if cls._count(key, "", act, update, may_try, window_end) is None:',
        'if cls._count(key, "", act, update, True, window_end) is None:',
        "test_one_password_tried_on_many_accounts_is_stopped_by_address",
        CODES,
    ),
    Mutation(
        "no more passwords are hashed at once than there are slots",
        "authn/passwords.py",
        "BoundedSemaphore(slots), ",
        "BoundedSemaphore(slots + 1), ",
        "test_a_full_queue_for_hashing_answers_503_and_charges_nobody",
        "tests/test_attacked.py",
    ),
    Mutation(
        "no more wait for a slot than the server has threads to spare",
        "authn/passwords.py",
        "BoundedSemaphore(slots + _LONGEST_LINE)",
        "BoundedSemaphore(1_000_000)",
        "test_a_full_queue_for_hashing_answers_503_and_charges_nobody",
        "tests/test_attacked.py",
    ),
    Mutation(
        "an unknown address costs what a known one costs",
        "authn/passwords.py",
        "        with self._slot():\n            matches, renewed",
        "        if stored is None:\n            return False, None\n"
        "        with self._slot():\n            matches, renewed",
        "test_nobodys_password_costs_what_a_wrong_one_costs",
        "tests/authn/test_passwords.py",
    ),
    Mutation(
        "a deactivated person's password is wrong",
        "models.py",
        "stored = user.password_hash if user and user.is_active else None",
        "stored = user.password_hash if user else None",
        "test_a_deactivated_person_is_told_what_a_wrong_password_is_told",
        SIGN_IN,
    ),
    # The sequence
    Mutation(
        "signed in is the default",
        "blueprints/signin.py",
        'getattr(view, "is_public", False)',
        'getattr(view, "is_public", True)',
        "test_a_stranger_may_open_only_the_public_pages",
        STRUCTURE,
    ),
    Mutation(
        "an unfinished sign-in opens only what its step needs",
        "blueprints/signin.py",
        "if sign_in.step not in open_at:",
        "if False:",
        "test_an_unfinished_sign_in_may_open_only_what_its_step_needs",
        STRUCTURE,
    ),
    Mutation(
        "a session without any factor is nobody's",
        "models.py",
        "User.is_active, past_a_factor",
        "User.is_active",
        "test_a_row_without_any_factor_opens_nothing",
        ATTACKED,
    ),
    Mutation(
        "a password is looked at again when its session starts",
        "models.py",
        "if not User.select().where(user._has_kept_its_password()).exists():",
        "if False:",
        "test_a_password_that_stopped_being_right_after_it_was_compared_starts_no_session",
        VERBS,
    ),
    Mutation(
        "a new app needs the one it was to replace",
        "models.py",
        "if (current and current.id) != self.replaces:",
        "if False:",
        "test_an_enrollment_completes_only_over_the_app_it_was_to_replace",
        VERBS,
    ),
    Mutation(
        "an enrollment belongs to its session",
        "models.py",
        "cls.get_or_none(cls.session == session, cls.started_at > since)",
        "cls.get_or_none(cls.started_at > since)",
        "test_the_second_of_two_enrollments_sees_another_qr_code",
        ENROLLMENT,
    ),
    Mutation(
        "a completed enrollment ends every other session",
        "models.py",
        "        self.end_others()\n        if self.step is None:",
        "        if self.step is None:",
        "test_an_attacker_who_knows_only_the_password_ends_with_nothing_once_the_owner_completes",
        ENROLLMENT,
    ),
    # Step-up
    Mutation(
        "a new password asks again who it is",
        "blueprints/account.py",
        "@signin.step_up_required\ndef password(",
        "def password(",
        "test_changing_the_password_asks_again_after_ten_minutes",
        ACCOUNT,
    ),
    Mutation(
        "so does a new recovery code",
        "blueprints/account.py",
        "@signin.step_up_required\ndef new_recovery_code(",
        "def new_recovery_code(",
        "test_changes_to_how_one_signs_in_ask_again_after_ten_minutes",
        SIGN_IN,
    ),
    Mutation(
        "and a new app",
        "blueprints/enrollment.py",
        "@signin.step_up_required\n",
        "",
        "test_changes_to_how_one_signs_in_ask_again_after_ten_minutes",
        SIGN_IN,
    ),
    Mutation(
        "and every admin change",
        "blueprints/admin.py",
        "@signin.step_up_required\ndef change(",
        "def change(",
        "test_every_admin_change_asks_again_after_ten_minutes",
        ADMIN,
    ),
    Mutation(
        "it needs the password as well",
        "models.py",
        "if User.with_password(self.user.email, password, act) is None:",
        "if False:",
        "test_step_up_needs_both_the_password_and_the_code",
        SIGN_IN,
    ),
    # Sessions and cookies
    Mutation(
        "signing out ends the session",
        "blueprints/signin.py",
        "    here().end(Kind.SIGNED_OUT, act())\n",
        "",
        "test_signing_out_kills_a_copied_cookie",
        SIGN_IN,
    ),
    Mutation(
        "a new password ends every other session",
        "models.py",
        "            self.end_others()\n            return self._move_on(None, act)",
        "            return self._move_on(None, act)",
        "test_changing_the_password_ends_every_other_session_finished_or_not",
        ACCOUNT,
    ),
    Mutation(
        "a session ends with its time",
        "blueprints/signin.py",
        "if found.expires_at <= now():",
        "if False:",
        "test_the_password_step_lasts_ten_minutes",
        SIGN_IN,
    ),
    Mutation(
        "and after a day whatever happens",
        "models.py",
        "return min(self.last_seen_at + limits.idle, self.created_at + limits.overall)",
        "return int(self.last_seen_at + limits.idle)",
        "test_a_session_ends_after_an_idle_hour_and_after_a_day",
        SIGN_IN,
    ),
    Mutation(
        "nobody ends somebody else's session",
        "models.py",
        "(Session.id != self.id) & (Session.user == self.user)\n            revoked",
        "(Session.id != self.id)\n            revoked",
        "test_nobody_ends_another_persons_session",
        ACCOUNT,
    ),
    Mutation(
        "the database holds no token",
        "models.py",
        "return sha256(token.encode()).hexdigest()",
        "return token",
        "test_every_gain_of_trust_has_a_token_of_its_own_and_the_database_only_its_digest",
        SESSIONS,
    ),
    Mutation(
        "the CSRF token is new with the session's",
        "blueprints/signin.py",
        '    session.clear()\n    session["token"] = token\n',
        '    session["token"] = token\n',
        "test_the_csrf_token_is_new_with_each_factor_and_the_old_one_is_refused",
        COOKIE,
    ),
    Mutation(
        "a dead cookie is left alone",
        "blueprints/signin.py",
        "    if found is None:\n        return None\n    if found.expires_at",
        "    if found is None:\n        session.clear()\n        return None\n    if found.expires_at",
        "test_only_the_sign_in_page_replaces_a_dead_cookie",
        COOKIE,
    ),
    Mutation(
        "the mark of a known browser is this site's",
        "blueprints/signin.py",
        'return browser if hmac.compare_digest(mark.encode(), expected.encode()) and user else ""',
        'return browser if user else ""',
        "test_a_stolen_forged_or_outdated_mark_of_a_known_browser_only_chooses_whose_tries_it_spends",
        STEPS,
    ),
    Mutation(
        "and dies with the password",
        "blueprints/signin.py",
        "{user.id}\\0{user.password_changed_at}",
        "{user.id}",
        "test_a_stolen_forged_or_outdated_mark_of_a_known_browser_only_chooses_whose_tries_it_spends",
        STEPS,
    ),
    # Requests
    Mutation(
        "next is one plain path",
        "blueprints/signin.py",
        "if not plain or len(path) > _LONGEST_PATH:",
        "if len(path) > _LONGEST_PATH:",
        "test_a_sign_in_ends_on_this_site_whatever_next_says",
        NEXT,
    ),
    Mutation(
        "of this site, to be opened by GET",
        "blueprints/signin.py",
        "    except (HTTPException, RequestRedirect):\n        return default\n",
        "    except (HTTPException, RequestRedirect):\n        return path\n",
        "test_what_cannot_be_opened_falls_back_to_the_account_page",
        NEXT,
    ),
    Mutation(
        "a form needs its token",
        "app.py",
        "    CSRFProtect(app)\n",
        "    CSRFProtect()\n",
        "test_a_forged_form_changes_nothing_and_is_recorded",
        BROWSER,
    ),
    Mutation(
        "another site's form is refused by Sec-Fetch-Site",
        "app.py",
        'raise CSRFError("Another site sent this.")',
        "pass",
        "test_a_forged_form_changes_nothing_and_is_recorded",
        BROWSER,
    ),
    Mutation(
        "and by Origin",
        "app.py",
        "if origin is not None and not (",
        "if False and not (",
        "test_a_forged_form_changes_nothing_and_is_recorded",
        BROWSER,
    ),
    Mutation(
        "only this site's host names are answered to",
        "app.py",
        'if request.endpoint != "healthz" and not _is_ours(',
        "if False and not _is_ours(",
        "test_no_page_answers_to_another_host",
        BROWSER,
    ),
    Mutation(
        "a link names the configured host",
        "blueprints/signin.py",
        "return f\"{current_app.config['SITE_URL']}/welcome/{token}\"",
        'return f"{request.host_url}welcome/{token}"',
        "test_without_a_proxy_forwarded_headers_mean_nothing",
        BROWSER,
    ),
    Mutation(
        "a body has a limit",
        "app.py",
        "        MAX_CONTENT_LENGTH=BODY_LIMIT_BYTES,\n",
        "",
        "test_a_body_that_is_too_large_is_dropped_unread",
        INPUT,
    ),
    Mutation(
        "nobody frames a page",
        "app.py",
        "frame-ancestors 'none'; ",
        "",
        "test_no_answer_can_be_framed_sniffed_kept_or_reached_from_another_window",
        BROWSER,
    ),
    Mutation(
        "nothing keeps a page",
        "app.py",
        'response.headers["Cache-Control"] = "no-store"',
        "pass",
        "test_no_answer_can_be_framed_sniffed_kept_or_reached_from_another_window",
        BROWSER,
    ),
    # Admins, links, secrets at rest
    Mutation(
        "only admins open their pages",
        "blueprints/admin.py",
        "    if not signin.here().user.is_admin:\n        abort(403)\n",
        "    pass\n",
        "test_who_is_not_an_admin_gets_403_and_changes_nothing",
        ADMIN,
    ),
    Mutation(
        "the last admin stays one",
        "models.py",
        "return not self._is_the_last_admin() and self._set(",
        "return self._set(",
        "test_the_last_admin_stays_one",
        ADMIN,
    ),
    Mutation(
        "and is not deactivated",
        "models.py",
        "            if self._is_the_last_admin():\n                return False\n",
        "",
        "test_the_last_admin_stays_one",
        ADMIN,
    ),
    Mutation(
        "a link works once",
        "models.py",
        "is_open = cls.used_at.is_null() & (cls.expires_at > now)",
        "is_open = (cls.expires_at > now)",
        "test_a_link_lets_a_new_person_choose_a_password_once",
        ACCOUNT,
    ),
    Mutation(
        "and for 72 hours",
        "models.py",
        "is_open = cls.used_at.is_null() & (cls.expires_at > now)",
        "is_open = cls.used_at.is_null()",
        "test_a_link_runs_out_after_72_hours_and_a_new_one_ends_the_old_one",
        ACCOUNT,
    ),
    Mutation(
        "a reset takes the password away",
        "models.py",
        "            User.update(password_hash=None).where(User.id == self.id).execute()\n",
        "",
        "test_after_a_reset_nobody_signs_in_until_the_link_is_used",
        ACCOUNT,
    ),
    Mutation(
        "a sealed secret is bound to its owner and purpose",
        "authn/sealing.py",
        'return f"{purpose}\\0{owner}".encode()',
        'return b""',
        "test_a_secret_moved_to_another_person_lets_nobody_in_until_it_is_restored",
        AT_REST,
    ),
    Mutation(
        "what cannot be read lets nobody in",
        "models.py",
        "            return totp.matching_step(self.secret(), code, act.now)\n        except Unreadable:",
        "            return totp.matching_step(self.secret(), code, act.now)\n        except Unreadable:\n"
        "            return act.now // 30",
        "test_a_spoiled_secret_lets_nobody_in_until_it_is_restored",
        AT_REST,
    ),
]
CHOSEN = MUTATIONS if os.environ.get("MUTATE") == "1" else MUTATIONS[:: len(MUTATIONS) // 5][:5]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT, tmp_path / "copy", ignore=NOT_COPIED))


def run(copy: Path, nodes: list[str]) -> tuple[int, str]:
    """What pytest returns for these tests there, and its last line, which counts them."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_", "FLASK_"))
    }
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "--engine=sqlite",
            *nodes,
        ],
        cwd=copy,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, (done.stdout.strip().splitlines() or [done.stderr])[-1]


def test_every_mutation_fits_the_source_and_names_a_test() -> None:
    for mutation in MUTATIONS:
        found = (ROOT / mutation.path).read_text().count(mutation.old)
        assert found == 1, f"out of date: {mutation.defence}: {found} times in {mutation.path}"
        assert re.search(rf"^def {mutation.test}\(", (ROOT / mutation.file).read_text(), re.M), mutation.node


def test_the_tests_that_are_to_notice_pass_without_a_mutation(copy: Path) -> None:
    assert run(copy, sorted({mutation.node for mutation in CHOSEN}))[0] == 0


@pytest.mark.parametrize("mutation", CHOSEN, ids=lambda mutation: mutation.defence)
def test_without_a_defence_its_test_fails(copy: Path, mutation: Mutation) -> None:
    print("without:", mutation.defence)
    source = copy / mutation.path
    source.write_text(source.read_text().replace(mutation.old, mutation.new))
    status, counts = run(copy, [mutation.node])
    assert status == 1
    assert re.search(r"\d+ failed", counts), counts
