"""docker-compose.yml: what an operator relies on without reading it."""

from __future__ import annotations

import re

import pytest
import yaml

import segqa_dicom
from segqa_dicom.config import ServiceSettings, Settings
from tests.deploy.files import ROOT, read_compose, services

pytestmark = pytest.mark.servers

SERVICES = ["beat", "ohif", "orthanc", "postgres", "redis", "segqa", "worker"]
OURS = ["beat", "segqa", "worker"]
BUILT_HERE = re.compile(r"segqa:")
PUBLISHED = {"segqa", "orthanc", "ohif"}


def test_it_has_these_services() -> None:
    assert sorted(services()) == SERVICES


def test_workers_can_be_scaled() -> None:
    worker = services()["worker"]
    assert "container_name" not in worker
    assert "ports" not in worker
    assert "hostname" not in worker


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check(name: str) -> None:
    check = services()[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_waits_until_what_it_needs_is_healthy(name: str) -> None:
    waits = services()[name].get("depends_on", {})
    assert all(one["condition"] == "service_healthy" for one in waits.values())
    if name in OURS:
        assert set(waits) | {name} >= {"orthanc", "postgres", "redis", "segqa"}


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_runs_as_root_or_can_become_more_than_it_is(name: str) -> None:
    service = services()[name]
    user, group = service["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_change_its_own_program(name: str) -> None:
    assert services()[name]["read_only"] is True
    mounts = [mount.split(":") for mount in services()[name].get("volumes", [])]
    from_the_host = [mount for mount in mounts if mount[0].startswith("/") and mount[1:] not in ([], ["rw"])]
    assert all(mount[-1] == "ro" for mount in from_the_host)


def test_the_inbox_is_kept_and_no_worker_can_touch_it() -> None:
    """`segqa serve` clears the folder of cases in work when it starts, which must not be one that a worker uses."""
    with_inbox = [
        name for name, one in services().items() if any(v.startswith("segqa:") for v in one.get("volumes", []))
    ]
    assert with_inbox == ["segqa"]
    assert [mount.removesuffix(":rw") for mount in services()["worker"]["volumes"]] == [
        "/var/lib/segqa",
        "kernels:/var/cache/segqa",
    ]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_comes_back_and_is_bounded(name: str) -> None:
    service = services()[name]
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert service["stop_grace_period"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_password_is_in_a_variable_or_a_command(name: str) -> None:
    service = services()[name]
    environment = service.get("environment", {})
    named = [key for key in environment if re.search(r"(?i)passw|secret|token", key)]
    assert [key for key in named if not key.endswith("_FILE")] == []
    assert all(str(environment[key]).startswith("/run/secrets/") for key in named)
    texts = [*map(str, environment.values()), *map(str, service.get("command") or [])]
    assert not [text for text in texts if re.search(r"://[^/@]*:[^/@]*@", text)]


def test_all_secrets_are_files_that_git_ignores() -> None:
    source = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert all(one["file"].startswith("./secrets/") for one in source["secrets"].values())
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", OURS)
def test_secrets_have_the_names_that_the_settings_look_for(name: str) -> None:
    expected = {f"segqa_{field}" for field in ServiceSettings.model_fields if field.endswith("_password")}
    expected |= {"segqa_proxy_token"} if name == "segqa" else set()
    assert {one.removeprefix("segqa_") for one in expected} <= set(ServiceSettings.model_fields)
    assert {one["source"] for one in services()[name]["secrets"]} == expected


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings_that_exist(name: str) -> None:
    known = {f"SEGQA_{field.upper()}" for model in (ServiceSettings, Settings) for field in model.model_fields}
    assert set(services()[name]["environment"]) <= known


def test_defaults_of_variables_are_the_defaults_of_the_settings() -> None:
    environment = services()["segqa"]["environment"]
    fields = {**ServiceSettings.model_fields, **Settings.model_fields}
    set_for_containers = {"archive", "archive_user", "ledger", "broker", "data"}
    for key, value in environment.items():
        field = key.removeprefix("SEGQA_").lower()
        if field not in set_for_containers:
            assert type(fields[field].default)(value) == fields[field].default, key


def test_ports_are_published_on_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert set(published) == PUBLISHED
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_another_address_is_a_choice_of_the_operator() -> None:
    chosen = read_compose({"SEGQA_BIND": "192.0.2.1"})["services"]
    assert all(port.startswith("192.0.2.1:") for name in PUBLISHED for port in chosen[name]["ports"])


def test_databases_and_queue_are_on_a_network_without_a_way_out() -> None:
    networks = read_compose({})["networks"]
    assert networks["state"]["internal"] is True
    assert networks["archive"]["internal"] is True
    assert {name for name, service in services().items() if "edge" in service["networks"]} == PUBLISHED
    assert set(services()["postgres"]["networks"]) == set(services()["redis"]["networks"]) == {"state"}
    assert "state" not in services()["ohif"]["networks"]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_to_a_patch_release(name: str) -> None:
    image = services()[name]["image"]
    _, _, tag = image.partition(":")
    assert re.match(r"v?\d+\.\d+(\.\d+)?(-|$)", tag), image
    if not BUILT_HERE.match(image):
        assert "build" not in services()[name]


def test_orthanc_is_not_older_than_its_known_holes() -> None:
    """26.4.0 is the first image with Orthanc 1.12.11."""
    tag = services()["orthanc"]["image"].removeprefix("orthancteam/orthanc:")
    assert tuple(int(part) for part in tag.split(".")) >= (26, 4, 0)


def test_our_image_is_named_after_our_version() -> None:
    assert {services()[name]["image"] for name in OURS} == {f"segqa:{segqa_dicom.__version__}"}


def test_workers_get_longer_to_stop_than_their_soft_shutdown_takes() -> None:
    source = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert int(source["services"]["worker"]["stop_grace_period"].removesuffix("s")) > 60


def test_the_example_of_the_variables_names_all_with_their_defaults() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert example == used
