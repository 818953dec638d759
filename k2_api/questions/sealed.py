"""Texts that a client hands back unchanged: what they say, and a digest of it and of the question.

A text that was altered, or that belongs to another question, is told from one that was made here.
It is no secret: a forged one can name no more than places in tables that its key may read anyway.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b

_DIGEST = 8


def seal(payload: bytes, question: str) -> str:
    """The text form of ``payload``, bound to the question it was made for."""
    return base64.urlsafe_b64encode(_digest(payload, question) + payload).decode().rstrip("=")


def unseal(text: str, question: str) -> bytes | None:
    """The inverse of ``seal``; None for anything that it did not make."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    payload = raw[_DIGEST:]
    return payload if seal(payload, question) == text else None


def _digest(payload: bytes, question: str) -> bytes:
    return blake2b(payload + b"\0" + question.encode(), digest_size=_DIGEST).digest()
