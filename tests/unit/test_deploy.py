"""What is under deploy/ agrees with the code: metric names, settings, lifecycle rules, runbooks. No cluster is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from streamer.config import Settings, load
from streamer.config.setup import NEEDED, LifecycleSection
from streamer.config.values import parse_size
from streamer.index.dynamodb import INDEX_KEYS, KEYS
from streamer.index.settings import BY_TICKER
from streamer.metrics import Metrics
from streamer.setup.bucket import BLOCKED
from streamer.setup.estimate import process
from streamer.setup.lifecycle import BUSY, DATA, rules

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana/streamer.json").read_text())


def exposed() -> set[str]:
    """Every name that /metrics can have, with the suffixes that queries use."""
    names = set()
    for metric in Metrics().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(metric.type, ("",))
        names |= {metric.name + suffix for suffix in suffixes}
    return names


def labels_of() -> dict[str, set[str]]:
    metrics = Metrics()
    found = {}
    for metric in vars(metrics).values():
        if metric is not metrics.registry:
            found[metric._name] = set(metric._labelnames)
    return found


EXPRESSIONS = [rule["expr"] for rule in ALERTS] + [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_of_alerts_and_dashboard_exists(expression: str) -> None:
    used = set(re.findall(r"\bstreamer_[a-z0-9_]+", expression))

    assert used or 'up{job="streamer"}' in expression
    assert used <= exposed()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_label_of_alerts_and_dashboard_exists(expression: str) -> None:
    labels = labels_of()
    for name, chosen in re.findall(r"\b(streamer_[a-z0-9_]+)\{([^}]*)\}", expression):
        base = re.sub(r"_(total|bucket|count|sum)$", "", name)
        asked = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|=|!=)", chosen))
        assert asked <= labels.get(name, labels.get(base, set())) | {"job", "instance"}, expression
    everything = set().union(*labels.values()) | {"job", "instance", "le"}
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= everything


def test_every_variable_of_the_dashboard_asks_for_something_that_exists() -> None:
    queries = [variable["definition"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]

    assert queries
    for query in queries:
        assert set(re.findall(r"streamer_[a-z_]+", query)) <= exposed()


def test_every_panel_has_its_own_number_and_place() -> None:
    panels = DASHBOARD["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}

    assert len({panel["id"] for panel in panels}) == len(places) == len(panels)


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")

    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert anchor in anchors(page)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_accepts_the_rules_and_their_tests() -> None:
    for arguments in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")):
        done = subprocess.run(["promtool", *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# Kubernetes


def manifests() -> dict[str, dict[str, Any]]:
    """By kind and name."""
    found = {}
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            found[f"{document['kind']}/{document.get('metadata', {}).get('name', file.stem)}"] = document
    return found


MANIFESTS = manifests()
POD = MANIFESTS["StatefulSet/streamer"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


def settings_of_the_pod(tmp_path: Path) -> Settings:
    environment = dict(MANIFESTS["ConfigMap/streamer"]["data"])
    environment |= {entry["name"]: entry.get("value", "streamer-0") for entry in CONTAINER["env"]}
    file = tmp_path / "streamer.toml"
    file.write_text(MANIFESTS["ConfigMap/streamer-file"]["data"]["streamer.toml"])
    return load(file, environment=environment)


def test_every_variable_and_setting_of_the_pod_is_one_that_streamer_knows(tmp_path: Path) -> None:
    settings = settings_of_the_pod(tmp_path)

    assert settings.kafka.group_instance_id == "streamer-0"
    assert settings.lake.url == "s3://microstream-data"
    (reference,) = [e["valueFrom"] for e in CONTAINER["env"] if e["name"] == "STREAMER__KAFKA__GROUP_INSTANCE_ID"]
    assert reference == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_the_commented_settings_are_known_too(tmp_path: Path) -> None:
    text = (DEPLOY / "kubernetes/config.yaml").read_text()
    commented = dict(re.findall(r"^  # (STREAMER__\w+): (\S+)$", text, re.MULTILINE))

    settings = load(lake="s3://lake", environment=commented)

    assert settings.kafka.credentials == commented["STREAMER__KAFKA__CREDENTIALS"]


def test_the_pod_is_granted_the_time_and_the_memory_that_the_daemon_needs(tmp_path: Path) -> None:
    settings = settings_of_the_pod(tmp_path)
    needed = process([], settings).memory_bytes
    limit = parse_size(CONTAINER["resources"]["limits"]["memory"] + "B")

    assert POD["terminationGracePeriodSeconds"] >= settings.stop.budget + 10
    assert limit >= needed * 1.3


def test_a_store_that_is_away_restarts_nobody() -> None:
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == CONTAINER["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_pod_runs_as_nobody_special_on_a_read_only_disk() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert (POD["securityContext"]["runAsUser"], POD["securityContext"]["runAsGroup"]) == tuple(map(int, user.groups()))


def test_the_image_is_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert CONTAINER["image"] == f"streamer:{version}"


def test_everything_that_selects_pods_selects_these() -> None:
    labels = MANIFESTS["StatefulSet/streamer"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        MANIFESTS["StatefulSet/streamer"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["Service/streamer"]["spec"]["selector"],
        MANIFESTS["PodDisruptionBudget/streamer"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["NetworkPolicy/streamer"]["spec"]["podSelector"]["matchLabels"],
    ]

    assert all(selector.items() <= labels.items() for selector in selectors)
    assert MANIFESTS["StatefulSet/streamer"]["spec"]["serviceName"] == MANIFESTS["Service/streamer"]["metadata"]["name"]
    assert MANIFESTS["ScaledObject/streamer"]["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"


def test_keda_asks_about_the_group_and_the_brokers_that_the_pods_use(tmp_path: Path) -> None:
    settings = settings_of_the_pod(tmp_path)
    (trigger,) = MANIFESTS["ScaledObject/streamer"]["spec"]["triggers"]

    assert trigger["metadata"]["consumerGroup"] == settings.kafka.group_id
    assert trigger["metadata"]["bootstrapServers"] == settings.kafka.bootstrap_servers
    assert trigger["metadata"]["topic"] in {stream.topic or name for name, stream in settings.enabled_streams.items()}


def test_the_kustomization_has_every_file() -> None:
    files = {file.name for file in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}

    assert set(MANIFESTS["Kustomization/kustomization"]["resources"]) == files


# Terraform


def terraform() -> dict[str, dict[str, Any]]:
    """Resources by type; of every type there is one, but for those that `for_each` and `count` make."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((DEPLOY / "terraform").glob("*.tf")):
        with file.open() as text:
            for resource in plain(hcl2.load(text)).get("resource", []):
                for kind, named in resource.items():
                    found[kind] = next(iter(named.values()))
    return found


