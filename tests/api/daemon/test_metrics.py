"""Containers' resource usage in Prometheus format."""

from __future__ import annotations

import time

from prometheus_client.parser import text_string_to_metric_families

from tests.api.daemon.in_process import IMAGE, InProcess


def samples(house: InProcess) -> dict[str, dict[str, float]]:
    """Values by series and container name."""
    with house.opened("GET", "/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "image" in sample.labels:
                assert sample.labels["image"] == IMAGE
                found.setdefault(sample.name, {})[sample.labels["name"]] = sample.value
    return found


def test_running_containers_have_series_and_others_have_none(house: InProcess) -> None:
    web = house.launch(name="web", HostConfig={"Memory": 64 << 20, "NanoCpus": 500_000_000})
    house.launch(name="ended")
    house.call("POST", "/containers/ended/kill")
    house.resources.add_process(web, 42)
    house.resources.report_oom_kill(web)
    found = samples(house)
    assert found["container_spec_memory_limit_bytes"] == {"web": 64 << 20}
    assert found["container_oom_events_total"] == {"web": 1}
    assert found["container_threads"] == {"web": 1}
    assert found["container_spec_cpu_quota"] == {"web": 50_000}
    assert found["container_start_time_seconds"]["web"] < found["container_last_seen"]["web"] <= time.time()
    house.call("POST", "/containers/web/rename?name=www")
    assert found.keys() == samples(house).keys()
    assert samples(house)["container_threads"] == {"www": 1}


def test_what_is_not_accounted_is_absent(house: InProcess) -> None:
    house.launch(name="web")
    absent = {"container_memory_rss", "container_pressure_cpu_waiting_seconds_total", "container_spec_cpu_shares"}
    assert not absent & samples(house).keys()
