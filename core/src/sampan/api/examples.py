"""Examples for the OpenAPI document, by operation; a test validates them against their models."""

from __future__ import annotations

from typing import Any

_ID = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2"
_IMAGE = "sha256:7614ae9453d1d87e740a2056257a6de7135c84037c367e1fffa92ae922784631"

_VOLUME: dict[str, Any] = {
    "Name": "data",
    "Driver": "local",
    "Mountpoint": "/var/lib/sampan/volumes/data/_data",
    "CreatedAt": "2026-11-23T22:17:01Z",
    "Labels": {},
    "Scope": "local",
    "Options": None,
}
_NETWORK = {
    "Name": "bridge",
    "Id": "7d86d31b1478e7cca9ebed7e73aa0fdeec46c5ca29497431d3007d2d9e15ed99",
    "Created": "2026-11-23T22:17:01Z",
    "Driver": "bridge",
    "Scope": "local",
    "IPAM": {"Driver": "default", "Config": [{"Subnet": "172.30.0.0/16", "Gateway": "172.30.0.1"}]},
}
_JOB = {
    "Id": "9f86d081884c7d65",
    "Name": "container_start",
    "State": "succeeded",
    "Caller": {"Uid": 0, "Gid": 0, "Pid": 4711, "Role": "full", "Address": "unix"},
    "QueuedAt": 1795472221.2,
    "StartedAt": 1795472221.2,
    "EndedAt": 1795472221.3,
}
_PROBLEM = {
    "Kind": "stray file",
    "Name": "/var/lib/sampan/images/content/ingest/0123",
    "Detail": "it is no blob, and nobody is writing it",
    "Repaired": False,
}
_PLUGIN = {"Name": "sampan-overlayfs:0.1.0", "Enabled": True}

REQUESTS: dict[str, Any] = {
    "ImageCommit": {"Cmd": ["httpd", "-f"], "WorkingDir": "/www"},
    "ContainerCreate": {
        "Image": "busybox",
        "Cmd": ["httpd", "-f"],
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}, "Memory": 67108864},
    },
    "ContainerUpdate": {"Memory": 134217728, "MemorySwap": 268435456, "RestartPolicy": {"Name": "unless-stopped"}},
    "ContainerExec": {"Cmd": ["date"], "AttachStdout": True, "AttachStderr": True},
    "ExecStart": {"Detach": False, "Tty": False},
    "SystemAuth": {"username": "hannah", "password": "plank", "serveraddress": "registry.example.com"},
    "NetworkConnect": {"Container": "web", "EndpointConfig": {"Aliases": ["www"]}},
    "NetworkCreate": {
        "Name": "sea",
        "Driver": "bridge",
        "IPAM": {"Config": [{"Subnet": "10.20.0.0/24", "Gateway": "10.20.0.1"}]},
        "Labels": {"com.example.role": "front"},
    },
    "NetworkDisconnect": {"Container": "web", "Force": False},
    "VolumeCreate": {"Name": "data", "Labels": {"com.example.role": "db"}},
}