def plain(value: Any) -> Any:
    """Without the parser's quotes and marks."""
    if isinstance(value, dict):
        return {plain(name): plain(inner) for name, inner in value.items() if not name.startswith("__")}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.strip('"') if isinstance(value, str) else value


def terraform_rules(prefix: str, cold: list[str]) -> Iterator[tuple[str, str, str]]:
    """Name, scope and effect of every lifecycle rule, with `for_each` unrolled."""
    resource = terraform()["aws_s3_bucket_lifecycle_configuration"]
    many = {"${local.data_folders}": list(DATA), "${local.busy_folders}": list(BUSY), "${var.cold_prefixes}": cold}
    unrolled = [(rule, "") for rule in resource["rule"]]
    for dynamic in resource["dynamic"]:
        unrolled += [(dynamic["rule"]["content"][0], folder) for folder in many[dynamic["rule"]["for_each"]]]
    for rule, folder in unrolled:

        def filled(text: str, folder: str = folder) -> str:
            return text.replace("${var.prefix}", prefix).replace("${rule.value}", folder).replace("var.prefix", prefix)

        (where,) = rule["filter"]
        both = where.get("and", [where])[0]
        tags = ",".join(f"{name}={value}" for name, value in both.get("tags", {}).items())
        scope = filled(both["prefix"]).replace("${" + prefix + "}", prefix) + f"[{tags}]"
        yield filled(rule["id"]), scope, effect(rule)


