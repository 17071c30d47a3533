"""Opaque, time-ordered ids: a prefix that names the kind and a ULID."""

from __future__ import annotations

import secrets
import threading
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, lower case
TIME_CHARACTERS = 10  # 48 bits of milliseconds
RANDOM_CHARACTERS = 16
RANDOM_BITS = 5 * RANDOM_CHARACTERS

_lock = threading.Lock()
_newest = 0


def new_id(prefix: str) -> str:
    """Return a new id such as `ds_01k3…` (26 characters after the underscore); those of one process grow."""
    return f"{prefix}_{_encode(_next(), TIME_CHARACTERS + RANDOM_CHARACTERS)}"


def _next() -> int:
    global _newest
    fresh = (time.time_ns() // 1_000_000 << RANDOM_BITS) | secrets.randbits(RANDOM_BITS)
    with _lock:
        _newest = fresh if fresh >> RANDOM_BITS > _newest >> RANDOM_BITS else _newest + 1
        return _newest


def _encode(number: int, length: int) -> str:
    return "".join(ALPHABET[(number >> (5 * position)) & 31] for position in reversed(range(length)))
