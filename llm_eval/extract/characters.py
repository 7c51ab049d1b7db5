"""One form for characters that only look different."""

from __future__ import annotations

# Full-width ！ to ～ lie in the order of ASCII; the ideographic space stands alone.
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}


def half_width(text: str) -> str:
    """`text` with full-width letters, digits and punctuation (Ａ：１） as ASCII; same length."""
    return text.translate(_HALF_WIDTH)
