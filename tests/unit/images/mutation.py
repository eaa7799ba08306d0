"""Corrupts valid documents and archives, reproducibly for a given random seed."""

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

BLOCK = 512
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1 << 31, 1 << 63, 1 << 80, 1.5, "", "x", "sha256:", "sha256:" + "0" * 64),
    *("sha512:" + "0" * 128, "../../etc/passwd", "\0", "\udc80", "x" * 5000, [], {}, [[]], [None], {"": ""}),
)


def mutated_bytes(content: bytes, chance: random.Random) -> bytes:
    """`content` after one to four corruptions anywhere."""
    for _ in range(chance.randint(1, 4)):
        content = chance.choice(_ACCIDENTS)(content, chance)
    return content


def mutated_tar(content: bytes, chance: random.Random) -> bytes:
    """A tar with corruptions, mostly in headers, whose checksums are mostly fixed up."""
    found = bytearray(content)
    headers = [at for at in range(0, len(found) - BLOCK + 1, BLOCK) if found[at + 257 : at + 262] == b"ustar"]
    for _ in range(chance.randint(1, 4)):
        if not headers or chance.random() < 0.1:
            return mutated_bytes(bytes(found), chance)
        at, other = chance.choice(headers), chance.choice(headers)
        if chance.random() < 0.3:  # a whole field from another entry: names, types, links, sizes
            start, end = chance.choice(((0, 100), (100, 108), (108, 124), (124, 136), (156, 157), (157, 257)))
            found[at + start : at + end] = found[other + start : other + end]
        else:
            position = at + chance.randrange(BLOCK)
            found[position] = chance.choice(
                (*_NUMBERS, chance.randrange(256), ord(chance.choice("0123456789/.SxgLK")))
            )
        if chance.random() < 0.95:
            _sign(found, at)
    if chance.random() < 0.2:
        return _shuffled(bytes(found), chance)
    return bytes(found)


def mutated_json(document: Any, chance: random.Random) -> Any:
    """A document with one to three values replaced, removed or duplicated."""
    document = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(document))
        if not places:
            return chance.choice(_VALUES)
        holder, key = chance.choice(places)
        deed = chance.random()
        if deed < 0.2:
            del holder[key]
        elif deed < 0.4:
            other_holder, other_key = chance.choice(places)
            holder[key] = copy.deepcopy(other_holder[other_key])
        elif deed < 0.5 and isinstance(holder, list):
            holder += [copy.deepcopy(holder[key])] * chance.choice((1, 2, 1500))
        elif deed < 0.6 and isinstance(holder, dict):
            holder[chance.choice(("manifests", "layers", "config", "fsLayers", "mediaType", "x"))] = holder[key]
        else:
            holder[key] = copy.deepcopy(chance.choice(_VALUES))
    return document


def _sign(archive: bytearray, at: int) -> None:
    archive[at + 148 : at + 156] = b" " * 8
    archive[at + 148 : at + 156] = b"%06o\0 " % sum(archive[at : at + BLOCK])


def _shuffled(content: bytes, chance: random.Random) -> bytes:
    """Moves, drops or duplicates 512-byte blocks."""
    blocks = [content[at : at + BLOCK] for at in range(0, len(content), BLOCK)]
    for _ in range(chance.randint(1, 3)):
        if not blocks:
            break
        at = chance.randrange(len(blocks))
        deed = chance.randrange(3)
        if deed == 0:
            del blocks[at]
        else:
            blocks.insert(chance.randrange(len(blocks)), blocks[at] if deed == 1 else blocks.pop(at))
    return b"".join(blocks)


def _flip(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + bytes((chance.choice((*_NUMBERS, chance.randrange(256))),)) + content[at + 1 :]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _drop(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + content[at + chance.randint(1, 1024) :]


def _double(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    end = at + chance.randint(1, 1024)
    return content[:end] + content[at:end] * chance.choice((1, 2, 50)) + content[end:]


def _noise(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.randbytes(chance.randint(1, 64)) + content[at:]


_ACCIDENTS: Sequence[Callable[[bytes, random.Random], bytes]] = (_flip, _flip, _cut, _drop, _double, _noise)


def _places(document: Any) -> Any:
    """Every value of a document, as its container and key."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in list(items):
        yield document, key
        yield from _places(value)
