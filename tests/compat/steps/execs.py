"""Exec: create, start, inspect, resize; attach and logs."""

from tests.support.steps import Scenario, api, cli, create, hijack, py, ran, running

EXEC = {"Cmd": ["sh", "-c", "echo out; sleep 0.3; echo err >&2; exit 3"], "AttachStdout": True, "AttachStderr": True}
CAT = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
TALK = ("sh", "-c", "echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three")

SCENARIOS = (
    Scenario(
        "exec",
        [
            *running("web"),
            api("POST", "/containers/web/exec", EXEC, name="create", save={"exec": "Id"}),
            api("GET", "/exec/{exec}/json", name="created"),
            hijack("/exec/{exec}/start", {"Detach": False}, name="start"),
            api("GET", "/exec/{exec}/json", name="ended"),
            api("POST", "/exec/{exec}/start", {}, name="start once more"),
            api("POST", "/containers/web/exec", CAT, save={"cat": "Id"}, quiet=True),
            hijack("/exec/{cat}/start", {}, send=b"in\n", name="with input"),
            api("POST", "/containers/web/exec", EXEC, save={"old": "Id"}, quiet=True),
            hijack("/exec/{old}/start", {}, upgrade=False, name="without an upgrade"),
            api("POST", "/containers/web/exec", {**EXEC, "Tty": True}, save={"tty": "Id"}, quiet=True),
            hijack("/exec/{tty}/start", {"Tty": True}, name="on a terminal"),
            api("POST", "/containers/web/exec", {"Cmd": ["true"]}, save={"away": "Id"}, quiet=True),
            api("POST", "/exec/{away}/start", {"Detach": True}, name="detached"),
            py(
                "exec_run",
                lambda client: list(client.containers.get("web").exec_run(["sh", "-c", "exit 4"])),
            ),
            cli("exec", "web", "sh", "-c", "echo out; echo err >&2; exit 3"),
            cli("exec", "-i", "web", "cat", stdin="in\n"),
            cli("exec", "-u", "boat", "-w", "/tmp", "-e", "A=1", "web", "sh", "-c", "id -un; pwd; echo $A"),
        ],
    ),
    Scenario(
        "exec refuses",
        [
            *running("web"),
            create("created"),
            *ran("ended", "true"),
            api("POST", "/containers/nope/exec", EXEC, name="no such container"),
            api("POST", "/containers/created/exec", EXEC, name="in one that was never started"),
            api("POST", "/containers/ended/exec", EXEC, name="in one that has ended"),
            api("POST", "/containers/web/exec", {}, name="no command"),
            api("POST", "/containers/web/exec", {"Cmd": []}, name="an empty command"),
            api("POST", "/containers/web/exec", name="no body"),
            api("POST", "/containers/web/exec", b"{", headers={"Content-Type": "application/json"}, name="bad JSON"),
            api("POST", "/containers/web/exec", b"{}", headers={"Content-Type": "text/plain"}, name="wrong type"),
            api("POST", "/containers/web/exec", {**EXEC, "User": "nobody-here"}, save={"user": "Id"}, name="user"),
            api("POST", "/exec/{user}/start", {}, name="start as an unknown user"),
            api("POST", "/containers/web/exec", {"Cmd": ["nope"]}, save={"missing": "Id"}, quiet=True),
            api("POST", "/exec/{missing}/start", {"Detach": True}, name="no such command, detached"),
            api("GET", "/exec/{missing}/json", name="after no such command"),
            api("POST", "/exec/nope/start", {}, name="no such exec"),
            api("GET", "/exec/nope/json", name="inspect no such exec"),
            api("POST", "/exec/nope/resize?h=1&w=1", name="resize no such exec"),
            cli("exec", "nope", "true"),
            cli("exec", "ended", "true"),
            cli("exec", "web", "nope"),
            cli("exec", "web", "/etc"),
            cli("exec", "-w", "/nope", "web", "true"),
        ],
    ),
    Scenario(
        "logs",
        [
            *ran("web", *TALK),
            *(
                api("GET", f"/containers/web/logs?{query}", name=query)
                for query in (
                    "stdout=1&stderr=1",
                    "stdout=1",
                    "stderr=1",
                    "stdout=1&stderr=1&tail=1",
                    "stdout=1&stderr=1&tail=0",
                    "stdout=1&stderr=1&tail=all",
                    "stdout=1&stderr=1&tail=x",
                    "stdout=1&stderr=1&follow=1",
                    "stdout=1&timestamps=1",
                    "stdout=1&since=1",
                    "stdout=1&since=4000000000",
                    "stdout=1&until=1",
                    "stdout=1&details=1",
                    "stdout=1&since=x",
                    "",
                )
            ),
            api("GET", "/containers/nope/logs?stdout=1", name="of nobody"),
            create("never"),
            api("GET", "/containers/never/logs?stdout=1", name="of what was never started"),
            *ran("tty", "echo", "hi", Tty=True),
            api("GET", "/containers/tty/logs?stdout=1", name="of a terminal"),
            py("docker-py", lambda client: client.containers.get("web").logs().decode()),
            cli("logs", "web"),
            cli("logs", "--tail", "1", "web"),
        ],
    ),
    Scenario(
        "attach",
        [
            *ran("ended", *TALK),
            hijack("/containers/ended/attach?logs=1&stdout=1&stderr=1", name="the logs of one that has ended"),
            hijack("/containers/nope/attach?stream=1&stdout=1", name="to nobody"),
            hijack("/containers/ended/attach?stream=1&detachKeys=nope,nope", name="bad detach keys"),
            *running("cat", "cat", OpenStdin=True, StdinOnce=True),
            hijack("/containers/cat/attach?stream=1&stdin=1&stdout=1&stderr=1", send=b"in\n", name="with input"),
            cli("attach", "nope"),
            cli("attach", "ended"),
        ],
    ),
    Scenario(
        "resize",
        [
            *running("tty", Tty=True, OpenStdin=True),
            *running("plain"),
            create("created", Tty=True),
            api("POST", "/containers/tty/resize?h=10&w=20", name="a terminal"),
            api("POST", "/containers/plain/resize?h=10&w=20", name="no terminal"),
            api("POST", "/containers/tty/resize?h=x&w=20", name="bad height"),
            api("POST", "/containers/tty/resize", name="no size"),
            api("POST", "/containers/created/resize?h=1&w=1", name="one that was never started"),
            api("POST", "/containers/nope/resize?h=1&w=1", name="nobody"),
        ],
    ),
)
