"""The container recipe: what can be checked without building it."""

import json
import os
import re
import socket
import subprocess
import sys
import time

import pytest
import yaml

from bertpass.commands.start.serve import main
from tests.helpers.served import ROOT, Process, ServeOptions

CONTAINER = ROOT / "container"


def test_every_metric_of_the_dashboard_is_there(serve):
    dashboard = json.loads((CONTAINER / "grafana" / "bertpass.json").read_text())
    named = {name for panel in dashboard["panels"] for target in panel["targets"]
             for name in re.findall(r"\b(?:te|bertpass)_\w+", target["expr"])}

    async def job(client):
        await client.post("/embed", json={"inputs": "a"})
        await client.post("/embed", json={"inputs": ""})
        text = (await client.get("/metrics")).text
        there = set(re.findall(r"^(\w+)[ {]", text, re.M))
        assert named and named <= there
        page = (ROOT / "bertpass" / "serving" / "static" / "live.js").read_text()
        assert set(re.findall(r"\b(?:te|bertpass)_\w+", page)) <= there
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


@pytest.mark.parametrize("file", ["prometheus.yml", "grafana/datasource.yaml", "grafana/dashboards.yaml"])
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
