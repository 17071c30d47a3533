"""The deterministic split: the side of a row depends on its prompt and the seed alone, so equal prompts never part."""

from hashlib import blake2b
from typing import Literal

HASH_RANGE = 2**64


def assign(prompt: str, seed: int, test_fraction: float) -> Literal["train", "test"]:
    """Say on which side a prompt lies: "test" when blake2b-64 of seed, NUL, prompt falls below the fraction."""
    digest = blake2b(f"{seed}\0{prompt}".encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") / HASH_RANGE < test_fraction else "train"
