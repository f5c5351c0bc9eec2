"""Tries: each is charged, in a transaction of its own, before anything is compared. The arithmetic is in
authn/throttle.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from peewee import Case

from authn import throttle
from authn.throttle import PASSWORD, Limit, Paused
from database import store
from flows.transactions import Context, within_transaction
from models import Throttle, fingerprint

_IDLE_SECONDS = 30 * 86400


@dataclass
class Charge:
    """A try that was counted, and the keys it was counted under, in the order in which they are locked."""

    address: str
    account: str
    is_deserved: bool = False  # the comparison found it wrong: whatever happens now, the try stays counted

    @within_transaction
    def refund(self) -> None:
        """Uncount the try: the secret was right. The pause that it may have brought is over."""
        fewer, any_failures = {Throttle.failures: Throttle.failures - 1}, Throttle.failures > 0
        Throttle.update(fewer).where(Throttle.key == self.address, any_failures).execute()
        unpaused = {**fewer, Throttle.paused_until: 0}
        Throttle.update(unpaused).where(Throttle.key == self.account, any_failures).execute()


@contextmanager
def charged(limit: Limit, email: str, context: Context) -> Iterator[Charge]:
    """Count a try, then let the block compare. Of any number at once, only as many get through as are free.

    Raise Paused when no try may be made. An exception that leaves the block refunds the charge unless it was found to
    be deserved: nothing was compared, or the secret was right and another request was faster."""
    charge = _charge(limit, email, context)
    try:
        yield charge
    except Exception:  # whatever it was
        if not charge.is_deserved:
            with store().database.atomic():
                charge.refund()
        raise


def check(limit: Limit, email: str, context: Context) -> None:
    """Raise Paused when no try may be made now. Nothing is counted."""
    found = Throttle.get_or_none(Throttle.key == _key(limit, email, context.known_browser(email)))
    if found is None:
        return
    if limit.is_stopped(found.failures):
        raise Paused(None)
    if context.now < found.paused_until <= context.now + throttle.LONGEST_PAUSE_SECONDS:
        raise Paused(found.paused_until)


@within_transaction
def clear(limits: tuple[Limit, ...], email: str, context: Context) -> None:
    """Forget this browser's failures. If the account does not know it, forget those of all unknown browsers."""
    browser = context.known_browser(email)
    Throttle.delete().where(Throttle.key.in_([_key(limit, email, browser) for limit in limits])).execute()


@within_transaction
def forget(limits: tuple[Limit, ...], email: str) -> None:
    """Forget every failure with these, whatever browser it came from: the secret is another one now."""
    account = fingerprint(email)
    for limit in limits:
        of_limit = Throttle.key.startswith(Throttle.key_of(limit, account))
        Throttle.delete().where(Throttle.account == account, of_limit).execute()


@within_transaction
def sweep(now: int) -> None:
    """Forget addresses whose window is over, and passwords mistyped long ago. What an admin must lift stays, and so do
    the counts of six-digit and recovery codes: only people past a password have them."""
    Throttle.delete().where(Throttle.account == "", Throttle.paused_until < now).execute()
    long_ago = (Throttle.updated_at < now - _IDLE_SECONDS) & (Throttle.failures < (PASSWORD.stop or 0))
    Throttle.delete().where(long_ago, Throttle.key.startswith(f"{PASSWORD.kind}:")).execute()


def _charge(limit: Limit, email: str, context: Context) -> Charge:
    account, browser = fingerprint(email), context.known_browser(email)
    key = Throttle.key_of(limit, account, browser)
    with store().database.atomic():
        address = _charge_address(context, is_known=bool(browser))
        too_far = context.now + throttle.LONGEST_PAUSE_SECONDS  # said by a clock that ran ahead
        open_to_tries = (Throttle.paused_until <= context.now) | (Throttle.paused_until > too_far)
        if limit.stop is not None:
            open_to_tries &= Throttle.failures < limit.stop
        failures = _count(key, account, context, {Throttle.paused_until: 0}, open_to_tries)
        if failures is None:
            check(limit, email, context)
            raise Paused(context.now + 1)  # it was lifted between the two statements
        if pause := limit.pause_seconds(failures):
            Throttle.update(paused_until=context.now + pause).where(Throttle.key == key).execute()
    return Charge(address, key)


def _charge_address(context: Context, *, is_known: bool) -> str:
    key = f"address:{fingerprint(throttle.network(context.remote_addr))}"
    limit, window_end = store().settings["ADDRESS_LIMIT"], context.now + throttle.ADDRESS_WINDOW_SECONDS
    if limit:
        # A window that ends later than this was said by a clock that ran ahead.
        window_is_over = (Throttle.paused_until <= context.now) | (Throttle.paused_until > window_end)
        update = {
            Throttle.failures: Case(None, [(window_is_over, 1)], Throttle.failures + 1),
            Throttle.paused_until: Case(None, [(window_is_over, window_end)], Throttle.paused_until),
        }
        may_try = True if is_known else window_is_over | (Throttle.failures < limit)
        if _count(key, "", context, update, may_try, window_end) is None:
            raise Paused(Throttle.get_by_id(key).paused_until)
    return key


def _count(
    key: str, account: str, context: Context, update: dict[Any, Any], where: Any, paused_until: int = 0
) -> int | None:
    """Count one failure under the key, in one statement. Return how many there are now, or None if `where` forbids."""
    counted = (
        Throttle.insert(key=key, account=account, failures=1, paused_until=paused_until, updated_at=context.now)
        .on_conflict(
            conflict_target=[Throttle.key],
            update={Throttle.failures: Throttle.failures + 1, Throttle.updated_at: context.now, **update},
            where=where,
        )
        .returning(Throttle.failures)
        .execute()
    )
    return next((int(row.failures) for row in counted), None)


def _key(limit: Limit, email: str, browser: str) -> str:
    return Throttle.key_of(limit, fingerprint(email), browser)
