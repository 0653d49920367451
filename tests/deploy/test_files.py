"""The files under ``deploy``: each is one that its program takes, and says of Sluice what is true."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from config.settings import read_settings
from tests.docs.pages import CHECKOUT
from tests.e2e.front import CONFIGURATION, placed, program

MANIFESTS: list[Any] = list(yaml.safe_load_all((CHECKOUT / "deploy/kubernetes/sluice.yaml").read_text()))
UNIT = CHECKOUT / "deploy/systemd/sluice.service"
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())
DRAIN = 30


def manifest(kind: str) -> Any:
    (found,) = [each for each in MANIFESTS if each["kind"] == kind]
    return found


@pytest.mark.parametrize("version", ["1.30", "1.33"])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: each["kind"])
def test_every_manifest_is_one_by_the_schemas_of_kubernetes(manifest: Any, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_of_a_manifest_would_be_noticed() -> None:
    wrong = {**manifest("Service"), "spce": {}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.30", strict=True)


def test_the_settings_of_the_manifests_are_settings() -> None:
    settings = read_settings({**manifest("ConfigMap")["data"], **manifest("Secret")["stringData"]})

    assert settings.drain_seconds == DRAIN
    assert settings.admin_host == "127.0.0.1"


def test_a_pod_is_given_the_time_to_drain_and_locked_down() -> None:
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    (gateway,) = pod["containers"]
    pause = int(gateway["lifecycle"]["preStop"]["exec"]["command"][1])

    assert pod["terminationGracePeriodSeconds"] > pause + DRAIN
    assert pod["securityContext"]["runAsNonRoot"]
    assert all(each["securityContext"]["readOnlyRootFilesystem"] for each in (gateway, *pod["initContainers"]))
    assert gateway["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_selectors_select_the_pods_and_the_scaler_scales_them() -> None:
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]

    assert manifest("Service")["spec"]["selector"].items() <= labels.items()
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", manifest("Deployment")["metadata"]["name"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_one_by_systemds_own_check(tmp_path: Path) -> None:
    unit = tmp_path / "sluice.service"
    unit.write_text(UNIT.read_text().replace("/opt/sluice/.venv/bin/sluice", "/bin/true"))

    checked = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False, timeout=30
    )

    assert [line for line in checked.stderr.splitlines() if "sluice.service" in line] == []


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    file = tmp_path / "nginx.conf"
    file.write_text(placed(CONFIGURATION.read_text(), tmp_path, 8080, [1, 2]))

    checked = subprocess.run(
        [program(), "-t", "-p", str(tmp_path), "-c", str(file), "-e", "stderr"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip

    assert "test is successful" in checked.stderr, checked.stderr


def test_compose_runs_two_replicas_that_are_locked_down_behind_what_nginx_names() -> None:
    services = COMPOSE["services"]
    replicas = {name for name in services if name.startswith("gateway")}

    assert {f"server {name}:8080" in CONFIGURATION.read_text() for name in replicas} == {True}
    assert len(replicas) == 2
    for name in replicas:
        assert services[name]["read_only"]
        assert int(services[name]["stop_grace_period"].rstrip("s")) > DRAIN
        given = {key: str(value) for key, value in services[name]["environment"].items() if value is not None}
        read_settings({**given, "SLUICE_JWT_SECRET": "0123456789abcdef0123456789ABCDEF-made-up"})


def test_replicas_of_compose_share_the_secret_of_their_tokens() -> None:
    secrets = {
        service["environment"]["SLUICE_JWT_SECRET"]
        for name, service in COMPOSE["services"].items()
        if name.startswith("gateway")
    }

    assert len(secrets) == 1