def effect(rule: dict[str, Any]) -> str:
    moves = [f"{move['storage_class']}@{move['days']}" for move in rule.get("transition", [])]
    for block, field in (
        ("expiration", "days"),
        ("expiration", "expired_object_delete_marker"),
        ("noncurrent_version_expiration", "noncurrent_days"),
        ("abort_incomplete_multipart_upload", "days_after_initiation"),
    ):
        moves += [f"{block}.{field}={each[field]}".lower() for each in rule.get(block, []) if field in each]
    return " ".join(moves)


def streamer_rules(prefix: str, cold: list[str]) -> Iterator[tuple[str, str, str]]:
    for rule in rules(LifecycleSection.model_validate({"cold": cold}), prefix):
        both = rule["Filter"].get("And", rule["Filter"])
        tags = ",".join(f"{tag['Key']}={tag['Value']}" for tag in both.get("Tags", []))
        moves = [f"{move['StorageClass']}@{move['Days']}" for move in rule.get("Transitions", [])]
        for block, field, value in (
            ("expiration", "days", rule.get("Expiration", {}).get("Days")),
            ("expiration", "expired_object_delete_marker", rule.get("Expiration", {}).get("ExpiredObjectDeleteMarker")),
            (
                "noncurrent_version_expiration",
                "noncurrent_days",
                rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays"),
            ),
            (
                "abort_incomplete_multipart_upload",
                "days_after_initiation",
                rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
            ),
        ):
            moves += [f"{block}.{field}={value}".lower()] if value is not None else []
        yield rule["ID"], f"{both['Prefix']}[{tags}]", " ".join(moves)


@pytest.mark.parametrize("prefix", ["", "lake/"])
def test_terraform_sets_the_lifecycle_rules_that_init_sets(prefix: str) -> None:
    cold = ["backups/", "logs/"]

    assert sorted(terraform_rules(prefix, cold)) == sorted(streamer_rules(prefix, cold))


def test_terraforms_lists_of_folders_are_those_of_the_code() -> None:
    text = "".join(file.read_text() for file in sorted((DEPLOY / "terraform").glob("*.tf")))
    lists = [tuple(re.findall(r'"([^"]+)"', inner)) for inner in re.findall(r"\[((?:\"[^\"]+/\"(?:, )?)+)\]", text)]

    assert {DATA, BUSY, NEEDED} <= set(lists)


def test_terraform_makes_the_bucket_that_init_makes() -> None:
    made = terraform()

    public = made["aws_s3_bucket_public_access_block"]
    assert [public[name] for name in ("block_public_acls", "ignore_public_acls", "block_public_policy")] == [True] * 3
    assert public["restrict_public_buckets"] is BLOCKED["RestrictPublicBuckets"]
    assert made["aws_s3_bucket_versioning"]["versioning_configuration"][0]["status"] == "Enabled"
    assert made["aws_s3_bucket"]["lifecycle"][0]["prevent_destroy"] is True


def test_terraform_makes_the_tables_that_init_makes() -> None:
    table = terraform()["aws_dynamodb_table"]
    (index,) = table["global_secondary_index"]

    assert (table["hash_key"], table["range_key"]) == KEYS
    assert (index["name"], index["hash_key"], index["range_key"]) == (BY_TICKER, *INDEX_KEYS)
    assert {each["name"]: each["type"] for each in table["attribute"]} == dict.fromkeys(KEYS, "S")
    assert (table["billing_mode"], index["projection_type"]) == ("PAY_PER_REQUEST", "ALL")
    assert table["point_in_time_recovery"][0]["enabled"] is True


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_terraform_itself_reads_the_files_and_finds_them_well_formatted() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", "-recursive"],
        cwd=DEPLOY / "terraform",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
