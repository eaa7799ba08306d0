"""Restart, pause, unpause, rename."""

from tests.support.steps import Scenario, api, cli, create, ended, py, ran, running

JSON = {"Content-Type": "application/json"}

SCENARIOS = (
    Scenario(
        "restart",
        [
            *running("web"),
            api("POST", "/containers/web/restart?t=0", name="one that runs"),
            api("GET", "/containers/web/json", name="inspect"),
            *ran("ended", "true"),
            api("POST", "/containers/ended/restart", name="one that has ended"),
            ended("ended"),
            create("created"),
            api("POST", "/containers/created/restart?t=0", name="one that was never started"),
            api("POST", "/containers/nope/restart", name="nobody"),
            api("POST", "/containers/web/restart?t=x", name="bad timeout"),
            cli("restart", "nope"),
        ],
    ),
    Scenario(
        "pause",
        [
            *running("web"),
            api("POST", "/containers/web/pause", name="one that runs"),
            api("POST", "/containers/web/pause", name="once more"),
            api("GET", "/containers/web/json", name="paused"),
            api("GET", "/containers/json", name="listed"),
            api("POST", "/containers/web/exec", {"Cmd": ["true"]}, name="exec in it"),
            api("POST", "/containers/web/start", name="start it"),
            api("DELETE", "/containers/web", name="remove it"),
            api("POST", "/containers/web/unpause", name="go on"),
            api("POST", "/containers/web/unpause", name="go on once more"),
            create("created"),
            api("POST", "/containers/created/pause", name="one that was never started"),
            api("POST", "/containers/created/unpause", name="go on with one that was never started"),
            api("POST", "/containers/nope/pause", name="nobody"),
            api("POST", "/containers/nope/unpause", name="go on with nobody"),
            cli("pause", "created"),
            cli("unpause", "web"),
        ],
    ),
    Scenario(
        "rename",
        [
            *running("web"),
            create("taken"),
            api("POST", "/containers/web/rename?name=other", name="to a free name"),
            api("GET", "/containers/other/json", name="inspect"),
            api("POST", "/containers/other/rename?name=taken", name="to a name in use"),
            api("POST", "/containers/other/rename?name=other", name="to its own name"),
            api("POST", "/containers/other/rename", name="to nothing"),
            api("POST", "/containers/other/rename?name=", name="to an empty name"),
            api("POST", "/containers/other/rename?name=a%20b", name="to a bad name"),
            api("POST", "/containers/nope/rename?name=x", name="nobody"),
            py("docker-py", lambda client: client.containers.get("other").rename("third")),
            cli("rename", "nope", "x"),
        ],
    ),
    Scenario(
        "top",
        [
            *running("web"),
            api("GET", "/containers/web/top", name="top"),
            api("GET", "/containers/web/top?ps_args=-o+pid,comm", name="with arguments"),
            api("GET", "/containers/web/top?ps_args=-o+comm", name="without the pid"),
            api("GET", "/containers/web/top?ps_args=--nope", name="bad arguments"),
            create("created"),
            api("GET", "/containers/created/top", name="of one that was never started"),
            api("GET", "/containers/nope/top", name="of nobody"),
            cli("top", "nope"),
        ],
    ),
    Scenario(
        "update",
        [
            *running("web"),
            api("POST", "/containers/web/update", {"RestartPolicy": {"Name": "always"}}, name="the restart policy"),
            api("GET", "/containers/web/json", name="inspect"),
            api("POST", "/containers/web/update", {"RestartPolicy": {"Name": "nope"}}, name="a bad restart policy"),
            api("POST", "/containers/web/update", {"Memory": 1}, name="too little memory"),
            api(
                "POST", "/containers/web/update", b"{", headers={"Content-Type": "application/json"}, name="bad JSON"
            ),
            api("POST", "/containers/nope/update", {}, name="nobody"),
            cli("update", "--restart", "no", "web"),
            cli("update", "--restart", "no", "nope"),
        ],
    ),
    Scenario(
        "prune",
        [
            *running("web"),
            *ran("ended", "true", Labels={"keep": "1"}),
            create("created"),
            api("POST", '/containers/prune?filters={"label!":["keep"]}', name="those without a label"),
            api("POST", "/containers/prune", name="all", save={"gone": "none"}),
            api("POST", '/containers/prune?filters={"nope":["1"]}', name="by an unknown filter"),
            api("POST", '/containers/prune?filters={"until":["x"]}', name="by a bad time"),
            cli("container", "prune", "-f"),
        ],
    ),
    Scenario(
        "stats",
        [
            create("created"),
            api("GET", "/containers/nope/stats?stream=0", name="of nobody"),
            cli("stats", "--no-stream", "nope"),
        ],
    ),
)
