"""Every dropped file against the fate it must have; and no token in anything that was said."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .cluster import BOT, Cluster
from .program import Commands, Site
from .server import SUPERUSER, Server
from .witness import Book, DropFile
from .world import World

# This many consecutive characters of a token are a leak; a mask shows four.
PIECE = 8
_RUN = re.compile(rb"[A-Za-z0-9]{8,}|[0-9-]{8,}")


def applied_files(sites: list[Site], book: Book) -> dict[str, str]:
    """The names of files with a receipt, each with the moment that it names: files of a transaction share it."""
    receipts = {file.name: _found(sites[file.spool].spool / "applied", file.name, ".json") for file in book.files}
    return {name: json.loads(paths[0].read_text())["applied_at"] for name, paths in receipts.items() if paths}


def judge_files(world: World, sites: list[Site], book: Book) -> None:
    for file in book.files:
        _judge_file(world, sites[file.spool].spool, file)
    for site in sites:
        for place in ("claimed", "incoming"):
            left = [path.name for path in (site.spool / place).iterdir() if not path.name.startswith(".")]
            if left not in ([], ["link.toml"]):
                world.wrong(f"{len(left)} left in {place}/ of spool {site.number}: {left[:3]}")


def _found(directory: Path, name: str, ending: str) -> list[Path]:
    """The file of this name, and those that were given a number because the name was taken."""
    pattern = re.compile(re.escape(name) + r"(\.\d+)?" + re.escape(ending))
    return [path for path in directory.iterdir() if pattern.fullmatch(path.name)]


def _judge_file(world: World, spool: Path, file: DropFile) -> None:
    receipts = _found(spool / "applied", file.name, ".json")
    rejected = _found(spool / "rejected", file.name, "")
    fate = {(1, 0): "applied", (0, 1): "rejected", (0, 0): "gone"}.get((len(receipts), len(rejected)), "several")
    if (spool / "incoming" / file.name).is_symlink() and fate == "gone":
        fate = "left"
    legal = {"either": ("applied", "rejected"), "any": ("applied", "rejected", "gone")}.get(
        file.expected, (file.expected,)
    )
    if fate not in legal:
        world.wrong(f"file {file.name} ({file.kind}): {fate}, must be {' or '.join(legal)}{_why(rejected)}")
        return
    if fate == "rejected":
        _judge_rejected(world, rejected[0], file)
    if fate == "applied" and file.expected != "any":
        receipt = json.loads(receipts[0].read_text())
        done = [(user, True) for user in receipt["set"]] + [(user, False) for user in receipt["removed"]]
        if sorted(done) != sorted((user, token is not None) for user, token in file.assignments):
            world.wrong(f"the receipt of {file.name} names other users than the file")


def _why(rejected: list[Path]) -> str:
    reasons = [path.with_name(path.name + ".reason") for path in rejected]
    said = [reason.read_text(errors="replace").splitlines()[:1] for reason in reasons if reason.exists()]
    return f": {said[0][0]}" if said and said[0] else ""


def _judge_rejected(world: World, path: Path, file: DropFile) -> None:
    reason = path.with_name(path.name + ".reason")
    if not reason.exists() or not re.match(r"\d+:\d+", reason.read_text()):
        world.wrong(f"{file.name} was rejected without a reason, or one without a place")
    if file.expected != "any" and path.read_bytes() != file.content:
        world.wrong(f"{file.name} lies in rejected/ with another content")


def judge_silence(world: World, cluster: Cluster, sites: list[Site], commands: Commands, book: Book) -> None:
    """Looks for tokens, the bot's login tokens too, in whatever relinkd or the server said of it."""
    said = {"the log of commands": commands.log.read_bytes()}
    for server in cluster.servers:
        said[f"the log of {server.directory.name}"] = _server_log(server)
    for site in sites:
        said[f"the log of daemon {site.number}"] = site.log.read_bytes()
        for path in [*(site.spool / "applied").iterdir(), *(site.spool / "rejected").glob("*.reason")]:
            said[f"{path.parent.name}/{path.name}"] = path.read_bytes()
    pieces = {
        secret[start : start + PIECE].encode() for secret in book.secrets for start in range(len(secret) - PIECE + 1)
    }
    for where, text in said.items():
        leaks = [number for number, line in enumerate(text.splitlines(), 1) if _leaks(line, pieces)]
        if leaks:
            world.wrong(f"a token leaks into {where}, {len(leaks)} lines, first line {leaks[0]}")
        if b"panicked" in text:
            world.wrong(f"a panic in {where}")


def _leaks(line: bytes, pieces: set[bytes]) -> bool:
    return any(run[at : at + PIECE] in pieces for run in _RUN.findall(line) for at in range(len(run) - PIECE + 1))


def _server_log(server: Server) -> bytes:
    """Without what the bot and the run itself made the server say: their statements hold tokens."""
    own = tuple(f"] {role}@".encode() for role in (BOT, SUPERUSER))
    kept, wanted = [], True
    for line in (server.log.read_bytes() if server.log.exists() else b"").splitlines():
        if line[:4].isdigit():
            wanted = not any(mark in line[:80] for mark in own)
        # An empty line keeps the count of lines.
        kept.append(line if wanted else b"")
    return b"\n".join(kept)
