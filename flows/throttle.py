"""Tries: each is charged, in a transaction of its own, before anything is compared. The arithmetic is in
authn/throttle.py."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import sleep
from typing import Any

from peewee import Case

from authn.throttle import EVERY_LIMIT, KNOWN, Count, Limit, Window, network
from database import UNAVAILABLE, reconnect, store
from flows.transactions import Context, for_update, within_transaction
from models import Throttle, fingerprint
from statements import compiled

# By then every count that did not reach its stop has decayed.
_IDLE_SECONDS = max((limit.stop or 0) * (limit.decay_seconds or 0) for limit in EVERY_LIMIT)
_COLUMNS = [Throttle.key, Throttle.account, Throttle.failures, Throttle.paused_until, Throttle.updated_at]
_WAITS_SECONDS = (0.1, 0.5)  # before a refund is tried again


@dataclass
class Charge:
    """A try that was counted: what was counted under which keys, in the order in which they are locked."""

    counts: dict[str, Count]
    is_deserved: bool = False  # the comparison found it wrong: whatever happens now, the try stays counted

    @within_transaction
    def refund(self) -> None:
        """Uncount the try, and nothing else: the secret was right. A pause that it brought is over. Where nothing is
        left to count the row goes, or on PostgreSQL the next try would take less time where somebody has signed in."""
        for key, count in self.counts.items():
            if _delete_last(key):
                continue
            mine = (Throttle.account != "") & (Throttle.paused_until == count.paused_until)
            uncounted = {
                Throttle.failures: Throttle.failures - 1,
                Throttle.paused_until: Case(None, [(mine, 0)], Throttle.paused_until),
            }
            Throttle.update(uncounted).where(Throttle.key == key).execute()


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
            take_back(charge)
        raise


@within_transaction
def count_as_a_strangers(limit: Limit, email: str, context: Context) -> None:
    """Count a failure of a browser that the account knows beside those of strangers, who must not have a budget of
    guesses each. It brings them no pause."""
    key = Throttle.key_of(limit, fingerprint(email))
    _write({key: Count()}, "", fingerprint(email), over=False)
    row = for_update(Throttle.select().where(Throttle.key == key)).get()
    left = limit.decayed(row.count, context.now)
    since = left.since if left.failures else context.now
    _write({key: replace(left, failures=left.failures + 1, since=since)}, "", fingerprint(email))


def take_back(charge: Charge, tell: Callable[[], None] = lambda: None) -> None:
    """Uncount the try and `tell` of it, both or neither. It is tried again when the database is locked, or was away for
    a moment: nobody is to wait for a right secret."""
    for wait in (*_WAITS_SECONDS, None):
        try:
            with store().database.atomic():
                charge.refund()
                tell()
            return
        except UNAVAILABLE:
            if wait is None:
                raise
            reconnect()
            sleep(wait)


def check(limit: Limit, email: str, context: Context) -> None:
    """Raise Paused when no try may be made now. Nothing is counted."""
    limits = _limits(limit, email, context)
    for row in Throttle.select().where(Throttle.key.in_(list(limits))):
        limits[row.key].check(row.count, context.now)


@within_transaction
def clear(email: str, context: Context) -> None:
    """Forget the failures of this browser, if the account knows it. Those of strangers stay, and so does the count that
    known browsers share."""
    if browser := context.known_browser(email):
        account = fingerprint(email)
        keys = [Throttle.key_of(limit, account, f"{KNOWN}:{browser}") for limit in EVERY_LIMIT]
        Throttle.delete().where(Throttle.key.in_(keys)).execute()


@within_transaction
def forget(limits: tuple[Limit, ...], email: str) -> None:
    """Forget every failure with these, whatever browser it came from: the secret is another one now."""
    account = fingerprint(email)
    rows = for_update(Throttle.select(Throttle.key).where(Throttle.account == account).order_by(Throttle.key))
    prefixes = tuple(Throttle.key_of(limit, account) for limit in limits)
    keys = [row.key for row in rows if row.key.startswith(prefixes)]
    Throttle.delete().where(Throttle.key.in_(keys)).execute()


@within_transaction
def sweep(now: int) -> None:
    """Forget addresses whose window is over, and what has decayed long ago. What an admin must lift stays. Rows that
    another request counts in are left to the next sweep."""
    window_is_over = (Throttle.account == "") & (Throttle.paused_until < now)
    stops = {limit.stop for limit in EVERY_LIMIT if limit.stop}
    decayed = (Throttle.account != "") & (Throttle.updated_at < now - _IDLE_SECONDS) & (Throttle.failures < min(stops))
    rows = for_update(Throttle.select(Throttle.key).where(window_is_over | decayed), " SKIP LOCKED")
    Throttle.delete().where(Throttle.key.in_(rows)).execute()


def _charge(limit: Limit, email: str, context: Context) -> Charge:
    address, account = f"address:{fingerprint(network(context.remote_addr))}", fingerprint(email)
    rules: dict[str, Limit | Window] = {**_limits(limit, email, context)}
    if most := store().settings["ADDRESS_LIMIT"]:
        rules = {address: Window(None if context.known_browser(email) else most), **rules}
    while True:
        with store().database.atomic():
            counts = {row.key: row.count for row in _locked_rows([*rules])}
            charged = {key: rule.charge(counts.get(key, Count()), context.now) for key, rule in rules.items()}
            missing = [key for key in rules if key not in counts]
            if not (missing and store().database.for_update):
                _write(charged, address, account)
                return Charge(charged)
        # A row that is not there cannot be locked, and another request may be counting its first failure too.
        _write(dict.fromkeys(missing, Count()), address, account, over=False)


def _limits(limit: Limit, email: str, context: Context) -> dict[str, Limit]:
    """Return which limits hold for this browser, by the keys that they count under. Where one key begins with another,
    the shorter comes first in every database's order, in which they are locked."""
    account, browser = fingerprint(email), context.known_browser(email)
    if not browser:
        return {Throttle.key_of(limit, account): limit}
    together = {Throttle.key_of(limit, account, KNOWN): limit.of_known_browsers()} if limit.stop else {}
    return {**together, Throttle.key_of(limit, account, f"{KNOWN}:{browser}"): limit.of_one_browser()}


def _write(counts: dict[str, Count], address: str, account: str, *, over: bool = True) -> None:
    columns = {
        "key": [*counts],
        "account": ["" if key == address else account for key in counts],
        "failures": [count.failures for count in counts.values()],
        "paused_until": [count.paused_until for count in counts.values()],
        "updated_at": [count.since for count in counts.values()],
    }
    (_write_over if over else _write_missing)(*columns.values())


@compiled
def _locked_rows(keys: list[str]) -> Any:
    return for_update(Throttle.select().where(Throttle.key.in_(keys)).order_by(Throttle.key))


@compiled
def _delete_last(key: str) -> Any:
    return Throttle.delete().where(Throttle.key == key, Throttle.failures <= 1)


@compiled
def _write_over(*columns: list[Any]) -> Any:
    written = [Throttle.failures, Throttle.paused_until, Throttle.updated_at]
    insert = Throttle.insert_many([*zip(*columns, strict=True)], _COLUMNS)
    return insert.on_conflict(conflict_target=[Throttle.key], preserve=written).as_rowcount()


@compiled
def _write_missing(*columns: list[Any]) -> Any:
    return Throttle.insert_many([*zip(*columns, strict=True)], _COLUMNS).on_conflict_ignore().as_rowcount()
