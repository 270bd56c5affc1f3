"""docs/openapi.json is what the server has."""

import json

from bertpass.serving.http.app import document
from tests.helpers.served import ROOT


def test_the_file_is_up_to_date():
    text = (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")
    assert json.loads(text) == document(), "run python scripts/write_openapi.py"


def test_it_stands_for_itself():
    """Every reference leads somewhere, every operation has a name of its own and says what it does."""
    content = document()
    names = set()

    def look(node):
        if isinstance(node, dict):
            if "$ref" in node:
                assert node["$ref"].removeprefix("#/components/schemas/") in content["components"]["schemas"]
            for each in node.values():
                look(each)
        elif isinstance(node, list):
            for each in node:
                look(each)

    look(content)
    for operations in content["paths"].values():
        for operation in operations.values():
            assert operation["operationId"] not in names and operation["description"]
            names.add(operation["operationId"])
            assert {"200", "429", "503"} <= set(operation["responses"])
