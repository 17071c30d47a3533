"""The deterministic split: the side of a row depends on its prompt and the seed alone, so equal prompts never part."""

from hashlib import blake2b
from typing import Literal

HASH_RANGE = 2**64


def assign(key: str, seed: int, test_fraction: float) -> Literal["train", "test"]:
    """Say on which side a row lies: "test" when blake2b-64 of seed, NUL, key (its prompt) falls below the fraction."""
    digest = blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") / HASH_RANGE < test_fraction else "train"
