"""Every link in the bot's table against the one that is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import links
from .cluster import Cluster
from .sealed import Keyring, Unusable
from .witness import Book

# A user's token as the column has it: a token, none, or a value that is no usable token.
Tokens = dict[int, str | None | Unusable]


@dataclass(frozen=True)
class WrongLink:
    """A link that is not what it has to be."""

    issue: int
    user: int
    why: str


def tokens(cluster: Cluster, keyring: Keyring) -> Tokens:
    """What each user's column says."""
    held: Tokens = {}
    for user, stored in cluster.run("select telegram_id, portal_token from users"):
        try:
            held[user] = keyring.token(stored, user)
        except Unusable as unusable:
            held[user] = unusable
    return held


def wrong_links(
    cluster: Cluster, held: Tokens, book: Book, base: str, tokenless: str, forgotten: bool
) -> list[WrongLink]:
    """All that are wrong at this moment. `forgotten`: relinkd was uninstalled in between. Under `keep` it tells by what
    it remembers whether a link carries a token that was removed; after that only those that somebody holds are known,
    and another one that is still in a link is legal."""
    known = {token for token in held.values() if isinstance(token, str)} if forgotten else book.personal
    rows = cluster.run(
        "select id, telegram_user_id, priority, okdesk_issue_id, issue_number, okdesk_url, description from issues"
    )
    wrong = []
    for issue, user, kind, number, tail, url, written in rows:
        if why := _fault(held.get(user), known, base, tokenless, (kind, number, tail, url, written)):
            wrong.append(WrongLink(issue, user, why))
    return wrong


def _fault(
    token: str | None | Unusable, known: set[str], base: str, tokenless: str, row: tuple[Any, ...]
) -> str | None:
    kind, number, tail, url, written = row
    if kind == "alone":
        return None if url == written else f"a link that is not ours was changed into {links.masked(url)}"
    if isinstance(token, Unusable):
        # Nobody has a token that this link could carry, and it is left as it is: whatever form it has, it must not
        # be that of another user. Its own former token is legal: the value may have become unusable under it.
        return _of_nobody_else(number, url, known, may_carry=True)
    if token is None and tokenless == "keep":
        return _of_nobody_else(number, url, known, may_carry=False)
    expected = links.right(base, number, tail, token)
    if url == expected:
        return None
    return f"is {_described(url, token, known)}, must be {links.masked(expected)}"


def _of_nobody_else(number: int, url: str | None, known: set[str], may_carry: bool) -> str | None:
    said = links.says(url or "")
    if said is None or said[0] != number:
        return f"is {links.masked(url)}, must be of issue {number}"
    if said[1] in known and not may_carry:
        return f"carries a personal token, and its user has none: {links.masked(url)}"
    return None


def _described(url: str | None, token: str | None, known: set[str]) -> str:
    said = links.says(url or "")
    carried = said[1] if said else None
    whose = ""
    if carried and carried != token:
        whose = " with another personal token" if carried in known else " with the bot's login token"
    return links.masked(url) + whose
