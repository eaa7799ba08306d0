import base64
import json
from typing import Any

from sampan import models
from sampan.engine import Job
from sampan.errdefs import DataLoss, NotFound
from tests.support.serving import Serving

ID = "sha256:" + "ab" * 32


async def pulling(job: Job[Any]) -> None:
    assert job.output is not None
    await job.output.write({"status": "Pulling", "id": "abc", "progressDetail": {"current": 1, "total": 2}})
    await job.output.write(models.Progress(status="Done", progress_detail=models.ProgressDetail()))


async def test_pull_streams_its_progress(api: Serving) -> None:
    api.daemon.answers["image_pull"] = pulling
    auth = "eyJ1c2VybmFtZSI6ICJtZSJ9"
    status, _, _ = 0, 0, 0
    async with api.http.post(
        "/images/create", params={"fromImage": "busybox", "tag": "1"}, headers={"X-Registry-Auth": auth}
    ) as answer:
        status, lines = answer.status, (await answer.read()).split(b"\r\n")
    assert status == 200
    assert [json.loads(line) for line in lines[:-1]] == [
        {"status": "Pulling", "id": "abc", "progressDetail": {"current": 1, "total": 2}},
        {"status": "Done", "progressDetail": {}},
    ]
    asked = models.PullImage(reference="busybox", tag="1", auth=models.RegistryAuth(username="me"))
    assert api.daemon.asked == asked
    assert "me" not in repr(asked)


async def test_a_pull_that_fails_at_once_is_an_http_error(api: Serving) -> None:
    api.daemon.answers["image_pull"] = NotFound("manifest for busybox:9 not found")
    status, body, _ = await api.call("POST", "/images/create?fromImage=busybox&tag=9")
    assert (status, body) == (404, {"message": "manifest for busybox:9 not found"})


async def test_a_pull_that_fails_later_says_so_in_the_stream(api: Serving) -> None:
    async def handler(job: Job[Any]) -> None:
        await pulling(job)
        raise DataLoss("wrong digest")

    api.daemon.answers["image_pull"] = handler
    async with api.http.post("/images/create", params={"fromImage": "busybox"}) as answer:
        last = (await answer.read()).split(b"\r\n")[-2]
    assert json.loads(last) == {"errorDetail": {"message": "wrong digest"}, "error": "wrong digest"}


async def test_load_and_import_get_the_body_as_it_comes(api: Serving) -> None:
    received: list[int] = []

    async def handler(job: Job[Any]) -> None:
        assert job.body is not None
        assert job.output is not None
        received.append(sum([len(piece) async for piece in job.body]))
        await job.output.write({"stream": "Loaded"})

    async def archive() -> Any:
        for _ in range(40):
            yield b"x" * 2**20

    api.daemon.answers["image_load"] = api.daemon.answers["image_import"] = handler
    assert (await api.call("POST", "/images/load?quiet=0", data=archive()))[0] == 200
    assert api.daemon.asked == models.LoadImages(quiet=False)
    path = "/images/create?fromSrc=-&repo=mine&tag=1&changes=CMD%20ls&changes=ENV%20a=b"
    assert (await api.call("POST", path, data=archive()))[0] == 200
    assert api.daemon.asked == models.ImportImage(
        source="-", reference="mine", tag="1", changes=["CMD ls", "ENV a=b"]
    )
    assert received == [40 * 2**20] * 2


async def test_list_inspect_tag_and_remove(api: Serving) -> None:
    api.daemon.answers["image_list"] = [models.ImageSummary(id=ID, repo_tags=["a:1"], size=5, containers=2)]
    api.daemon.answers["image_inspect"] = models.ImageInspect(id=ID, config=models.ContainerConfig(cmd=["sh"]))
    api.daemon.answers["image_remove"] = [models.ImageRemoved(untagged="a:1"), models.ImageRemoved(deleted=ID)]
    assert (await api.call("GET", "/images/json"))[1][0]["Containers"] == 2
    old = (await api.call("GET", "/v1.43/images/json"))[1][0]
    assert (old["Containers"], old["VirtualSize"]) == (-1, 5)
    inspected = (await api.call("GET", "/images/registry.test:5000/a/b:1/json"))[1]
    assert api.daemon.asked == models.InspectImage(name="registry.test:5000/a/b:1")
    assert inspected["Config"] == {"Cmd": ["sh"]}
    assert (await api.call("GET", "/v1.44/images/a/json"))[1]["ContainerConfig"] is None
    assert (await api.call("POST", "/images/a/tag?repo=b/c&tag=2"))[:2] == (201, b"")
    assert api.daemon.asked == models.TagImage(name="a", repository="b/c", tag="2")
    assert (await api.call("POST", "/images/a/tag"))[0] == 400
    removed = await api.call("DELETE", "/images/b/c:2?force=1&noprune=1")
    assert removed[:2] == (200, [{"Untagged": "a:1"}, {"Deleted": ID}])
    assert api.daemon.asked == models.RemoveImage(name="b/c:2", force=True, no_prune=True)


async def test_push_names_tag_and_credentials(api: Serving) -> None:
    api.daemon.answers["image_push"] = pulling
    headers = {"X-Registry-Auth": base64.urlsafe_b64encode(b'{"username": "ann"}').decode()}
    async with api.http.post("/images/host:5000/deep/app/push", params={"tag": "1"}, headers=headers) as answer:
        assert answer.status == 200
    asked = models.PushImage(name="host:5000/deep/app", tag="1", auth=models.RegistryAuth(username="ann"))
    assert api.daemon.asked == asked
    assert "ann" not in repr(asked)