RESPONSES: dict[str, Any] = {
    "ContainerUpdate": {"Warnings": None},
    "ContainerTop": {
        "Titles": ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"],
        "Processes": [["root", "4711", "4690", "0", "22:17", "?", "00:00:00", "httpd -f"]],
    },
    "ContainerPrune": {"ContainersDeleted": [_ID], "SpaceReclaimed": 4096},
    "ContainerStats": {
        "id": _ID,
        "name": "/web",
        "os_type": "linux",
        "read": "2026-11-23T22:17:02.5Z",
        "cpu_stats": {
            "cpu_usage": {"total_usage": 4890000, "usage_in_kernelmode": 890000, "usage_in_usermode": 4000000},
            "system_cpu_usage": 7876490000000,
            "online_cpus": 2,
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        },
        "memory_stats": {"usage": 1048576, "stats": {"inactive_file": 4096}, "limit": 67108864},
        "pids_stats": {"current": 1, "limit": 512},
        "blkio_stats": {"io_service_bytes_recursive": [{"major": 254, "minor": 0, "op": "read", "value": 4096}]},
        "preread": "2026-11-23T22:17:01.5Z",
        "networks": {"eth0": {"rx_bytes": 180, "rx_packets": 2, "tx_bytes": 0, "tx_packets": 0}},
    },
    "ContainerChanges": [{"Path": "/etc", "Kind": 0}, {"Path": "/etc/new", "Kind": 1}, {"Path": "/www", "Kind": 2}],
    "ImageCommit": {"Id": _IMAGE},
    "ContainerList": [
        {
            "Id": _ID,
            "Names": ["/web"],
            "Image": "busybox",
            "ImageID": _IMAGE,
            "Command": "httpd -f",
            "Created": 1795472221,
            "Ports": [{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
            "State": "running",
            "Status": "Up 2 minutes",
        }
    ],
    "ContainerCreate": {"Id": _ID, "Warnings": []},
    "ContainerInspect": {
        "Id": _ID,
        "Name": "/web",
        "State": {"Status": "running", "Running": True, "Pid": 4711},
        "Image": _IMAGE,
        "Config": {"Image": "busybox", "Cmd": ["httpd", "-f"]},
    },
    "ContainerWait": {"StatusCode": 0},
    "ContainerExec": {"Id": _ID},
    "ExecInspect": {
        "ID": _ID,
        "Running": False,
        "ExitCode": 0,
        "ProcessConfig": {"tty": False, "entrypoint": "date", "arguments": []},
        "ContainerID": _ID,
    },
    "ImageList": [{"Id": _IMAGE, "RepoTags": ["busybox:latest"], "Created": 1795472221, "Size": 4261550}],
    "ImageInspect": {
        "Id": _IMAGE,
        "RepoTags": ["busybox:latest"],
        "Architecture": "amd64",
        "Os": "linux",
        "Size": 4261550,
        "RootFS": {"Type": "layers", "Layers": [_IMAGE]},
    },
    "ImageCreate": {"status": "Pull complete", "id": "6549ce82abbf", "progressDetail": {}},
    "ImagePush": {"status": "Pushed", "id": "6549ce82abbf", "progressDetail": {}},
    "ImageSearch": [{"name": "busybox", "description": "Busybox.", "is_official": True, "star_count": 3300}],
    "ImageHistory": [{"Id": _IMAGE, "Created": 1795472221, "CreatedBy": "CMD [sh]", "Tags": ["busybox:latest"]}],
    "DistributionInspect": {
        "Descriptor": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": _IMAGE,
            "size": 867,
        },
        "Platforms": [{"os": "linux", "architecture": "amd64"}],
    },
    "ImageLoad": {"stream": "Loaded image: busybox:latest\n"},
    "ImageDelete": [{"Untagged": "busybox:latest"}, {"Deleted": _IMAGE}],
    "NetworkList": [_NETWORK],
    "NetworkCreate": {"Id": _NETWORK["Id"], "Warning": ""},
    "NetworkInspect": _NETWORK,
    "NetworkPrune": {"NetworksDeleted": ["sea"]},
    "VolumeList": {"Volumes": [_VOLUME], "Warnings": []},
    "VolumeCreate": _VOLUME,
    "VolumeInspect": _VOLUME,
    "SystemVersion": {
        "Version": "0.1.0",
        "ApiVersion": "1.56",
        "MinAPIVersion": "1.24",
        "Os": "linux",
        "Arch": "amd64",
    },
    "SystemInfo": {"ID": "b0a9d5d8", "Containers": 1, "ContainersRunning": 1, "Images": 1, "Driver": "overlayfs"},
    "SystemCheck": {
        "Images": 2,
        "Layers": 5,
        "Blobs": 9,
        "Containers": 1,
        "Problems": [_PROBLEM],
    },
    "SystemRepair": {
        "Images": 2,
        "Layers": 5,
        "Blobs": 9,
        "Containers": 1,
        "Problems": [{**_PROBLEM, "Action": "removed", "Repaired": True}],
    },
    "SystemEvents": {
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": _ID, "Attributes": {"image": "busybox", "name": "web"}},
        "scope": "local",
        "time": 1795472221,
        "timeNano": 1795472221000000000,
    },
    "SystemAuth": {"Status": "Login Succeeded"},
    "SystemDataUsage": {
        "ImageUsage": {"ActiveCount": 1, "TotalCount": 1, "TotalSize": 4261550},
        "ContainerUsage": {"ActiveCount": 1, "TotalCount": 1, "TotalSize": 8192},
    },
    "ImagePrune": {"ImagesDeleted": [{"Deleted": _IMAGE}], "SpaceReclaimed": 4261550},
    "VolumePrune": {"VolumesDeleted": ["data"], "SpaceReclaimed": 8192},
    "BuildPrune": {"CachesDeleted": None, "SpaceReclaimed": 0},
    "JobList": [_JOB],
    "JobInspect": _JOB,
    "PortList": [
        {
            "ContainerID": _ID,
            "ContainerName": "web",
            "Network": "bridge",
            "Address": "192.0.2.1",
            "Port": 8080,
            "Protocol": "tcp",
            "ContainerPort": 80,
            "Interfaces": ["eth0"],
            "ReachedBy": "everybody",
        }
    ],
    "DriverList": [
        {
            "Kind": "storage",
            "Name": "overlayfs",
            "Distribution": "sampan-overlayfs",
            "Version": "0.1.0",
            "Selected": True,
        }
    ],
    "PluginList": [_PLUGIN],
    "PluginInspect": _PLUGIN,
}
