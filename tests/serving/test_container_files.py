"""The container recipe: what can be checked without building it."""

import json
import re

import pytest
import yaml
from served import ROOT

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
    for script in re.findall(r"sh /?(container/\S+)", (CONTAINER / "Dockerfile").read_text()):
        assert script in kept


@pytest.mark.parametrize("file", ["prometheus.yml", "grafana/datasource.yaml", "grafana/dashboards.yaml"])
def test_configurations_are_yaml(file):
    assert isinstance(yaml.safe_load((CONTAINER / file).read_text()), dict)
