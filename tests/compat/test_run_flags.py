"""Flags of `run` and `exec`, as typed with either client, and their effect on the command in the container."""

import shlex
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.engines import Dockerd

IMAGE = "busybox:test"
FLAGS: tuple[tuple[str, str, str], ...] = (
    ("--add-host db:10.9.8.7", "grep db /etc/hosts", "10.9.8.7\tdb"),
    ("--cap-drop ALL --cap-add net_admin", "grep CapEff /proc/self/status", "0000000000001000"),
    ("--device /dev/full:/dev/mine:w", "echo x >/dev/mine", "No space left"),
    ("--device-cgroup-rule 'c 1:7 rwm' --cap-add MKNOD", "mknod /x c 1 7 && echo a >/x", "No space left"),
    (
        "--dns 10.1.1.1 --dns-search corp --dns-option ndots:3",
        "sort /etc/resolv.conf",
        "nameserver 10.1.1.1\noptions",
    ),
    ("--domainname corp --hostname web", "hostname; cat /proc/sys/kernel/domainname", "web\ncorp"),
    ("--entrypoint echo", "hi", "-c hi"),
    ("--group-add planks --group-add 77", "id -G", "0 77 2000"),
    ("--init", "cat /proc/1/cmdline | tr '\\0' ' '", "/sbin/docker-init -- "),
    ("--ipc none", "grep -c /dev/shm /proc/mounts", "0"),
    ("--ipc shareable --shm-size 2m", "df -k /dev/shm | tail -1", " 2048 "),
    ("--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700", "grep ' /t ' /proc/mounts", "size=1024k,mode=700"),
    ("--network none", "ls /sys/class/net", "lo"),
    ("--oom-score-adj 500", "cat /proc/self/oom_score_adj", "500"),
    ("--pid host", "[ $(ls -d /proc/[0-9]* | wc -l) -gt 3 ] && echo many", "many"),
    ("--read-only --tmpfs /t", "touch /t/x && echo ok; touch /x 2>&1", "Read-only file system"),
    ("--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status", "\t1"),
    ("--security-opt seccomp=unconfined", "grep Seccomp: /proc/self/status", "\t0"),
    ("--security-opt systempaths=unconfined", "grep -c ' /proc/kcore ' /proc/mounts", "0"),
    ("--sysctl net.core.somaxconn=77 --sysctl kernel.msgmax=9000", "cd /proc/sys; cat net/core/somaxconn", "77"),
    ("--tmpfs /t:size=1m,exec", "grep ' /t ' /proc/mounts", "size=1024k"),
    ("--ulimit nofile=100:200", "ulimit -Sn; ulimit -Hn", "100\n200"),
    ("--user boat:planks --workdir /made/here", "id -u; id -g; pwd", "1000\n2000\n/made/here"),
    ("--uts host --env A=1", "echo $A", "1"),
)


@pytest.mark.parametrize(("flags", "script", "seen"), FLAGS, ids=[flags for flags, _, _ in FLAGS])
def test_a_flag_of_run(client: Client, flags: str, script: str, seen: str) -> None:
    done = client.run("run", "--rm", *_words(flags), IMAGE, *_command(flags, script))
    assert seen in done.stdout + done.stderr, done


def test_files_of_variables_and_labels(client: Client, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# none\nA=1\nB=two words\n")
    (tmp_path / "labels").write_text("c=3\n")
    words = ("--env-file", str(tmp_path / "env"), "--label-file", str(tmp_path / "labels"), "--name", "filed")
    assert client("run", *words, IMAGE, "sh", "-c", "echo $A $B") == "1 two words"
    assert client("inspect", "--format", "{{.Config.Labels.c}}", "filed") == "3"


def test_volumes_and_links_of_another_container(client: Client) -> None:
    client("run", "-d", "--name", "db", "-v", "/data", IMAGE, "sh", "-c", "echo kept >/data/f; exec sleep 600")
    client("exec", "db", "sh", "-c", "until [ -s /data/f ]; do sleep 0.05; done")
    assert client("run", "--rm", "--volumes-from", "db:ro", IMAGE, "cat", "/data/f") == "kept"
    shown = client("run", "--rm", "--link", "db:store", IMAGE, "grep", "store", "/etc/hosts")
    assert shown.split()[1:] == ["store", client("inspect", "--format", "{{.Config.Hostname}}", "db"), "db"]


def test_gpus_are_refused_in_dockers_words(client: Client) -> None:
    done = client.run("run", "--rm", "--gpus", "all", IMAGE, "true")
    assert done.returncode == 125
    assert 'could not select device driver "" with capabilities: [[gpu]]' in done.stderr


@pytest.mark.parametrize(
    ("flags", "script", "seen"),
    [
        ("--user boat --workdir /tmp --env A=1", "id -u; pwd; echo $A", "1000\n/tmp\n1"),
        ("--tty", "tty", "/dev/"),
        ("--privileged", "grep CapEff /proc/self/status", ""),
    ],
)
def test_a_flag_of_exec(client: Client, flags: str, script: str, seen: str) -> None:
    client("run", "-d", "--name", "box", IMAGE, "sleep", "600")
    done = client.run("exec", *_words(flags), "box", "sh", "-c", script)
    if isinstance(client.engine, Dockerd) and "privileged" in flags:
        pytest.skip("Debian's Docker asks for more than this host may give")
    assert done.returncode == 0 and seen in done.stdout.replace("\r", ""), done


def test_exec_reads_a_file_of_variables(client: Client, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=1\n")
    client("run", "-d", "--name", "box", IMAGE, "sleep", "600")
    assert client("exec", "--env-file", str(tmp_path / "env"), "box", "sh", "-c", "echo $A") == "1"


def _words(flags: str) -> list[str]:
    return shlex.split(flags)


def _command(flags: str, script: str) -> tuple[str, ...]:
    return ("-c", script) if "--entrypoint" in flags else ("sh", "-c", script)
