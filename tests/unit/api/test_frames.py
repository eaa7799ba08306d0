"""WebSocket frames as RFC 6455 defines them."""

from __future__ import annotations

import pytest

from sampan.api import frames
from sampan.api.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, BadFrame, Frame, FrameReader

MASK = b"\x37\xfa\x21\x3d"


def masked(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    first = bytes(((0x80 if final else 0) | opcode,))
    if len(payload) < 126:
        length = bytes((0x80 | len(payload),))
    elif len(payload) < 1 << 16:
        length = b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        length = b"\xff" + len(payload).to_bytes(8, "big")
    return first + length + MASK + bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))


def test_the_key_is_answered_as_in_the_rfc() -> None:
    assert frames.accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_masked_hello_of_the_rfc() -> None:
    content = bytes.fromhex("818537fa213d7f9f4d5158")
    assert list(FrameReader().feed(content)) == [Frame(TEXT, b"Hello")]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 65535, 65536, 1 << 20])
@pytest.mark.parametrize("step", [7, 1 << 30])
def test_a_payload_of_any_size_comes_whole(size: int, step: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    content = masked(BINARY, payload) + masked(PING, b"!")
    step = max(step, len(content) // 50)
    reader = FrameReader()
    found = [frame for start in range(0, len(content), step) for frame in reader.feed(content[start : start + step])]
    assert found == [Frame(BINARY, payload), Frame(PING, b"!")]


def test_a_message_in_pieces_is_told_piece_by_piece() -> None:
    content = masked(TEXT, b"Hel", final=False) + masked(CONTINUATION, b"lo")
    assert list(FrameReader().feed(content)) == [Frame(TEXT, b"Hel"), Frame(CONTINUATION, b"lo")]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\x81\x05Hello", 1002),  # unmasked
        (b"\xc1\x80" + MASK, 1002),  # reserved bit set
        (b"\x83\x80" + MASK, 1002),  # unknown opcode
        (masked(PING, b"x" * 126), 1002),
        (masked(CLOSE, b"", final=False), 1002),
        (b"\x82\xff" + (2**40).to_bytes(8, "big") + MASK, 1009),
    ],
)
def test_what_breaks_the_protocol_is_refused(content: bytes, code: int) -> None:
    with pytest.raises(BadFrame) as refused:
        list(FrameReader().feed(content))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("length", "head"),
    [(5, "8205"), (126, "827e007e"), (65535, "827effff"), (65536, "827f0000000000010000")],
)
def test_heads(length: int, head: str) -> None:
    assert frames.head(BINARY, length).hex() == head
