"""Whether a secret is one: what anybody could guess must not guard anything."""

#: RFC 7518, section 3.2: a key of the size of the hash at least.
MIN_SECRET_BYTES = 32
#: Fewer different bytes than this are a placeholder or a pattern; 32 random ones have about 30.
_MIN_DIFFERENT = 8
#: The longest pattern whose repetition is looked for.
_LONGEST_PATTERN = 16
#: What stands in examples, in place of a secret.
_PLACEHOLDERS = (b"changeme", b"changethis", b"replaceme", b"yoursecret", b"insertsecret", b"secretkey", b"password")


def weakness(secret: bytes) -> str | None:
    """What is wrong with a secret, as a predicate of it that does not repeat it; None where nothing is known."""
    if not secret:
        return "must not be empty"
    if len(secret) < MIN_SECRET_BYTES:
        return f"must have {MIN_SECRET_BYTES} bytes at least"
    plain = bytes(byte for byte in secret.lower() if byte not in b" -_.")
    if any(placeholder in plain for placeholder in _PLACEHOLDERS):
        return "is a placeholder, not a secret"
    if len(set(secret)) < _MIN_DIFFERENT or _repeats(secret):
        return "is a pattern, not a secret"
    return None


def _repeats(secret: bytes) -> bool:
    patterns = (secret[:length] for length in range(1, _LONGEST_PATTERN + 1))
    return any((pattern * len(secret))[: len(secret)] == secret for pattern in patterns)
