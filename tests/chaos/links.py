"""What links look like: those the bot writes, and the one that is right. Written from the rules, not from the code."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

BASES = ("https://portal-one.example", "https://portal-two.example:8443")
# What a plain link may carry behind the number.
TAILS = ("", "", "", "?tab=files#comment-5", "?a=1&b=2+3", "#top", "?q=%D0%B0%20b", "?a=1;b=2#c;d")

# What may stand in a query as it is (RFC 3986), without what a portal could take for its own separators.
_KEPT_IN_REDIRECT = "!$'()*,=:@/?-._~"
_LOGIN = re.compile(r"(https?://[^/]+)/login\?(.*)")
_PLAIN = re.compile(r"(https?://[^/]+)(?:/api/v1)?/issues/(\d+)/?((?:[?#].*)?)")


@dataclass(frozen=True)
class Written:
    """A link as the bot writes it, with what the oracle must know about it. All of it stands in the issue's row."""

    kind: str  # "issue", or "alone": nothing that relinkd may touch
    number: int
    tail: str
    url: str | None


def write(rng: random.Random, number: int, login_token: str) -> Written:
    """A new issue's link, in one of the shapes found in the field."""
    base, tail = rng.choice(BASES), rng.choice(TAILS)
    roll = rng.random()
    if roll < 0.45:
        slash = "/" if not tail and rng.random() < 0.2 else ""
        return Written("issue", number, tail, f"{base}/issues/{number}{slash}{tail}")
    if roll < 0.60:
        return Written("issue", number, "", f"{base}/api/v1/issues/{number}")
    if roll < 0.85:
        redirect = rng.choice(("/issues/{}", "issues/{}", "%2Fissues%2F{}", "/api/v1/issues/{}")).format(number)
        parts = [f"token={login_token}", f"redirect={redirect}"]
        rng.shuffle(parts)
        return Written("issue", number, "", f"{base}/login?{'&'.join(parts)}")
    alone = (
        base, None, f"https://elsewhere.example/issues/{number}", f"{base}/issues/{number}/edit",
        f"{base}.evil.example/issues/{number}", f"{base}/login?redirect=//evil.example/issues/{number}",
    )  # fmt: skip
    return Written("alone", number, "", rng.choice(alone))


def right(base: str, number: int, tail: str, token: str | None) -> str:
    """The one link that relinkd writes."""
    if token is None:
        return f"{base}/issues/{number}{tail}"
    return f"{base}/login?token={quote(token, safe='')}&redirect=/issues/{number}{quote(tail, safe=_KEPT_IN_REDIRECT)}"


def says(url: str) -> tuple[int, str | None] | None:
    """Number and token of a link in any of the shapes above; nothing where it has none of them."""
    if plain := _PLAIN.fullmatch(url):
        return int(plain[2]), None
    login = _LOGIN.fullmatch(url)
    if not login:
        return None
    query = dict(part.partition("=")[::2] for part in login[2].split("&"))
    number = re.match(r"/?(?:api/v1/)?issues/(\d+)", unquote(query.get("redirect", "")))
    return (int(number[1]), unquote(query["token"]) if "token" in query else None) if number else None


def masked(url: str | None) -> str:
    """For reports."""
    return "null" if url is None else re.sub(r"(token=)[^&]*", r"\1…", url)
