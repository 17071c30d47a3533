"""Opaque, time-ordered ids: a prefix that names the kind and a ULID."""

from __future__ import annotations

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, lower case
TIME_CHARACTERS = 10  # 48 bits of milliseconds
RANDOM_CHARACTERS = 16  # 80 bits


def new_id(prefix: str) -> str:
    """Return a new id such as `ds_01k3…` (26 characters after the underscore)."""
    return f"{prefix}_{_encode(time.time_ns() // 1_000_000, TIME_CHARACTERS)}{_random()}"


def _random() -> str:
    return _encode(secrets.randbits(5 * RANDOM_CHARACTERS), RANDOM_CHARACTERS)


def _encode(number: int, length: int) -> str:
    return "".join(ALPHABET[(number >> (5 * position)) & 31] for position in reversed(range(length)))
