"""Images, volumes and networks, to the extent that containers need them."""

import json
from urllib.parse import quote

from tests.support.steps import Scenario, api, cli, create, py

VOLUME = {"Name": "made", "Labels": {"plank": "one"}}


def filtered(path: str, key: str, value: str) -> str:
    return f"{path}?filters={quote(json.dumps({key: [value]}))}"


SCENARIOS = (
    Scenario(
        "volumes",
        [
            api("POST", "/volumes/create", VOLUME, name="create"),
            api("POST", "/volumes/create", VOLUME, name="create once more"),
            api("POST", "/volumes/create", {}, name="create without a name", save={"anonymous": "Name"}),
            api("POST", "/volumes/create", {"Name": "a b"}, name="bad name"),
            api("POST", "/volumes/create", {"Name": "x"}, name="short name"),
            api("POST", "/volumes/create", {"Name": "x1", "Driver": "nope"}, name="unknown driver"),
            api("POST", "/volumes/create", b"{", headers={"Content-Type": "application/json"}, name="bad JSON"),
            api("GET", "/volumes/made", name="inspect"),
            api("GET", "/volumes/nope", name="inspect nothing"),
            api("GET", "/volumes", name="list"),
            *(
                api("GET", filtered("/volumes", key, value), name=f"{key}={value}")
                for key, value in (
                    ("name", "mad"),
                    ("label", "plank"),
                    ("label", "plank=two"),
                    ("driver", "local"),
                    ("dangling", "true"),
                    ("dangling", "x"),
                    ("nope", "1"),
                )
            ),
            create("user", host={"Binds": ["made:/made"]}),
            api("DELETE", "/volumes/made", name="remove one in use"),
            api("DELETE", "/volumes/nope", name="remove nothing"),
            api("DELETE", "/volumes/nope?force=1", name="remove nothing by force"),
            api("POST", "/volumes/prune", name="prune"),
            api("POST", filtered("/volumes/prune", "nope", "1"), name="prune by an unknown filter"),
            py("docker-py", lambda client: [one.name for one in client.volumes.list(filters={"name": "made"})]),
            cli("volume", "ls"),
            cli("volume", "inspect", "nope"),
            cli("volume", "rm", "nope"),
            cli("volume", "rm", "made"),
        ],
    ),
    Scenario(
        "networks",
        [
            *(
                api("GET", filtered("/networks", key, value), name=f"{key}={value}")
                for key, value in (("name", "bridge"), ("name", "host"), ("driver", "null"), ("type", "custom"))
            ),
            api("GET", "/networks/host", name="inspect host"),
            api("GET", "/networks/nope", name="inspect nothing"),
            api("GET", filtered("/networks", "nope", "1"), name="unknown filter"),
            api("POST", "/networks/prune", name="prune"),
            cli("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"),
            cli("network", "inspect", "nope"),
        ],
    ),
    Scenario(
        "images",
        [
            api("GET", "/images/json", name="list"),
            api("GET", "/images/busybox:test/json", name="inspect"),
            api("GET", "/images/layered:test/json", name="inspect another"),
            api("GET", "/images/nope/json", name="inspect nothing"),
            api("POST", "/images/busybox:test/tag?repo=ark&tag=1", name="tag"),
            api("POST", "/images/busybox:test/tag?repo=UPPER", name="bad tag"),
            api("POST", "/images/nope/tag?repo=x", name="tag nothing"),
            create("user"),
            api("DELETE", "/images/ark:1", name="untag"),
            api("DELETE", "/images/nope", name="remove nothing"),
            api("POST", "/images/prune", name="prune"),
            api("POST", filtered("/images/prune", "nope", "1"), name="prune by an unknown filter"),
            api("POST", "/build/prune", name="prune the build cache"),
            cli("image", "inspect", "nope"),
            cli("rmi", "nope"),
            cli("run", "--rm", "--pull", "always", "127.0.0.1:1/nope:nope", name="no such registry"),
        ],
    ),
)
