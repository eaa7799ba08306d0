"""Scripts that run in the guest before the command, for busybox's shell.

`$B` is busybox, `$W` the directory with the files below, `$T` a tmpfs of the guest. The host's files are mounted
read-only on `$T/lower`; the guest's root is an overlay over them with its upper directory in that tmpfs. The upper
directory of a container's own overlay can't be in another overlay, so the places of such directories (`$SCRATCH`) are
plain ext4, on a disk in that tmpfs: unlike tmpfs before Linux 6.6, it supports `user.*` attributes.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

SCRATCH = ("tmp", "var/tmp", "var/lib/sampan", "run")
_HIDDEN = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "TMPDIR", "XDG_RUNTIME_DIR", "DOCKER_HOST"})

ROOT = r"""
fail() { echo "guest: $*"; $B poweroff -f; $B sleep 60; }
over() {
    layers=$((layers + 1))
    $B mkdir -p "$T/upper/$layers" "$T/work/$layers" "$2"
    $B chmod "$($B stat -c %a "$1")" "$T/upper/$layers"
    $B mount -t overlay -o "lowerdir=$1,upperdir=$T/upper/$layers,workdir=$T/work/$layers" overlay "$2" ||
        fail "can't lay a writable layer over $1"
}
over "$T/lower" "$T/root"
$B truncate -s 2G "$T/disk"
$B mkdir "$T/scratch"
$B mount --bind "$T" "$T/lower/mnt"
$B chroot "$T/lower" /sbin/mkfs.ext4 -q -F -O ^has_journal -m 0 /mnt/disk || fail "can't make a disk"
$B umount "$T/lower/mnt"
$B mount -t ext4 -o loop,discard,noinit_itable "$T/disk" "$T/scratch" || fail "can't mount the disk"
for directory in $SCRATCH; do
    $B mkdir -p "$T/root/$directory" "$T/scratch/$directory"
    $B chmod "$($B stat -c %a "$T/root/$directory")" "$T/scratch/$directory"
    $B mount --bind "$T/scratch/$directory" "$T/root/$directory" || fail "can't mount $directory"
done
[ -z "$SHOWN" ] || over "$T/lower$SHOWN" "$T/root$SHOWN"
$B mkdir -p "$T/root/run/guest"
$B cp "$B" "$T/root/run/guest/busybox"
$B cp "$W/config" "$W/session" "$W/command" "$T/root/run/guest/"
"""

SESSION = r"""
B=/run/guest/busybox
. /run/guest/config
[ -d /run/guest/host ] && $B umount -l /run/guest/host
$B mkdir -p /dev/pts /dev/shm /dev/mqueue /run/lock /run/netns
$B mount -t devpts -o mode=620,gid=5,ptmxmode=666 devpts /dev/pts
$B rm -f /dev/ptmx
$B ln -s pts/ptmx /dev/ptmx
$B mount -t tmpfs -o mode=1777 shm /dev/shm
$B mount -t mqueue mqueue /dev/mqueue
[ -e /dev/fd ] || $B ln -s /proc/self/fd /dev/fd
$B mount -t bpf bpf /sys/fs/bpf 2>/dev/null
$B mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
for controller in $($B cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
$B ip link set lo up
echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net  # as without the tunnels that are built into this kernel
$B hostname guest
$B mount --make-rshared /
exec 3<>"$CONTROL" 4>"$OUTPUT" </dev/null >/dev/null 2>&1
# A process in the root cgroup would keep its controllers from the children's children.
$B mkdir -p /sys/fs/cgroup/guest.command /sys/fs/cgroup/guest.init
echo $$ >/sys/fs/cgroup/guest.init/cgroup.procs
$B mkfifo /run/guest/output  # a pipe, as most runners of tests give it, rather than a terminal
$B cat </run/guest/output >&4 3>&- &
copier=$!
exec 5>/run/guest/output
(
    echo 0 >/sys/fs/cgroup/guest.command/cgroup.procs
    echo ready >&3
    exec $B setsid $B sh /run/guest/command >&5 2>&1 3>&- 4>&- 5>&-
) &
command=$!
exec 5>&-
report() {
    for process in /proc/[0-9]*; do
        words=$($B tr '\0' ' ' <"$process/cmdline")
        case $words in
            '') continue ;;  # the kernel's own
            */sampand\ *) kill -USR1 "${process##*/}" ;;  # shows its stacks in its log
        esac
        for task in "$process"/task/*; do
            echo "guest: ${process##*/} ${task##*/} $($B sed -n 's/^State:\t//p' "$task/status") $words"
            $B cat "$task/stack"
        done
    done
    echo 'guest: the kernel'
    $B dmesg | $B tail -n 100
    $B find /tmp -type f -name log | while read -r log; do
        echo "guest: $log"
        $B tail -n 100 "$log"
    done
    echo 'guest: the command'
    kill -ABRT $command  # pytest shows its stacks
    $B sleep 1
    echo reported >&3
}
while read -r word <&3; do
    [ "$word" != report ] || report >&4
done &
wait $command
status=$?
waited=0  # something that the command left behind may keep the pipe open
while [ $waited -lt 40 ] && $B kill -0 $copier; do
    waited=$((waited + 1))
    $B sleep 0.05
done
echo "exit $status" >&3
$B sleep 0.2
$B poweroff -f
"""


def config(values: Mapping[str, str], command_cwd: Path) -> str:
    """The variables read by both scripts."""
    scratch = [f"/{directory}" for directory in SCRATCH]
    hidden = any(command_cwd == Path(one) or Path(one) in command_cwd.parents for one in scratch)
    all_values = {"SCRATCH": " ".join(SCRATCH), "SHOWN": str(command_cwd) if hidden else "", **values}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in all_values.items())


def command(words: Sequence[str], cwd: Path, *, engine: str) -> str:
    """The command with the caller's environment; `SAMPAN_GUEST` is set to the engine."""
    environment = {name: value for name, value in os.environ.items() if name not in _HIDDEN and name.isidentifier()}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in {**environment, "SAMPAN_GUEST": engine}.items()]
    return "\n".join([*lines, f"cd {shlex.quote(str(cwd))} || exit 125", f"exec {shlex.join(words)}", ""])
