#!/usr/bin/env python3
"""Writes envelope.json beside this file: sealed tokens made with another implementation than ours.

The tests need only the committed JSON. To make it again: pip install cryptography && python3 make.py
Keys and nonces are fixed, so that the output is the same each time; never do that outside a test.
"""

import base64
import hashlib
import json
import pathlib

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TOKEN = "7812-5733-8392-7092"
USER = 413129274


def digest(label):
    return hashlib.sha256(label.encode()).digest()


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


KEYS = {kid: digest("key " + kid) for kid in ["k2026a", "k2025a", "0", "abcdefghijklmnop", "stranger"]}


def seal(token, telegram_id=USER, kid="k2026a", aad_kid=None, version="v1", nonce=None):
    plaintext = token if isinstance(token, bytes) else token.encode()
    nonce = nonce or digest(f"nonce {kid} {telegram_id} {plaintext!r}")[:12]
    aad = f"relinkd:{version}:{aad_kid or kid}:{telegram_id}".encode()
    payload = nonce + AESGCM(KEYS[kid]).encrypt(nonce, plaintext, aad)
    return f"relinkd:{version}:{kid}:{b64(payload)}"


def payload(sealed, change):
    """The same sealed text with its payload, as bytes, changed."""
    head, _, text = sealed.rpartition(":")
    return f"{head}:{b64(change(unb64(text)))}"


def flip(position):
    def change(data):
        data = bytearray(data)
        data[position] ^= 1
        return bytes(data)

    return change


def opens():
    for name, token, telegram_id, kid in [
        ("the usual token", TOKEN, USER, "k2026a"),
        ("one character", "x", USER, "k2026a"),
        ("128 characters", "~" * 128, USER, "k2026a"),
        ("every visible character", "".join(map(chr, range(0x21, 0x7F))), USER, "k2026a"),
        ("an active key that is not the primary", TOKEN, USER, "0"),
        ("the longest key id and token", "t" * 128, -(2**63), "abcdefghijklmnop"),
        ("a retired key", TOKEN, USER, "k2025a"),
        ("the greatest telegram_id", TOKEN, 2**63 - 1, "k2026a"),
        ("a negative telegram_id", TOKEN, -1001234567890, "k2026a"),
        ("telegram_id 0", TOKEN, 0, "k2026a"),
    ]:
        yield {"name": name, "telegram_id": telegram_id, "token": token, "sealed": seal(token, telegram_id, kid)}


def fails():
    good = seal(TOKEN)
    head, _, text = good.rpartition(":")
    # 19 + 28 = 47 bytes: the last character carries two bits that must be zero.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    trailing = alphabet[alphabet.index(text[-1]) | 1]
    # A payload whose base64url differs from its standard base64 in both characters.
    for counter in range(10_000):
        odd = seal(TOKEN, nonce=digest(f"odd {counter}")[:12])
        if "-" in odd.rpartition(":")[2] and "_" in odd.rpartition(":")[2]:
            break
    else:
        raise AssertionError("no payload with both special characters")
    for name, code, sealed in [
        ("another user's row", "does_not_open", seal(TOKEN, USER + 1)),
        ("the row of the negative id", "does_not_open", seal(TOKEN, -USER)),
        ("relabelled with another key's id", "does_not_open", good.replace(":k2026a:", ":0:")),
        ("sealed for another key id under this one", "does_not_open", seal(TOKEN, aad_kid="0")),
        ("associated data of version 2", "does_not_open", seal(TOKEN, version="v2").replace(":v2:", ":v1:")),
        ("a bit of the nonce", "does_not_open", payload(good, flip(0))),
        ("a bit of the ciphertext", "does_not_open", payload(good, flip(12))),
        ("a bit of the tag", "does_not_open", payload(good, flip(-1))),
        ("the last byte is missing", "does_not_open", payload(good, lambda data: data[:-1])),
        ("three characters are missing, two whole bytes", "does_not_open", good[:-3]),
        ("a byte too many", "does_not_open", payload(good, lambda data: data + b"\0")),
        ("nonce and tag alone", "does_not_open", payload(good, lambda data: data[:12] + data[-16:])),
        ("a key id that is not in the ring", "unknown_key", seal(TOKEN, kid="stranger")),
        ("shorter than nonce and tag", "malformed", payload(good, lambda data: data[:27])),
        ("two characters are missing, a length base64 cannot have", "malformed", good[:-2]),
        ("padded", "malformed", good + "="),
        ("trailing bits that are not zero", "malformed", good[:-1] + trailing),
        ("the standard alphabet", "malformed", odd.replace("-", "+").replace("_", "/")),
        ("an upper-case key id", "malformed", good.replace(":k2026a:", ":K2026A:")),
        ("an empty key id", "malformed", good.replace(":k2026a:", "::")),
        ("a key id of 17 characters", "malformed", good.replace(":k2026a:", ":abcdefghijklmnopq:")),
        ("version 2", "malformed", seal(TOKEN, version="v2")),
        ("an upper-case version", "malformed", good.replace(":v1:", ":V1:")),
        ("a space before", "malformed", " " + good),
        ("a space behind", "malformed", good + " "),
        ("a newline behind", "malformed", good + "\n"),
        ("a newline inside", "malformed", good[:60] + "\n" + good[60:]),
        ("a fifth part", "malformed", good + ":"),
        ("an empty payload", "malformed", head + ":"),
        ("no payload", "malformed", head),
        ("the prefix alone", "malformed", "relinkd:"),
        ("longer than 255 characters", "malformed", seal("t" * 160)),
        ("an empty token inside", "bad_sealed_token", seal("")),
        ("129 characters inside", "bad_sealed_token", seal("t" * 129)),
        ("a space inside", "bad_sealed_token", seal("7812 5733")),
        ("not ASCII inside", "bad_sealed_token", seal("tokén")),
        ("not UTF-8 inside", "bad_sealed_token", seal(b"\xff\xfe")),
        ("a sealed token inside", "bad_sealed_token", seal("relinkd:v1:k2026a:AAAA")),
    ]:
        yield {"name": name, "telegram_id": USER, "code": code, "sealed": sealed}


def fingerprints():
    for kid in ["0", "abcdefghijklmnop", "k2026a", "k2025a"]:
        derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"relinkd:v1:token-mark")
        mac = hmac.HMAC(derive.derive(KEYS[kid]), hashes.SHA256())
        mac.update(TOKEN.encode())
        yield {"key": kid, "token": TOKEN, "fingerprint": b64(mac.finalize())}


def main():
    document = {
        "primary": "k2026a",
        "keys": {kid: b64(KEYS[kid]) for kid in ["k2026a", "0", "abcdefghijklmnop"]},
        "retired": {"k2025a": b64(KEYS["k2025a"])},
        "opens": list(opens()),
        "fails": list(fails()),
        "fingerprints": list(fingerprints()),
    }
    for case in document["fails"]:
        assert case["sealed"] not in [good["sealed"] for good in document["opens"]], case["name"]
    text = json.dumps(document, indent=1, ensure_ascii=True) + "\n"
    pathlib.Path(__file__).with_name("envelope.json").write_text(text)


if __name__ == "__main__":
    main()
