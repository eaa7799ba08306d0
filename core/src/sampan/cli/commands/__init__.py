"""The table of all commands and their modules, which are imported only when needed.

`RUN` in "sampan.cli.commands.run" is a `Command`. A group is a dict of its commands; most container and image
commands are also at the top level, as in docker.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """The location of a command, and its summary in help."""

    module: str
    attribute: str
    summary: str


class Group(NamedTuple):
    """A management command, which precedes other commands. `aliases` maps alternative names to members."""

    summary: str
    members: dict[str, Entry]
    aliases: dict[str, str]


ATTACH = Entry("attach", "ATTACH", "Attach local standard input, output, and error streams to a running container")
COMMIT = Entry("filesystem", "COMMIT", "Create a new image from a container's changes")
COPY = Entry("cp", "COPY", "Copy files/folders between a container and the local filesystem")
CREATE = Entry("run", "CREATE", "Create a new container")
DIFF = Entry("filesystem", "DIFF", "Inspect changes to files or directories on a container's filesystem")
EXEC = Entry("exec", "EXEC", "Execute a command in a running container")
EXPORT = Entry("filesystem", "EXPORT", "Export a container's filesystem as a tar archive")
KILL = Entry("container", "KILL", "Kill one or more running containers")
LIST = Entry("ps", "LIST", "List containers")
LOGS = Entry("logs", "LOGS", "Fetch the logs of a container")
PAUSE = Entry("container", "PAUSE", "Pause all processes within one or more containers")
PORT = Entry("port", "PORT", "List port mappings or a specific mapping for the container")
RENAME = Entry("container", "RENAME", "Rename a container")
REMOVE = Entry("container", "REMOVE", "Remove one or more containers")
RESTART = Entry("container", "RESTART", "Restart one or more containers")
RUN = Entry("run", "RUN", "Create and run a new container from an image")
START = Entry("attach", "START", "Start one or more stopped containers")
STATS = Entry("stats", "STATS", "Display a live stream of container(s) resource usage statistics")
STOP = Entry("container", "STOP", "Stop one or more running containers")
TOP_OF = Entry("top", "TOP", "Display the running processes of a container")
UNPAUSE = Entry("container", "UNPAUSE", "Unpause all processes within one or more containers")
UPDATE = Entry("update", "UPDATE", "Update configuration of one or more containers")
WAIT = Entry("container", "WAIT", "Block until one or more containers stop, then print their exit codes")

IMAGES = Entry("image", "LIST", "List images")
HISTORY = Entry("history", "HISTORY", "Show the history of an image")
IMPORT = Entry("archive", "IMPORT", "Import the contents from a tarball to create a filesystem image")
LOAD = Entry("archive", "LOAD", "Load an image from a tar archive or STDIN")
PULL = Entry("pull", "PULL", "Download an image from a registry")
PUSH = Entry("pull", "PUSH", "Upload an image to a registry")
RMI = Entry("image", "REMOVE", "Remove one or more images")
SAVE = Entry("archive", "SAVE", "Save one or more images to a tar archive (streamed to STDOUT by default)")
SEARCH = Entry("history", "SEARCH", "Search a registry for images")
TAG = Entry("image", "TAG", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE")

EVENTS = Entry("events", "EVENTS", "Get real time events from the server")
INFO = Entry("info", "INFO", "Display system-wide information")
INSPECT = Entry("inspect", "INSPECT", "Return low-level information on sampan objects")

DRIVERS = Entry("driver", "LIST", "List the drivers, and the packages that serve them")
JOBS = Entry("job", "LIST", "List the engine's jobs")

GROUPS = {
    "container": Group(
        "Manage containers",
        {
            "attach": ATTACH,
            "commit": COMMIT,
            "cp": COPY,
            "create": CREATE,
            "diff": DIFF,
            "exec": EXEC,
            "export": EXPORT,
            "inspect": Entry("inspect", "CONTAINER", "Display detailed information on one or more containers"),
            "kill": KILL,
            "logs": LOGS,
            "ls": LIST,
            "pause": PAUSE,
            "port": PORT,
            "prune": Entry("prune", "CONTAINER", "Remove all stopped containers"),
            "rename": RENAME,
            "restart": RESTART,
            "rm": REMOVE,
            "run": RUN,
            "start": START,
            "stats": STATS,
            "stop": STOP,
            "top": TOP_OF,
            "unpause": UNPAUSE,
            "update": UPDATE,
            "wait": WAIT,
        },
        {"list": "ls", "ps": "ls", "remove": "rm"},
    ),
    "driver": Group("Manage drivers", {"ls": DRIVERS}, {"list": "ls"}),
    "image": Group(
        "Manage images",
        {
            "history": HISTORY,
            "import": IMPORT,
            "inspect": Entry("inspect", "IMAGE", "Display detailed information on one or more images"),
            "load": LOAD,
            "ls": IMAGES,
            "pull": PULL,
            "push": PUSH,
            "prune": Entry("prune", "IMAGE", "Remove unused images"),
            "rm": RMI,
            "save": SAVE,
            "tag": TAG,
        },
        {"list": "ls", "remove": "rm"},
    ),
    "job": Group(
        "Manage the engine's jobs",
        {"cancel": Entry("job", "CANCEL", "Cancel one or more jobs"), "ls": JOBS},
        {"list": "ls"},
    ),
    "network": Group(
        "Manage networks",
        {
            "connect": Entry("network", "CONNECT", "Connect a container to a network"),
            "create": Entry("network_create", "CREATE", "Create a network"),
            "disconnect": Entry("network", "DISCONNECT", "Disconnect a container from a network"),
            "inspect": Entry("inspect", "NETWORK", "Display detailed information on one or more networks"),
            "ls": Entry("network", "LIST", "List networks"),
            "prune": Entry("prune", "NETWORK", "Remove all unused networks"),
            "rm": Entry("network", "REMOVE", "Remove one or more networks"),
        },
        {"list": "ls", "remove": "rm"},
    ),
    "plugin": Group(
        "Manage plugins",
        {
            "inspect": Entry("inspect", "PLUGIN", "Display detailed information on one or more plugins"),
            "ls": Entry("plugin", "LIST", "List plugins"),
        },
        {"list": "ls"},
    ),
    "system": Group(
        "Manage sampan",
        {
            "check": Entry("check", "CHECK", "Check that images, layers and containers on the disk are intact"),
            "df": Entry("df", "DF", "Show disk usage"),
            "events": EVENTS,
            "info": INFO,
            "prune": Entry("prune", "SYSTEM", "Remove unused data"),
        },
        {},
    ),
    "volume": Group(
        "Manage volumes",
        {
            "create": Entry("volume", "CREATE", "Create a volume"),
            "inspect": Entry("inspect", "VOLUME", "Display detailed information on one or more volumes"),
            "ls": Entry("volume", "LIST", "List volumes"),
            "prune": Entry("prune", "VOLUME", "Remove unused local volumes"),
            "rm": Entry("volume", "REMOVE", "Remove one or more volumes"),
            "update": Entry("volume", "UPDATE", "Update a volume (cluster volumes only)"),
        },
        {"list": "ls", "remove": "rm"},
    ),
}

COMMON = {
    "run": RUN,
    "exec": EXEC,
    "ps": LIST,
    "pull": PULL,
    "push": PUSH,
    "images": IMAGES,
    "login": Entry("login", "LOGIN", "Authenticate to a registry"),
    "logout": Entry("login", "LOGOUT", "Log out from a registry"),
    "version": Entry("version", "VERSION", "Show the sampan version information"),
    "info": INFO,
}

COMMANDS = {
    "attach": ATTACH,
    "commit": COMMIT,
    "completion": Entry("completion", "COMPLETION", "Generate the completion script for a shell"),
    "cp": COPY,
    "create": CREATE,
    "diff": DIFF,
    "drivers": DRIVERS,
    "events": EVENTS,
    "export": EXPORT,
    "history": HISTORY,
    "import": IMPORT,
    "inspect": INSPECT,
    "jobs": JOBS,
    "kill": KILL,
    "load": LOAD,
    "logs": LOGS,
    "pause": PAUSE,
    "port": PORT,
    "rename": RENAME,
    "restart": RESTART,
    "rm": REMOVE,
    "rmi": RMI,
    "save": SAVE,
    "search": SEARCH,
    "start": START,
    "stats": STATS,
    "stop": STOP,
    "tag": TAG,
    "top": TOP_OF,
    "unpause": UNPAUSE,
    "update": UPDATE,
    "wait": WAIT,
}

HIDDEN = {"__complete": Entry("completion", "COMPLETE", "Complete the last word")}

TOP = {**COMMON, **COMMANDS}
