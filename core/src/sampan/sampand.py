"""The command `sampand`: flags, configuration file, pid file, and running in the background."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from sampan import __version__
from sampan.config import DaemonConfig, load_config
from sampan.drivers.loader import load
from sampan.errdefs import SampanError
from sampan.notify import READY_FD_VARIABLE

_PATH = click.Path(path_type=Path)


def _pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    pairs = {}
    for value in values:
        name, equals, content = value.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{value} is not KEY=VALUE")
        pairs[name] = content
    return pairs or None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config-file", type=_PATH, help="Configuration file [/etc/sampan/daemon.json]")
@click.option("-H", "--host", "hosts", multiple=True, help="Socket to listen on: unix://PATH, tcp://HOST:PORT, fd://")
@click.option("--read-only-host", "read_only_hosts", multiple=True, help="Like -H, for clients that may only read")
@click.option("--data-root", type=_PATH, help="Directory for persistent data [/var/lib/sampan]")
@click.option("--exec-root", type=_PATH, help="Directory for runtime state [/run/sampan]")
@click.option("-p", "--pidfile", type=_PATH, help="File for the daemon's pid [/run/sampan.pid]")
@click.option("-G", "--group", help="Group of the unix socket [sampan, if there is one]")
@click.option("-D", "--debug", is_flag=True, default=None, help="Log everything")
@click.option("-l", "--log-level", help="debug, info, warn or error [info]")
@click.option("--log-format", help="text or json [text]")
@click.option("--log-driver", help="Log driver for containers that don't choose one [json-file]")
@click.option("--log-opt", "log_opts", multiple=True, callback=_pairs, help="Option KEY=VALUE for this log driver")
@click.option("--label", "labels", multiple=True, help="Label of this daemon")
@click.option("--storage-driver", "-s", help="Storage driver [overlayfs]")
@click.option("--network-driver", help="Driver behind Docker's network driver 'bridge' [bridge_net]")
@click.option("--resource-driver", help="Resource driver [cgroups_v2]")
@click.option("--strict-resources", is_flag=True, default=None, help="Refuse limits the host can't enforce")
@click.option("--cgroup-parent", help="Slice for the containers' cgroups [/sampan-INSTANCE]")
@click.option("--default-runtime", help="OCI runtime for containers that don't choose one [the best that works]")
@click.option("--init-path", type=_PATH, help="Program for run --init [catatonit or tini]")
@click.option("--default-shm-size", type=int, help="Size of /dev/shm in bytes")
@click.option("--shutdown-timeout", type=int, help="Seconds that running jobs are given at shutdown [15]")
@click.option("-b", "--bridge", help="none: no default bridge; containers without a network have loopback only")
@click.option("--bip", help="Address of the default bridge, such as 10.9.0.1/16")
@click.option("--ip", help="Host address for published ports [0.0.0.0]")
@click.option("--published-ports", help="open, or host-firewall: the host's input rules apply to them [open]")
@click.option("--dns", multiple=True, help="DNS server for containers")
@click.option("--dns-search", multiple=True, help="DNS search domain for containers")
@click.option("--dns-opt", "dns_opts", multiple=True, help="DNS option for containers")
@click.option(
    "--insecure-registry",
    "insecure_registries",
    multiple=True,
    help="Registry that may use plain HTTP or an unverified certificate",
)
@click.option(
    "--registry-mirror", "registry_mirrors", multiple=True, help="URL to try before Docker Hub when pulling"
)
@click.option(
    "--registry-certs-dir",
    "registry_certs_dirs",
    type=_PATH,
    multiple=True,
    help="Directory with certificates per registry [/etc/sampan/certs.d, /etc/docker/certs.d]",
)
@click.option("--max-concurrent-uploads", type=int, help="Layers of a push sent at once [5]")
@click.option("--max-concurrent-downloads", type=int, help="Layers of a pull fetched at once [6]")
@click.option(
    "--tls", "tlsverify", is_flag=True, default=None, help="Same as --tlsverify: there is no TLS without it"
)
@click.option("--tlsverify", is_flag=True, default=None, help="Use TLS, and accept only clients with a certificate")
@click.option("--tlscacert", type=_PATH, help="CA that signs the clients' certificates")
@click.option("--tlscert", type=_PATH, help="This daemon's certificate")
@click.option("--tlskey", type=_PATH, help="This daemon's key")
@click.option("--gc-high", help="Remove unused images above this: 85% of the disk, or 50GB of images [off]")
@click.option("--gc-low", help="Stop removing below this [a tenth below --gc-high]")
@click.option("--gc-unused-days", type=int, help="Remove images not used for this many days [off]")
@click.option("--gc-interval", type=int, help="Seconds between two checks [300]")
@click.option("--detach", is_flag=True, help="Run in the background; returns once the daemon is ready")
@click.option("--log-file", type=_PATH, help="Where --detach sends the log [DATA_ROOT/sampand.log]")
@click.option("--validate", is_flag=True, help="Check the configuration and that its drivers are installed, and exit")
@click.version_option(__version__, "-v", "--version", message="sampand version %(version)s")
def main(config_file: Path | None, detach: bool, log_file: Path | None, validate: bool, **flags: Any) -> None:
    """A container engine whose drivers are pip packages."""
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    file = config_file and config_file.absolute()  # a daemon rereads it from another working directory
    try:
        config = load_config(file, given)
        read = partial(load_config, file, {name: getattr(config, name) for name in given})
        if validate:
            _check_drivers(config)
            click.echo("configuration OK")
        elif detach:
            _detach(config, log_file)
        else:
            _serve(config, read)
    except (SampanError, OSError) as error:  # such as a full disk, or a missing directory for the pid file
        click.echo(f"sampand: {error}", err=True)
        sys.exit(1)


def _check_drivers(config: DaemonConfig) -> None:
    drivers = load()
    drivers.storage_factory(config.storage_driver)
    drivers.network_factory(config.network_driver)
    drivers.resource_factory(config.resource_driver)


def _serve(config: DaemonConfig, read: Callable[[], DaemonConfig]) -> None:
    from sampan.bootstrap import run  # noqa: PLC0415  --help and --validate need not wait for it

    os.chdir("/")  # a daemon keeps no file system busy
    run(config, read)


def _detach(config: DaemonConfig, log_file: Path | None) -> None:
    """Start the same command in a new session, and wait until it is ready or has failed."""
    log_path = log_file or config.data_root / "sampand.log"
    log_path.parent.mkdir(mode=0o710, parents=True, exist_ok=True)
    ready, notify = os.pipe()
    with log_path.open("ab") as log:
        start = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "sampan.sampand", *_without_detach(sys.argv[1:])],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[notify],
            env={**os.environ, READY_FD_VARIABLE: str(notify)},
        )
    os.close(notify)
    is_ready = os.read(ready, 16)
    os.close(ready)
    if not is_ready:
        process.wait()
        click.echo(log_path.read_bytes()[start:].decode(errors="replace"), err=True, nl=False)
        sys.exit(process.returncode or 1)
    process.returncode = 0  # the daemon keeps running: suppresses subprocess's ResourceWarning


def _without_detach(arguments: list[str]) -> list[str]:
    return [argument for argument in arguments if argument != "--detach"]


if __name__ == "__main__":
    main()
