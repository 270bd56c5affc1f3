"""The container recipe: what can be checked without building it."""

import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest
import yaml

from bertpass.commands.start.serve import main
from tests.helpers.served import ROOT, Process, ServeOptions

CONTAINER = ROOT / "container"


def alerts():
    (group,) = yaml.safe_load((CONTAINER / "alerts.yml").read_text())["groups"]
    return group["rules"]


def resources():
    return [each for file in sorted((CONTAINER / "kubernetes").glob("*.yaml")) if file.name != "kustomization.yaml"
            for each in yaml.safe_load_all(file.read_text())]


def test_every_metric_of_dashboard_alerts_and_scaling_is_there(serve):
    dashboard = json.loads((CONTAINER / "grafana" / "bertpass.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for rule in alerts()]
    (scaling,) = [each["spec"] for each in resources() if each["kind"] == "HorizontalPodAutoscaler"]
    expressions += [metric["pods"]["metric"]["name"] for metric in scaling["metrics"]]
    named = {name for text in expressions for name in re.findall(r"\b(?:te|bertpass)_\w+", text)}

    async def job(client):
        await client.post("/embed", json={"inputs": "a"})
        await client.post("/embed", json={"inputs": ""})
        text = (await client.get("/metrics")).text
        there = set(re.findall(r"^(\w+)[ {]", text, re.M))
        assert named and named <= there
        page = (ROOT / "bertpass" / "serving" / "static" / "live.js").read_text()
        assert set(re.findall(r"\b(?:te|bertpass)_\w+", page)) <= there
    serve(job, "embedding")


def test_alerts_name_causes_that_the_server_counts():
    page = (ROOT / "docs" / "serving.md").read_text().partition("Causes: ")[2].partition("\n\n")[0]
    known = set(re.findall(r"`(\w+)`", page))
    named = {kind for rule in alerts() for kinds in re.findall(r'err=~?"([\w|]+)"', rule["expr"])
             for kind in kinds.split("|")}
    assert named and named <= known
    assert all(rule["labels"]["severity"] and rule["annotations"]["action"] for rule in alerts())


# series of 10 minutes, one value per minute, and the alerts that they raise at the end
TROUBLE = [
    ({"bertpass_instances_up": "0x10", "up": "1x10"}, {"BertpassNoEngine"}),
    ({"bertpass_instances_up": "2x10", "up": "1x10", "bertpass_expected_wait": "0.1x10"}, set()),
    ({"up": "0x10"}, {"BertpassGone"}),
    ({"bertpass_expected_wait": "1.5x10"}, {"BertpassSlow"}),
    ({'te_request_failure{err="overloaded"}': "0+30x10", 'te_request_count{method="embed"}': "0+600x10"},
     {"BertpassOverloaded"}),
    ({'te_request_failure{err="overloaded"}': "0+3x10", 'te_request_count{method="embed"}': "0+600x10"}, set()),
    ({'te_request_failure{err="backend"}': "0+1x10"}, {"BertpassFails"}),
    ({'te_request_failure{err="validation"}': "0+50x10", 'te_request_count{method="embed"}': "0+60x10"}, set()),
]


@pytest.mark.parametrize(("series", "raised"), TROUBLE)
def test_alerts_are_raised_by_trouble_and_by_nothing_else(tmp_path, series, raised):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH; the Debian package prometheus has it")
    given = [{"series": (name[:-1] + "," if "{" in name else name + "{") + 'job="bertpass",instance="a"}',
              "values": values} for name, values in series.items()]
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": [str(CONTAINER / "alerts.yml")], "tests": [{
        "interval": "1m", "input_series": given, "promql_expr_test": [
            {"expr": f'count(ALERTS{{alertname="{rule["alert"]}",alertstate="firing"}}) or vector(0)',
             "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": int(rule["alert"] in raised)}]}
            for rule in alerts()]}]}))
    found = subprocess.run([promtool, "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True,
                           check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_manifests_are_those_of_kubernetes():
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for each in resources():
        kubernetes_validate.validate(each, "1.31", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**resources()[0], "spek": 1}, "1.31", strict=True)


def test_the_manifests_say_what_the_server_does(serve):
    """Ports, probes, metrics and the time to end are the server's own; the pieces fit each other."""
    deployment, autoscaler, service, budget = sorted(resources(), key=lambda each: (
        "Deployment", "HorizontalPodAutoscaler", "Service", "PodDisruptionBudget").index(each["kind"]))
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    for chosen in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"],
                   budget["spec"]["selector"]["matchLabels"]):
        assert chosen.items() <= labels.items()
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert [port["containerPort"] for port in container["ports"]] == [ServeOptions.port]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ServeOptions.port)
    assert pod["spec"]["terminationGracePeriodSeconds"] > ServeOptions.drain_timeout
    assert pod["spec"]["securityContext"]["runAsUser"] == int(
        re.findall(r"^USER (\d+)", (CONTAINER / "Dockerfile").read_text(), re.M)[-1])
    settings = {"_".join(each["name"].split("_")[2:]).lower() for each in container["env"]}
    assert settings <= {field.name for field in dataclasses.fields(ServeOptions)}
    probes = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}

    async def job(client):
        for path in probes | {pod["metadata"]["annotations"]["prometheus.io/path"]}:
            assert (await client.get(path)).status_code == 200
    serve(job, "embedding")


