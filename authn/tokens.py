"""Tokens: what a cookie and a one-time link hold, and what is stored of them."""

import secrets
from hashlib import sha256


def generate() -> str:
    """Return a new token: 256 random bits as URL-safe text."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return what is stored of the token: SHA-256 in hex. A fast hash is right for 256 random bits."""
    return sha256(token.encode()).hexdigest()
