"""Error messages for invalid requests: the same text and exit status from dockerd and sampand.

Newer Docker versions start these messages in lower case, so case is ignored. Messages that dockerd 20.10 words
differently from later versions are left out.
"""

from collections.abc import Iterator

from tests.compat.test_run import IMAGE
from tests.support.clients import Client

# Exit status, client arguments (@ is the image), message. `made` was never started, `runs` is running.
REFUSALS = """
125 | run -m 1k @ true | minimum memory limit allowed is 6MB
125 | run --cpus 999 @ true | range of CPUs is from 0.01 to
125 | run -m 100m --memory-swap 50m @ true | memoryswap limit should be larger than memory limit
125 | run --rm --restart always @ true | conflicting options
125 | run --ipc nope @ true | invalid IPC mode: nope
125 | run --pid nope @ true | invalid PID mode
125 | run --uts nope @ true | invalid UTS mode
125 | run --userns nope @ true | invalid USER mode
125 | run --cap-add NOPE @ true | CapAdd: unknown capability: "CAP_NOPE"
125 | run --security-opt nosuch=1 @ true | invalid --security-opt
125 | run --stop-signal NOPE @ true | invalid signal: NOPE
125 | run --oom-score-adj 9999 @ true | [-1000, 1000]
125 | run -w relative @ true | the working directory 'relative' is invalid
125 | run -v /a:relative @ true | mount path must be absolute
125 | run -v /tmp:/ @ true | destination can't be '/'
125 | run -v relative/path:/x @ true | includes invalid characters for a local volume name
125 | run --mount type=nope,target=/x @ true | mount type unknown
125 | run --tmpfs /x:nosuchopt @ true | invalid tmpfs option
127 | run --device /dev/nonexistent @ true | no such file or directory
125 | run --network nonet @ true | network nonet not found
125 | run --network container:nobody @ true | No such container: nobody
125 | run --volumes-from nobody @ true | No such container: nobody
125 | run --link nobody @ true | could not get container for nobody
125 | run -u nobodyhere @ true | unable to find user nobodyhere: no matching entries in passwd file
125 | run --group-add nogroup99 @ true | unable to find group nogroup99: no matching entries in group file
127 | run @ nosuchcmd | exec: "nosuchcmd": executable file not found in $PATH
126 | run @ /etc/passwd | exec: "/etc/passwd": permission denied
126 | run @ /etc | exec: "/etc": permission denied
1 | run --rm --read-only @ touch /x | Read-only file system
1 | start nosuch | No such container: nosuch
1 | stop nosuch | No such container: nosuch
1 | kill nosuch | cannot kill container: nosuch: No such container: nosuch
1 | kill made | is not running
1 | kill -s NOPE runs | invalid signal: NOPE
1 | rm nosuch | No such container: nosuch
1 | rm runs | cannot remove
1 | exec nosuch true | No such container: nosuch
1 | exec made true | is not running
126 | exec runs /etc/passwd | exec: "/etc/passwd": permission denied
1 | logs nosuch | No such container: nosuch
1 | rename runs made | is already in use by container
1 | rename nosuch x | No such container: nosuch
1 | pause made | is not running
1 | unpause runs | is not paused
1 | update --memory 100m nosuch | No such container: nosuch
1 | top made | is not running
1 | cp nosuch:/x /tmp | No such container: nosuch
1 | cp runs:/nosuch /nosuch | could not find the file /nosuch in container runs
1 | diff nosuch | No such container: nosuch
1 | commit nosuch x | No such container: nosuch
1 | rmi nosuch | No such image: nosuch
1 | rmi @ | conflict: unable to remove repository reference
1 | tag nosuch x | No such image: nosuch
1 | volume create -d nodriver x | plugin "nodriver" not found
1 | volume create bad/name | includes invalid characters for a local volume name
1 | volume rm nosuch | no such volume
1 | network create -d nodriver n | plugin "nodriver" not found
1 | network rm bridge | is a pre-defined network and cannot be removed
1 | network inspect nosuch | not found
1 | ps --filter nosuch=1 | invalid filter 'nosuch'
1 | images --filter nosuch=1 | invalid filter 'nosuch'
1 | search --limit 200 x | limit 200 is outside the range of [1, 100]
"""


def refusals() -> Iterator[tuple[int, list[str], str]]:
    for line in REFUSALS.strip().splitlines():
        status, command, complaint = line.split(" | ")
        yield int(status), command.replace("@", IMAGE).split(), complaint


def test_what_makes_no_sense_is_refused_in_dockers_words(client: Client, docker: Client) -> None:
    docker("create", "--name", "made", IMAGE, "true")
    docker("run", "-d", "--name", "runs", IMAGE, "sleep", "1000")
    wrong = []
    for status, command, complaint in refusals():
        done = client.run(*command)
        told = done.stdout + done.stderr  # exec reports it where the command's output would be
        if done.returncode != status or complaint.lower() not in told.lower():
            wrong.append(f"{' '.join(command)}: {done.returncode}, {told.strip()}")
    assert not wrong, "\n".join(wrong)
