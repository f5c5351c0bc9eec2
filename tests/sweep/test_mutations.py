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

# What is gone, from where, by what edit, and the tests that notice.
MUTATIONS = [
    # Six-digit codes
    Mutation(
        "a code is taken once", "authn/totp.py:accept", instead("step in accepted", "False"), "sign_in authn/test_totp"
    ),
    Mutation(
        "nor an older one",
        "authn/totp.py:accept",
        instead("any(step < each <= newest for each in accepted)", "False"),
        "sign_in::test_a_code_that_is_older_than_one_taken_is_refused_everywhere",
    ),
    Mutation(
        "a used one keeps its charge",
        f"{CODE}:_accept",
        instead("UsedCode()", "charge.refund() or UsedCode()"),
        "sign_in::test_a_code_taken_anywhere_is_used_up_everywhere",
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
        "only one's own",
        f"{RECOVERY}:_claim_free",
        unasked("RecoveryCode", "user"),
        "secrets_at_rest::test_a_recovery_code_moved_to_another_person_works_for_neither",
    ),
    Mutation("a claim dies with its time", f"{RECOVERY}:_claim_free", unasked("in_time"), "recovery_code"),
    Mutation("its replacement spends it", f"{RECOVERY}:save_code", never("spend"), "recovery_code"),
    Mutation("only the code that was shown", f"{RECOVERY}:save_code", unsaid("digest", "shown"), "recovery_code"),
    Mutation(
        "only while codes are on",
        f"{RECOVERY}:claim",
        without("require_on"),
        "recovery_flag::test_the_flag_is_read_again_where_a_code_is_claimed_and_where_it_is_spent",
    ),
    Mutation(
        "also when it is saved",
        f"{RECOVERY}:save_code",
        without("require_on"),
        "recovery_flag::test_the_flag_is_read_again_where_a_code_is_claimed_and_where_it_is_spent",
    ),
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
        "authn/test_recovery_codes::test_a_digest_belongs_to_one_person_and_one_code",
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
        "recovery_flag::test_nonsense_in_the_configuration_counts_as_off",
    ),
    Mutation("an unfinished recovery ends with it", f"{SESSION}:_look_up", never("REPLACE_CODE"), "recovery_flag"),
    Mutation(
        "nobody skips the prompt",
        "blueprints/recovery.py:finish_without_code",
        never("recovery_codes_are_on"),
        "recovery_flag::test_turning_codes_off_and_on_again_while_somebody_enrolls_leaves_no_way_round_the_prompt",
    ),
    # Tries
    Mutation(
        "a pause holds",
        "authn/throttle.py:Limit.check",
        never("paused_until"),
        "throttle sign_in",
    ),
    Mutation(
        "a hundred failures stop a secret",
        "authn/throttle.py:Limit.check",
        never("is_stopped"),
        "throttle::test_a_hundred_failures_stop_a_secret_until_an_admin_acts_or_it_is_another",
    ),
    Mutation(
        "a refund is one's own",
        f"{THROTTLE}:refund",
        unasked("account"),
        "throttle::test_a_right_guess_during_a_pause_is_refused_with_the_words_of_a_wrong_one",
    ),
    Mutation("one address has a limit", "authn/throttle.py:Window.charge", never("limit"), "throttle"),
    Mutation(
        "a right password clears no other count",
        f"{THROTTLE}:take_back",
        instead(
            "charge.refund()", "Throttle.delete().where(Throttle.account == charge.account.split(':')[1]).execute()"
        ),
        "throttle sign_in",
    ),
    Mutation(
        "a refund is tried again",
        f"{THROTTLE}:take_back",
        handled("UNAVAILABLE", "raise"),
        "throttle::test_a_right_password_is_not_charged_when_the_database_fails_for_a_moment_after_it",
    ),
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
        "people::test_deactivating_ends_sessions_at_once_and_activating_lets_in_again",
    ),
    # The sequence
    Mutation("signed in is the default", f"{ACCESS}:_closed_view", always("_is_public"), "steps structure"),
    Mutation("a page for a group wants the group", f"{ACCESS}:group_required", unsaid("is_in"), "groups"),
    Mutation("and is not public", f"{ACCESS}:group_required", unsaid("_is_public"), "groups"),
    Mutation("nor one for who has just proved it", f"{ACCESS}:_after_step_up", never("_is_public"), "own_pages"),
    Mutation("a step opens its own pages", f"{ACCESS}:_answer_in_place_of", never("_open_at"), "steps"),
    Mutation("a password is looked at again", f"{SESSIONS}:start", never("has_kept_password"), "between_steps"),
    Mutation(
        "a new app replaces the one it was to",
        f"{ENROLL}:complete",
        never("replaces"),
        "enrollment::test_an_enrollment_completes_only_over_the_app_it_was_to_replace",
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
    Mutation(
        "for admins",
        "blueprints/admin.py:change",
        undecorated("step_up_required"),
        "people::test_an_admin_act_asks_again_who_it_is",
    ),
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
    Mutation(
        "a person's keys alone",
        f"{KEYS}:of",
        instead("SecurityKey.user == user", "True"),
        "security_keys::test_a_key_is_added_once",
    ),
    Mutation(
        "a copy is refused",
        f"{KEYS}:_accept",
        never("is_a_copy"),
        "security_keys::test_a_key_whose_count_has_fallen_is_refused_and_told",
    ),
    Mutation(
        "ten refusals are noted",
        f"{KEYS}:_refuse",
        unasked("_MOST_REFUSALS_NOTED"),
        "security_keys::test_refused_answers_are_no_tries_and_ten_of_a_session_are_noted",
    ),
    Mutation("ten keys", f"{KEYS}:_add", never("MOST_KEYS"), "security_keys::test_there_are_at_most_ten_keys"),
    Mutation(
        "a key of another is nobody's",
        f"{KEYS}:add",
        handled("IntegrityError", "raise"),
        "security_keys::test_a_key_is_added_once",
    ),
    Mutation("a new key ends other sessions", f"{KEYS}:_add", without("end_others"), KEY_TESTS),
    Mutation(
        "and so does one removed",
        f"{KEYS}:remove",
        without("end_others"),
        "security_keys::test_an_answer_that_comes_too_late_signs_nobody_in",
    ),
    Mutation(
        "step-up by key needs the password",
        f"{KEYS}:step_up",
        never("check_password"),
        "security_keys::test_a_step_up_takes_the_password_and_a_key_or_a_code",
    ),
    Mutation(
        "one key alone is too few",
        f"{KEYS}:ask_only_for_keys",
        never("_has_a_spare"),
        "security_keys::test_being_asked_only_for_keys_takes_two_of_them_or_a_saved_code",
    ),
    Mutation(
        "no old sign-in goes on",
        f"{KEYS}:ask_only_for_keys",
        without("end_unfinished_others"),
        "security_keys::test_who_is_asked_only_for_the_key_cannot_be_tricked_out_of_a_code",
    ),
    Mutation(
        "the last key but one opens",
        f"{KEYS}:take_away",
        never("key_count"),
        "security_keys::test_the_last_key_but_one_gone_a_code_is_taken_again_and_the_page_says_so",
    ),
    Mutation(
        "codes are closed",
        "blueprints/login.py:code",
        never("are_asked_for_alone"),
        "security_keys::test_who_is_asked_only_for_the_key_cannot_be_tricked_out_of_a_code",
    ),
    Mutation(
        "at step-up too",
        "blueprints/login.py:_verify_form",
        never("only_key"),
        "security_keys::test_who_is_asked_only_for_the_key_steps_up_with_it_alone",
    ),
    Mutation(
        "a reset takes keys",
        f"{PEOPLE}:reset",
        without("SecurityKey"),
        "security_keys::test_admins_see_how_many_keys_somebody_has_and_a_reset_takes_them",
    ),
    Mutation(
        "a lost key ends sessions",
        f"{RECOVERY}:answer_lost_device",
        never("take_away"),
        "security_keys::test_lost_keys_stop_at_once_whatever_else_is_answered",
    ),
    *(
        Mutation(f"step-up for {view} a key", f"{KEY_PAGES}:{view}", undecorated("step_up_required"), KEY_TESTS)
        for view in ("add", "remove", "only_key")
    ),
    # Sessions and cookies
    Mutation(
        "signing out ends the session",
        f"{SESSION}:end_session",
        without("end"),
        "sessions::test_back_after_signing_out_shows_nothing_and_its_forms_do_nothing",
    ),
    Mutation(
        "a new password ends the others",
        f"{PEOPLE}:change_password",
        without("end_others"),
        "sessions::test_no_copy_of_a_cookie_outlives_what_ends_its_session",
    ),
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
    Mutation(
        "one's own sessions alone",
        f"{SESSIONS}:_others",
        unasked("user"),
        "sessions::test_a_list_of_sessions_shows_and_ends_ones_own_alone",
    ),
    Mutation(
        "the database holds no token",
        "authn/tokens.py:digest",
        instead("sha256(token.encode()).hexdigest()", "token"),
        "secrets_at_rest::test_no_secret_lies_anywhere_at_any_time_of_the_story",
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
        "hosts::test_without_a_proxy_forwarded_headers_mean_nothing",
    ),
    Mutation("the demo has one host", "app.py:_is_of_site", instead("is_demo", "False"), "hosts"),
    Mutation(
        "and somebody says which",
        "settings.py:load",
        never("DEMO"),
        "settings::test_the_demo_starts_only_where_it_is_said_where_it_is_opened",
    ),
    Mutation("a link is no referrer", "app.py:_add_headers", never("_is_link"), "headers"),
    Mutation(
        "a body has a limit",
        "app.py:_limit_bodies",
        without("max_content_length"),
        "own_pages::test_more_may_be_sent_to_a_page_of_ones_own_and_no_more_to_ours",
    ),
    Mutation("and is not cut there", "app.py:_limit_bodies", never("is_exhausted"), "long_input"),
    Mutation(
        "a script is turned away",
        "app.py:_watch_requests",
        without("turn_scripts_away"),
        "own_pages::test_a_script_of_somebody_not_signed_in_gets_an_empty_401",
    ),
    Mutation(
        "no answer of ours is kept",
        "app.py:_add_headers",
        unsaid("view_answers"),
        "own_pages::test_no_answer_of_ours_is_kept_whatever_is_said_for_all",
    ),
    Mutation(
        "no step of a sign-in is HOME",
        f"{PATHS}:home",
        unsaid("_SIGN_IN"),
        "own_pages::test_a_home_that_is_no_page_counts_as_the_account_page",
    ),
    Mutation("a view called static is closed", f"{PATHS}:is_file", unsaid("has_static_folder"), "own_pages"),
    Mutation("only tests are signed in at once", "testing.py:signed_in", never("testing"), "testing"),
    Mutation("nobody frames a page", "app.py", dropped("X-Frame-Options"), "headers"),
    Mutation("nothing keeps a page", "app.py:_add_headers", never("view_answers"), "headers"),
    # Other sites behind this sign-in
    Mutation("only a pass passes", f"{APPS}:check", never("session"), "apps"),
    Mutation(
        "and never two",
        f"{APPS}:check",
        instead("len(passes) == 1", "passes"),
        "apps::test_no_two_passes_count_and_nobody_is_sent_in_circles",
    ),
    Mutation(
        "a group is asked for", f"{APPS}:check", never("may_enter"), "apps::test_a_lost_group_closes_its_sites_alone"
    ),
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
    Mutation(
        "two passes go in no circle",
        f"{APPS}:start",
        never("_PASS"),
        "apps::test_no_two_passes_count_and_nobody_is_sent_in_circles",
    ),
    Mutation(
        "a form is not asked for again",
        f"{APPS}:start",
        always("is_page"),
        "apps::test_a_form_that_was_sent_is_not_asked_for_again",
    ),
    Mutation(
        "a start leads to a path",
        f"{APPS}:start",
        instead("local_path", "str"),
        "apps::test_nothing_that_was_asked_for_leads_off_the_host_at_start_pass_or_enter",
    ),
    Mutation("five starts are enough", f"{APPS}:start", instead("_MOST_STARTS", "99"), "apps"),
    Mutation("but five there are", f"{APPS}:start", instead("_MOST_STARTS", "2"), "apps"),
    Mutation(
        "only an app gets a ticket",
        f"{APPS}:passage",
        never("APPS"),
        "apps::test_pass_is_an_ordinary_closed_page_and_knows_its_apps",
    ),
    Mutation(
        "only for a digest",
        f"{APPS}:passage",
        unsaid("is_digest"),
        "apps::test_pass_is_an_ordinary_closed_page_and_knows_its_apps",
    ),
    Mutation(
        "only for the group", f"{APPS}:passage", never("may_enter"), "apps::test_who_is_not_in_the_group_gets_no_ticket"
    ),
    Mutation(
        "and leads to a path",
        f"{APPS}:passage",
        instead("local_path", "str"),
        "apps::test_nothing_that_was_asked_for_leads_off_the_host_at_start_pass_or_enter",
    ),
    Mutation("one nonce", f"{APPS}:enter", unsaid("nonces"), "apps"),
    Mutation(
        "no second pass",
        f"{APPS}:enter",
        unsaid("passes"),
        "apps::test_no_two_passes_count_and_nobody_is_sent_in_circles",
    ),
    Mutation("nowhere without a pass", f"{APPS}:enter", never("given"), "apps"),
    Mutation(
        "then to a path",
        f"{APPS}:enter",
        instead("local_path", "str"),
        "apps::test_nothing_that_was_asked_for_leads_off_the_host_at_start_pass_or_enter",
    ),
    Mutation("the nonce goes", f"{APPS}:enter", instead("_set_cookie(answer, name, '', 0)", "None"), "apps"),
    Mutation(
        "the log says what to set",
        f"{APPS}:_warn_of",
        never("_OURS"),
        "apps::test_an_unknown_host_is_refused_and_the_log_says_what_to_set",
    ),
    Mutation(
        "hosts are folded",
        f"{APPS}:answer_on_hosts_of_apps",
        instead("request.host.lower()", "request.host"),
        "apps::test_hosts_are_compared_folded",
    ),
    Mutation(
        "GET alone", f"{APPS}:answer_on_hosts_of_apps", instead("request.method in ('GET', 'HEAD')", "True"), "apps"
    ),
    Mutation(
        "closed without a database",
        f"{APPS}:answer_on_hosts_of_apps",
        instead("UNAVAILABLE", "ZeroDivisionError"),
        "apps::test_answers_on_the_host_of_an_app_promise_nothing_for_it",
    ),
    Mutation(
        "a failed connection goes",
        f"{APPS}:answer_on_hosts_of_apps",
        without("reconnect"),
        "apps::test_a_connection_that_failed_is_not_used_again",
    ),
    Mutation("a pass is https's", f"{APPS}:_set_cookie", dropped("secure"), "apps"),
    Mutation("no script's", f"{APPS}:_set_cookie", dropped("httponly"), "apps"),
    Mutation("and no other site's", f"{APPS}:_set_cookie", dropped("samesite"), "apps"),
    Mutation(
        "a ticket is one browser's",
        f"{ENTRANCE}:exchange",
        unsaid("nonce_digest"),
        "apps::test_a_ticket_is_for_its_own_start",
    ),
    Mutation("and the group's", f"{ENTRANCE}:exchange", unsaid("may_enter"), "apps"),
    Mutation("entering is told", f"{ENTRANCE}:exchange", without("record"), "apps"),
    Mutation("a session ends", f"{ENTRANCE}:_live_session", always("expires_at"), "apps"),
    Mutation(
        "its beginning counts",
        f"{ENTRANCE}:_signed_in",
        unasked("created_at"),
        "apps::test_a_pass_is_good_for_no_later_session_of_the_same_number",
    ),
    Mutation(
        "half a sign-in does not",
        f"{ENTRANCE}:_signed_in",
        unasked("step"),
        "apps::test_a_recovery_that_is_not_finished_opens_nothing",
    ),
    Mutation("without a second factor", f"{ENTRANCE}:_signed_in", unasked("second_factor"), "apps"),
    Mutation(
        "deactivated",
        f"{ENTRANCE}:_signed_in",
        unasked("is_active"),
        "apps::test_what_nothing_here_leaves_behind_opens_nothing",
    ),
    Mutation(
        "a pass is one host's",
        f"{PASSES}:_bound",
        instead("f'{host} {text}'", "text"),
        "apps::test_a_pass_works_on_no_other_host",
    ),
    Mutation(
        "a ticket is no pass",
        f"{PASSES}:_bound",
        instead("f'app {what}'", "'app'"),
        "apps::test_a_pass_or_ticket_that_is_not_exactly_ours_is_none",
    ),
    Mutation(
        "it is signed",
        f"{PASSES}:_read",
        instead("form and keyring.is_fingerprint(*_bound(what, host, form[1]), form[2])", "form"),
        "apps::test_a_pass_works_on_no_other_host",
    ),
    Mutation("for a minute", f"{PASSES}:read_ticket", unsaid("end_of"), "apps::test_a_ticket_works_for_a_minute"),
    Mutation(
        "paths are short",
        f"{PASSES}:local_path",
        unsaid("_LONGEST_PATH"),
        "apps::test_nothing_that_was_asked_for_leads_off_the_host_at_start_pass_or_enter",
    ),
    Mutation(
        "and plain",
        f"{PASSES}:local_path",
        unsaid("_LOCAL"),
        "apps::test_nothing_that_was_asked_for_leads_off_the_host_at_start_pass_or_enter",
    ),
    Mutation(
        "and not ours",
        f"{PASSES}:local_path",
        unsaid("_RESERVED"),
        "apps::test_nothing_that_was_asked_for_leads_off_the_host_at_start_pass_or_enter",
    ),
    Mutation(
        "however encoded",
        f"{PASSES}:_decoded",
        instead("path.lower()", "path"),
        "apps::test_nothing_that_was_asked_for_leads_off_the_host_at_start_pass_or_enter",
    ),
    Mutation(
        "a name is exact",
        f"{PASSES}:values_of",
        instead("pair.strip(' ')", "pair.strip()"),
        "apps::test_a_cookie_that_only_looks_like_a_pass_is_none",
    ),
    Mutation(
        "an old key opens",
        "authn/sealing.py:Keyring.is_fingerprint",
        instead("self._secrets", "self._secrets[:1]"),
        "apps::test_a_pass_lives_through_a_change_of_the_key_until_the_old_one_is_taken_out",
    ),
    Mutation(
        "forms may end at an app",
        "app.py:_page_headers",
        instead("apps", "()"),
        "apps::test_the_policy_of_our_pages_names_the_apps_where_forms_may_end",
    ),
    Mutation(
        "nothing for the app's host",
        "app.py:_add_headers",
        never("app_host"),
        "apps::test_answers_on_the_host_of_an_app_promise_nothing_for_it",
    ),
    Mutation("no host twice", "settings.py:_apps", never("host_alone"), "settings"),
    Mutation("https for apps", "settings.py:_settle_apps", never("https"), "settings::test_what_apps_need_is_said"),
    Mutation(
        "a proxy for apps",
        "settings.py:_settle_apps",
        never("TRUSTED_PROXIES"),
        "settings::test_what_apps_need_is_said",
    ),
    Mutation("never our host", "settings.py:_settle_apps", never("hostname"), "settings"),
    # Admins, links, secrets at rest
    Mutation("a pasted command is no key", "settings.py:_secret_key", never("search"), "settings"),
    Mutation(
        "a new database is its owner's",
        "database.py:_pooled",
        without("touch"),
        "settings::test_a_new_database_is_its_owners_alone_wherever_it_is",
    ),
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
        "between_steps::test_what_an_admin_asked_for_does_not_happen_once_they_are_none",
    ),
    Mutation("the last admin stays one", f"{PEOPLE}:_change", never("admins"), "people::test_the_last_admin_stays_one"),
    Mutation("a link works once", "models.py:Invitation.open_at", unasked("used_at"), "links"),
    Mutation("for 72 hours", "models.py:Invitation.open_at", unasked("ends"), "links"),
    Mutation(
        "a link by mail is for people with an app",
        "flows/forgot.py:issue",
        unsaid("authenticator"),
        "forgot::test_whoever_it_is_the_answer_has_the_same_bytes_and_only_who_has_both_factors_gets_a_mail",
    ),
    Mutation(
        "who has it still", "models.py:Invitation.open_at", instead("has_app", "True"), "forgot::test_a_link_ends_with"
    ),
    Mutation(
        "asking ends the earlier one",
        "flows/forgot.py:issue",
        without("drop_forgotten_links"),
        "forgot::test_a_link_ends_with",
    ),
    Mutation(
        "and so does deactivation",
        f"{PEOPLE}:_change",
        without("drop_forgotten_links"),
        "forgot::test_a_link_ends_with",
    ),
    Mutation("it makes no browser known", "blueprints/account.py:welcome", never("refusal", "forgotten"), "forgot"),
    Mutation(
        "the token is in no log",
        "mail.py:Mailer._send_link",
        instead("repr(error).replace(token, '…')", "repr(error)"),
        "forgot::test_a_server_that_quotes_the_link_it_refuses_brings_no_token_into_the_log",
    ),
    Mutation("an address is one address", "mail.py:Mailer._message", never("read"), "forgot"),
    Mutation(
        "a reset takes the password",
        f"{PEOPLE}:reset",
        dropped("password_hash"),
        "people::test_a_person_who_lost_phone_and_code_is_back_after_one_act_of_an_admin",
    ),
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
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest"]  # the last takes long to load
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--engine=sqlite", *plugins, *tests],
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
        status, counts = run(copy, *mutation.paths)
    finally:
        shutil.copy2(ROOT / path, copy / path)
    assert status == 1, counts
    assert re.search(r"\d+ failed", counts), counts
