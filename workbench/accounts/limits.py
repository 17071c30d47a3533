"""How often strangers may try: counted in this process's memory, by address and by account."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from workbench.core.errors import TooMany

#: Failed logins of one account from one address, of one account from everywhere, of one address.
PAIR, ACCOUNT, ADDRESS = parse("10/15 minutes"), parse("50/15 minutes"), parse("100/15 minutes")
#: Registrations from one address; mails to one address; codes tried and mails asked for from one address.
REGISTRATION, MAIL, CODES = parse("30/hour"), parse("5/hour"), parse("60/hour")

_limiter = MovingWindowRateLimiter(MemoryStorage())


class TooOften(TooMany):
    """You have tried too often."""

    code = "auth.too_often"


def count(limit: RateLimitItem, *key: str) -> None:
    """Count one try; raise `TooOften` when it is one too many."""
    if _limiter.hit(limit, *key):
        return
    wait = max(1, math.ceil(_limiter.get_window_stats(limit, *key).reset_time - time.time()))
    error = TooOften(f"There were too many tries; try again in {math.ceil(wait / 60)} min.")
    error.retry_after = wait
    raise error


def is_spent(limit: RateLimitItem, *key: str) -> bool:
    """Count one try; tell whether it is one too many."""
    return not _limiter.hit(limit, *key)


def count_login(account: str, address: str) -> None:
    """Count a login before its password is looked at."""
    count(PAIR, "login", account, address)
    count(ACCOUNT, "login", account)
    if not _limiter.test(ADDRESS, "login", address):
        count(ADDRESS, "login", address)  # which raises


def count_failure(address: str) -> None:
    """Count a wrong password of an address; many people may log in from one, so that right ones are not counted."""
    _limiter.hit(ADDRESS, "login", address)


def forgive(account: str, address: str) -> None:
    """Forget the failed logins of an account: the right password came."""
    _limiter.clear(PAIR, "login", account, address)
    _limiter.clear(ACCOUNT, "login", account)
