"""The DNS server that each sandbox on a user-defined network has at 127.0.0.11."""

from sampan.network.dns.names import Names
from sampan.network.dns.relay import Relay, Upstream
from sampan.network.dns.server import NameServer, ServerSettings
from sampan.network.dns.upstream import HostServers

__all__ = ["HostServers", "NameServer", "Names", "Relay", "ServerSettings", "Upstream"]
