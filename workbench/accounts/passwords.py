"""Argon2id in threads of its own, so that a flood of logins neither fills the memory nor stops other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from workbench.core.errors import Unavailable

T = TypeVar("T")
THREADS = 2
MAX_WAITING = 20  # passwords that wait for a thread
#: 19 MiB, 2 passes, 1 lane: OWASP's least for argon2id.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
_pending = 0


class TooManyLogins(Unavailable):
    """Too many passwords are being checked at once."""

    code = "auth.busy"


async def hashed(password: str) -> str:
    """Hash a password."""
    return await _in_thread(lambda: HASHER.hash(password))


async def matches(password_hash: str | None, password: str) -> bool:
    """Tell whether a password fits a hash; without a hash the answer is False, and takes as long."""
    fits = await _in_thread(lambda: _fits(password_hash or _nobodys(), password))
    return fits and password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Tell whether a hash was made with other parameters than today's."""
    return HASHER.check_needs_rehash(password_hash)


def _fits(password_hash: str, password: str) -> bool:
    try:
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    return HASHER.hash("nobody's password")


async def _in_thread(work: Callable[[], T]) -> T:
    global _pending
    if _pending >= THREADS + MAX_WAITING:
        raise TooManyLogins("Too many passwords are being checked at this moment; try again in a few seconds.")
    _pending += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, work)
    finally:
        _pending -= 1
