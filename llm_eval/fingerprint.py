"""Content fingerprints: equal content, equal name, on every machine and in every order of keys."""

from __future__ import annotations

import hashlib
import json
from typing import Any

FINGERPRINT_CHARACTERS = 16  # 64 bits: a collision within one dataset's history is out of reach


def fingerprint(*parts: Any) -> str:
    """16 hex characters over the canonical JSON of `parts`: sorted keys, no blanks, NaN refused.

    Raises TypeError for values that JSON cannot hold: a fingerprint must not depend on a `repr`.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_CHARACTERS]


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def slug(text: str, limit: int = 64) -> str:
    """`text` as one safe path segment: [A-Za-z0-9.-] only, at most `limit` characters.

    Whatever had to be changed is made up for by a hash suffix, so different texts keep different slugs.
    """
    safe = "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "-" for c in text).strip("-.")
    if safe and safe == text and len(safe) <= limit:
        return safe
    digest = sha256_hex(text.encode())[:8]
    return f"{safe[: limit - 9]}-{digest}" if safe else digest
