"""Bounds on what strangers' files may ask of a machine, where a flag does not say otherwise."""

MAX_PIXELS = 100_000_000
"""Pixels of an image at most: cameras of 2025 make 50 to 100 million; `model/decode_memory.py` says what they take of
memory."""

MAX_BYTES = 2**28
"""Bytes of an image file at most: no photograph that fits `MAX_PIXELS` has more."""

STALL_TIMEOUT_SECONDS = 300
"""How long a shard may make no progress before it counts as stalled."""
