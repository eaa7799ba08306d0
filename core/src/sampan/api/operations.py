"""Every operation of the Docker Engine API 1.56. Source: moby api/swagger.yaml, newest of 2026-08."""

from __future__ import annotations

from typing import NamedTuple


class Operation(NamedTuple):
    """One operation of Docker's OpenAPI document."""

    method: str
    path: str
    id: str
    tag: str


OPERATIONS = tuple(
    Operation(*line.split())
    for line in """\
GET /containers/json ContainerList Container
POST /containers/create ContainerCreate Container
GET /containers/{id}/json ContainerInspect Container
GET /containers/{id}/top ContainerTop Container
GET /containers/{id}/logs ContainerLogs Container
GET /containers/{id}/changes ContainerChanges Container
GET /containers/{id}/export ContainerExport Container
GET /containers/{id}/stats ContainerStats Container
POST /containers/{id}/resize ContainerResize Container
POST /containers/{id}/start ContainerStart Container
POST /containers/{id}/stop ContainerStop Container
POST /containers/{id}/restart ContainerRestart Container
POST /containers/{id}/kill ContainerKill Container
POST /containers/{id}/update ContainerUpdate Container
POST /containers/{id}/rename ContainerRename Container
POST /containers/{id}/pause ContainerPause Container
POST /containers/{id}/unpause ContainerUnpause Container
POST /containers/{id}/attach ContainerAttach Container
GET /containers/{id}/attach/ws ContainerAttachWebsocket Container
POST /containers/{id}/wait ContainerWait Container
DELETE /containers/{id} ContainerDelete Container
HEAD /containers/{id}/archive ContainerArchiveInfo Container
GET /containers/{id}/archive ContainerArchive Container
PUT /containers/{id}/archive PutContainerArchive Container
POST /containers/prune ContainerPrune Container
GET /images/json ImageList Image
POST /build ImageBuild Image
POST /build/prune BuildPrune Image
POST /images/create ImageCreate Image
GET /images/{name}/json ImageInspect Image
GET /images/{name}/attestations ImageAttestations Image
GET /images/{name}/history ImageHistory Image
POST /images/{name}/push ImagePush Image
POST /images/{name}/tag ImageTag Image
DELETE /images/{name} ImageDelete Image
GET /images/search ImageSearch Image
POST /images/prune ImagePrune Image
POST /auth SystemAuth System
GET /info SystemInfo System
GET /version SystemVersion System
GET /_ping SystemPing System
HEAD /_ping SystemPingHead System
POST /commit ImageCommit Image
GET /events SystemEvents System
GET /system/df SystemDataUsage System
GET /images/{name}/get ImageGet Image
GET /images/get ImageGetAll Image
POST /images/load ImageLoad Image
POST /containers/{id}/exec ContainerExec Exec
POST /exec/{id}/start ExecStart Exec
POST /exec/{id}/resize ExecResize Exec
GET /exec/{id}/json ExecInspect Exec
GET /volumes VolumeList Volume
POST /volumes/create VolumeCreate Volume
GET /volumes/{name} VolumeInspect Volume
PUT /volumes/{name} VolumeUpdate Volume
DELETE /volumes/{name} VolumeDelete Volume
POST /volumes/prune VolumePrune Volume
GET /networks NetworkList Network
GET /networks/{id} NetworkInspect Network
DELETE /networks/{id} NetworkDelete Network
POST /networks/create NetworkCreate Network
POST /networks/{id}/connect NetworkConnect Network
POST /networks/{id}/disconnect NetworkDisconnect Network
POST /networks/prune NetworkPrune Network
GET /plugins PluginList Plugin
GET /plugins/privileges GetPluginPrivileges Plugin
POST /plugins/pull PluginPull Plugin
GET /plugins/{name}/json PluginInspect Plugin
DELETE /plugins/{name} PluginDelete Plugin
POST /plugins/{name}/enable PluginEnable Plugin
POST /plugins/{name}/disable PluginDisable Plugin
POST /plugins/{name}/upgrade PluginUpgrade Plugin
POST /plugins/create PluginCreate Plugin
POST /plugins/{name}/push PluginPush Plugin
POST /plugins/{name}/set PluginSet Plugin
GET /nodes NodeList Node
GET /nodes/{id} NodeInspect Node
DELETE /nodes/{id} NodeDelete Node
POST /nodes/{id}/update NodeUpdate Node
GET /swarm SwarmInspect Swarm
POST /swarm/init SwarmInit Swarm
POST /swarm/join SwarmJoin Swarm
POST /swarm/leave SwarmLeave Swarm
POST /swarm/update SwarmUpdate Swarm
GET /swarm/unlockkey SwarmUnlockkey Swarm
POST /swarm/unlock SwarmUnlock Swarm
GET /services ServiceList Service
POST /services/create ServiceCreate Service
GET /services/{id} ServiceInspect Service
DELETE /services/{id} ServiceDelete Service
POST /services/{id}/update ServiceUpdate Service
GET /services/{id}/logs ServiceLogs Service
GET /tasks TaskList Task
GET /tasks/{id} TaskInspect Task
GET /tasks/{id}/logs TaskLogs Task
GET /secrets SecretList Secret
POST /secrets/create SecretCreate Secret
GET /secrets/{id} SecretInspect Secret
DELETE /secrets/{id} SecretDelete Secret
POST /secrets/{id}/update SecretUpdate Secret
GET /configs ConfigList Config
POST /configs/create ConfigCreate Config
GET /configs/{id} ConfigInspect Config
DELETE /configs/{id} ConfigDelete Config
POST /configs/{id}/update ConfigUpdate Config
GET /distribution/{name}/json DistributionInspect Distribution
POST /session Session Session
""".splitlines()
)
