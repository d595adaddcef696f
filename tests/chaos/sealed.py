"""Opens what stands in the column of tokens, by the documented format and rules (docs/python.md)."""

from __future__ import annotations

import base64
import binascii
import tomllib
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = "relinkd:"


class Unusable(Exception):
    """The value is no usable token."""


class Keyring:
    """The keys of a keyring file. Reads it again when a value names a key it does not know."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, AESGCM] = {}
        self._opened: dict[tuple[str, int], str] = {}
        self.primary = ""

    def read(self) -> None:
        with self._path.open("rb") as file:
            ring = tomllib.load(file)
        keys = {**ring["keys"], **ring.get("retired", {})}
        self._keys = {kid: AESGCM(_decode(key)) for kid, key in keys.items()}
        self.primary = ring["primary"]

    def token(self, stored: str | None, telegram_id: int) -> str | None:
        """The token in this user's column, none where there is none."""
        if not stored:
            return None
        if not stored.startswith(PREFIX):
            return _checked(stored)
        known = self._opened.get((stored, telegram_id))
        if known is None:
            known = self._opened[stored, telegram_id] = self._open(stored, telegram_id)
        return known

    def _open(self, stored: str, telegram_id: int) -> str:
        parts = stored.split(":")
        if len(parts) != 4 or parts[1] != "v1":
            raise Unusable
        kid, payload = parts[2], parts[3]
        if kid not in self._keys:
            self.read()
        try:
            data = _decode(payload)
            opened = self._keys[kid].decrypt(data[:12], data[12:], f"relinkd:v1:{kid}:{telegram_id}".encode())
            return _checked(opened.decode("ascii"))
        except (KeyError, ValueError, InvalidTag, binascii.Error) as error:
            raise Unusable from error


def key_of(stored: str | None) -> str | None:
    """The id of the key that a value names, none where it is not sealed."""
    if not stored or not stored.startswith(PREFIX):
        return None
    parts = stored.split(":")
    return parts[2] if len(parts) == 4 else None


def _checked(token: str) -> str:
    visible = all("!" <= character <= "~" for character in token)
    if not 1 <= len(token) <= 128 or not visible or token.startswith(PREFIX):
        raise Unusable
    return token


def _decode(text: str) -> bytes:
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != text:
        raise ValueError("not strict base64url")
    return data
