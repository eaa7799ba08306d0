"""DNS queries as clients send them."""

from __future__ import annotations

import dns.message
import dns.rdatatype


def query_packet(name: str, kind: str = "A", *, edns_size: int = 0, id: int = 7) -> bytes:
    """The wire form of a query, with EDNS if a size is given."""
    query = dns.message.make_query(
        name, dns.rdatatype.from_text(kind), use_edns=0 if edns_size else -1, payload=edns_size or 512, id=id
    )
    return query.to_wire()
