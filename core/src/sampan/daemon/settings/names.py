"""Names of containers: which are allowed, and how unnamed containers are named."""

from __future__ import annotations

import re
import secrets

from sampan.errdefs import InvalidArgument

_ALLOWED = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")

_ADJECTIVES = (  # noqa: SIM905  as a list it would fill a page
    "agile amber ample azure blithe bold brave breezy bright brisk calm candid cheerful clear clever cosy "
    "crisp daring deft eager earnest fair fearless fleet frank gentle glad golden graceful grand hardy honest "
    "humble jolly keen kind lively loyal lucid mellow merry mighty nimble noble patient placid plucky polite "
    "prompt proud quick quiet ready robust sage serene sharp silver sincere sleek smart snug sober spry stable "
    "steady sturdy sunny swift tidy trim trusty upbeat valiant vivid warm wise witty zesty"
).split()
_SHIPS = (  # noqa: SIM905
    "ark barge bark barque brig caique canoe caravel carrack catamaran clipper cog coracle corvette cutter "
    "dhow dinghy dory dromon felucca ferry frigate galleon galley gondola gulet hoy hulk jolly junk kayak keel "
    "ketch knarr launch liner lorcha lugger luzzu outrigger packet pinnace pirogue polacca pram proa punt raft "
    "ram schooner scow shallop skiff sloop smack snow tartane tender trawler trireme tug vinta wherry xebec "
    "yacht yawl"
).split()


def check_name(name: str) -> str:
    """The name without its leading slash. Raises `InvalidArgument` with Docker's message."""
    bare = name.removeprefix("/")
    if not _ALLOWED.fullmatch(bare):
        raise InvalidArgument(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return bare


def random_name(*, digit: bool) -> str:
    """A name for a container created without one; `digit` makes a clash less likely."""
    name = f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_SHIPS)}"
    return f"{name}{secrets.randbelow(10)}" if digit else name