def test_the_server_runs_as_nobody_in_particular():
    lines = (CONTAINER / "Dockerfile").read_text().splitlines()
    at = max(number for number, line in enumerate(lines) if line.startswith("FROM"))
    users = [line.split()[1] for line in lines[at:] if line.startswith("USER")]
    assert users and users[-1].isdigit() and int(users[-1]) >= 1000


def test_all_that_the_recipe_copies_or_mounts_is_there():
    compose = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            assert (CONTAINER / volume.split(":")[0]).is_file()
    build = compose["services"]["bertpass"]["build"]
    assert (CONTAINER / build["context"] / build["dockerfile"]).is_file()
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all((ROOT / name).exists() for name in kept)
    for script in re.findall(r"container/\w+\.(?:sh|py)", (CONTAINER / "Dockerfile").read_text()):
        assert script in kept


@pytest.mark.parametrize("file", ["prometheus.yml", "alerts.yml", "kubernetes/kustomization.yaml",
                                  "grafana/datasource.yaml", "grafana/dashboards.yaml"])
def test_configurations_are_yaml(file):
    assert isinstance(yaml.safe_load((CONTAINER / file).read_text()), dict)


def healthy(**environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BERTPASS_SERVE_")}
    return subprocess.run([sys.executable, CONTAINER / "healthy.py"], env={**kept, **environment}, check=False,
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_the_health_check_follows_the_variables(host):
    """Also where the container has a proxy for the outside."""
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), "http://127.0.0.1:9")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        port = str(free.getsockname()[1])
    about = {"BERTPASS_SERVE_PORT": port, "BERTPASS_SERVE_HOST": host, **proxies}
    found = healthy(**about)
    assert found.returncode == 1 and f":{port}/ready" in found.stderr and "Traceback" not in found.stderr
    with Process("embedding", "--engine", "dummy", BERTPASS_SERVE_PORT=port, BERTPASS_SERVE_HOST=host) as server:
        end = time.monotonic() + 60
        while (found := healthy(**about)).returncode:
            assert server.process.poll() is None and time.monotonic() < end, found.stderr
        assert healthy(**{**about, "BERTPASS_SERVE_PORT": f" {port}\n"}).returncode == 0


def ready(about, server):
    end = time.monotonic() + 60
    while (found := healthy(**about)).returncode:
        assert server.process.poll() is None and time.monotonic() < end, found.stderr


def test_the_health_check_follows_a_unix_socket(tmp_path):
    about = {"BERTPASS_SERVE_UDS": str(tmp_path / "s.sock")}
    found = healthy(**about)
    assert found.returncode == 1 and "s.sock/ready" in found.stderr and "Traceback" not in found.stderr
    with Process("embedding", "--engine", "dummy", **about) as server:
        ready(about, server)


def test_the_health_check_follows_the_file(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "serve.yaml").write_text(f"models: embedding\nengine: dummy\nport: {port}\nhost: 127.0.0.1\n")
    about = {"BERTPASS_SERVE_CONFIG": str(tmp_path / "serve.yaml")}
    with Process(**about) as server:
        ready(about, server)
    found = healthy(**{**about, "BERTPASS_SERVE_PORT": "web"})
    assert found.returncode == 1 and "--port must be a whole number" in found.stderr
    assert "Traceback" not in found.stderr


def test_the_health_check_asks_the_servers_own_port_without_variables():
    found = healthy()
    assert found.returncode in (0, 1) and (found.returncode == 0 or f":{ServeOptions.port}/ready" in found.stderr)
    lines = (CONTAINER / "Dockerfile").read_text()
    assert "/container/healthy.py" in lines and ":8080/" not in lines


@pytest.mark.parametrize(("words", "variables", "served"), [
    ((), {}, "serve minilm"), (("/models/a", "--port", "9000"), {}, "serve /models/a --port 9000"),
    ((), {"BERTPASS_SERVE_MODELS": "/models/a"}, "serve"), ((), {"BERTPASS_SERVE_CONFIG": "/models/b.yaml"}, "serve"),
    (("--port", "9000"), {"BERTPASS_SERVE_MODELS": "/models/a"}, "serve --port 9000"),
    ((), {"BERTPASS_SERVE_MODELS": ""}, "serve minilm")])
def test_the_container_serves_what_its_variables_name(tmp_path, words, variables, served):
    """Words that an image has by default would go before the variables."""
    (tmp_path / "bertpass").write_text('#!/bin/sh\necho "$*"\n')
    (tmp_path / "bertpass").chmod(0o755)
    found = subprocess.run(["sh", CONTAINER / "serve.sh", *words], capture_output=True, text=True, check=True,
                           env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **variables})
    assert found.stdout == served + "\n"
    lines = (CONTAINER / "Dockerfile").read_text().splitlines()
    assert 'ENTRYPOINT ["sh", "/container/serve.sh"]' in lines
    assert not any(line.startswith("CMD") for line in lines)


@pytest.mark.parametrize("words", [["serve"], ["serve", "minilm"], ["bertpass", "serve", "minilm"], ["pack", "a", "b"],
                                   ["env"]])
def test_a_command_among_the_models_is_a_sentence(capsys, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert f"{words[0]}: here stand models, and this is a command." in capsys.readouterr().err


def test_a_folder_that_is_called_like_a_command_is_a_model(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "serve").mkdir()
    assert main(["serve"]) == 4
    assert "holds neither" in capsys.readouterr().err
