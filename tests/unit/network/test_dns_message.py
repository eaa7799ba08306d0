"""Our DNS packets against dnspython's."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.network.dns import message
from tests.support.dns_packets import query_packet

LABEL = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_", min_size=1, max_size=63)
NAME = st.lists(LABEL, min_size=1, max_size=5).map(".".join).filter(lambda name: len(name) <= 250)
KINDS = st.sampled_from(["A", "AAAA", "PTR", "MX", "SRV", "TXT"])


@given(NAME, KINDS, st.sampled_from([0, 512, 1232, 4096]), st.integers(0, 65535))
def test_what_a_client_asks_is_understood(name: str, kind: str, size: int, id: int) -> None:
    packet = query_packet(name, kind, edns_size=size, id=id)
    query = message.parse_query(packet)
    assert query is not None
    theirs = dns.message.from_wire(packet)
    assert query.id == theirs.id
    assert query.name == name.lower().encode()
    assert query.type == theirs.question[0].rdtype
    assert (query.edns, query.size) == (size > 0, max(size, 512))
    assert message.is_standard(query)


@given(NAME, st.lists(st.ip_addresses(v=4), max_size=200), st.sampled_from([0, 1232, 4096]))
def test_what_we_answer_is_understood(name: str, addresses: list[object], size: int) -> None:
    packet = query_packet(name, edns_size=size)
    query = message.parse_query(packet)
    assert query is not None
    answer = message.answer(query, [message.address_data(address) for address in addresses])  # type: ignore[arg-type]
    theirs = dns.message.from_wire(answer, continue_on_error=False, raise_on_truncation=False)
    assert theirs.is_response is not None and dns.message.from_wire(packet).is_response(theirs)
    told = [str(record) for rrset in theirs.answer for record in rrset]
    assert len(answer) <= max(size, 512)
    cut = bool(theirs.flags & dns.flags.TC)
    assert cut == (len({*map(str, addresses)}) > len(told) or len(addresses) * 16 > max(size, 512) - len(packet) - 11)
    assert set(told) <= set(map(str, addresses))
    assert (theirs.edns >= 0) == (size > 0)


@given(st.binary(max_size=300))
def test_no_packet_is_too_strange(packet: bytes) -> None:
    query = message.parse_query(packet)
    if query is not None:
        assert len(query.question) <= len(packet)
        dns.message.from_wire(message.refusal(query, message.SERVER_FAILURE), ignore_trailing=True)


@given(NAME, st.data())
def test_a_query_that_is_cut_off_or_changed_raises_nothing(name: str, data: st.DataObject) -> None:
    packet = bytearray(query_packet(name, edns_size=1232))
    at = data.draw(st.integers(0, len(packet) - 1))
    message.parse_query(bytes(packet[:at]))
    packet[at] = data.draw(st.integers(0, 255))
    message.parse_query(bytes(packet))


@given(st.ip_addresses().filter(lambda address: not getattr(address, "ipv4_mapped", None)))
def test_reversed_addresses_are_read(address: object) -> None:
    name = dns.reversename.from_address(str(address)).to_text(omit_final_dot=True)
    assert message.reversed_address(name.encode()) == address


@pytest.mark.parametrize(
    "name",
    [b"in-addr.arpa", b"1.2.3.in-addr.arpa", b"300.2.3.4.in-addr.arpa", b"x.ip6.arpa", b"web", b"\xff.in-addr.arpa"],
)
def test_what_is_no_whole_address_is_none(name: bytes) -> None:
    assert message.reversed_address(name) is None


def test_a_name_in_an_answer_is_read() -> None:
    query = message.parse_query(query_packet("2.0.0.10.in-addr.arpa", "PTR"))
    assert query is not None
    theirs = dns.message.from_wire(message.answer(query, [message.name_data("web.sea")]))
    assert theirs.answer[0][0].to_text() == "web.sea."


def test_a_refusal_says_its_code() -> None:
    query = message.parse_query(query_packet("web", edns_size=1232))
    assert query is not None
    refusal = message.refusal(query, message.REFUSED)
    assert dns.message.from_wire(refusal).rcode() is dns.rcode.REFUSED
    assert message.response_code(refusal) == message.REFUSED


@pytest.mark.parametrize("forged", ["id", "question", "no response", "short"])
def test_only_the_response_to_a_query_is_taken_for_it(forged: str) -> None:
    packet = query_packet("web", id=9)
    query = message.parse_query(packet)
    assert query is not None
    response = message.answer(query, [])
    assert message.answers_query(response, 9, query)
    other = message.parse_query(query_packet("bad", id=9))
    assert other is not None
    false = {
        "id": message.with_id(response, 8),
        "question": message.answer(other, []),
        "no response": packet,
        "short": response[:11],
    }
    assert not message.answers_query(false[forged], 9, query)
