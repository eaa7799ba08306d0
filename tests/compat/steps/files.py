"""Container files: changes, archive, /etc/hostname and the like, export, commit."""

import base64
import contextlib
import io
import json
import tarfile
from typing import Any

from tests.support.engines import UnixConnection
from tests.support.images import Entry, layer
from tests.support.steps import Observation, Scenario, Step, Subject, api, cli, create, ran, running

MADE = ("sh", "-c", "mkdir /new; echo hi >/new/file; ln -s file /new/link; rm /www/index.html; echo x >>/etc/group")
PUT = layer([Entry("put", b"put\n", mode=0o600, uid=1000, gid=1000)])


def archive(path: str, name: str) -> Step:
    """GET an archive: its members with their metadata, sorted, and the path stat header.

    Docker also puts the file type in the mode, as old Go versions did; tar readers ignore those bits.
    """

    def take(subject: Subject) -> Observation:
        status, headers, content = _fetched(subject, path)
        if status != 200:
            return {"status": status, **subject.words.flat(json.loads(content), "body")}
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            members = [_member(one) for one in tar]
        stat: dict[str, Any] = json.loads(base64.b64decode(headers.get("x-docker-container-path-stat") or b"e30="))
        stat.pop("mtime", None)
        told = {"content-type": headers.get("content-type"), **stat}
        return {"status": status, "members": sorted(members), **subject.words.flat(told, "stat")}

    return Step(name, take)


def _member(one: tarfile.TarInfo) -> tuple[Any, ...]:
    return one.name, one.type.decode(), oct(one.mode & 0o7777), one.uid, one.gid, one.size


def _fetched(subject: Subject, path: str) -> tuple[int, dict[str, str], bytes]:
    with contextlib.closing(UnixConnection(subject.engine.socket)) as connection:
        connection.request("GET", f"/v1.41{subject.filled(path)}")
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


SCENARIOS = (
    Scenario(
        "changes",
        [
            *ran("web", *MADE),
            api("GET", "/containers/web/changes", name="changes"),
            create("fresh"),
            api("GET", "/containers/fresh/changes", name="of a fresh one"),
            api("GET", "/containers/nope/changes", name="of nobody"),
            cli("diff", "nope"),
        ],
    ),
    Scenario(
        "archive",
        [
            *running("web", "sh", "-c", f"{MADE[2]}; sleep 1000"),
            api("PUT", "/containers/web/archive?path=/tmp", PUT, name="put"),
            archive("/containers/web/archive?path=/tmp", "a directory"),
            archive("/containers/web/archive?path=/tmp/put", "a file"),
            archive("/containers/web/archive?path=/new/link", "a link"),
            archive("/containers/web/archive?path=/new/.", "what is in a directory"),
            archive("/containers/web/archive?path=/nope", "no such file"),
            archive("/containers/web/archive?path=", "no path"),
            archive("/containers/nope/archive?path=/", "of nobody"),
            api("HEAD", "/containers/web/archive?path=/nope", name="head of no such file"),
            api("PUT", "/containers/web/archive?path=/nope", PUT, name="put where nothing is"),
            api("PUT", "/containers/web/archive?path=/etc/passwd", PUT, name="put into a file"),
            api("PUT", "/containers/web/archive?path=/tmp", b"no archive" * 100, name="put what is no archive"),
            api("PUT", "/containers/nope/archive?path=/", PUT, name="put into nobody"),
            cli("cp", "web:/new/file", "-", name="cp to stdout", quiet=True),
            cli("cp", "web:/nope", "/tmp/never", name="cp of no such file"),
        ],
    ),
    Scenario(
        "files that name things",
        [
            create("web", "sh", "-c", "echo more >>/etc/hosts", Hostname="harbour"),
            archive("/containers/web/archive?path=/etc/hostname", "before the first start"),
            api("POST", "/containers/web/start", name="start"),
            cli("wait", "web"),
            cli("cp", "web:/etc/hostname", "-", name="the name afterwards", quiet=True),
            archive("/containers/web/archive?path=/etc/hostname", "its size afterwards"),
            archive("/containers/web/archive?path=/etc/resolv.conf", "the name servers afterwards"),
            cli("inspect", "-f", "{{if .HostsPath}}known{{end}}", "web", name="where they are"),
        ],
    ),
    Scenario(
        "export and commit",
        [
            *ran("web", *MADE),
            archive("/containers/nope/export", "export of nobody"),
            api("POST", "/commit?container=nope", name="commit of nobody"),
            api("POST", "/commit?container=web&repo=UPPER", name="commit to a bad name"),
            api("POST", "/commit?container=web&repo=ark&tag=1&changes=NOPE+x", name="commit with a bad change"),
            api("POST", "/commit?container=web&repo=ark&tag=1&comment=hi&changes=ENV+A%3D1", name="commit"),
            cli("image", "inspect", "-f", "{{.Comment}} {{.Config.Env}} {{.Config.Cmd}}", "ark:1", name="the image"),
            cli("rmi", "ark:1", name="remove the image", quiet=True),
        ],
    ),
)
