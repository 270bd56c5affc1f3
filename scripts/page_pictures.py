#!/usr/bin/env python
"""Pictures of the server's page for docs/images: python scripts/page_pictures.py http://127.0.0.1:8080

The server has a model for questions, and a classifier; some load on it makes the plots worth looking at. Needs
playwright and a Chromium (apt-get install chromium).
"""

import json
import shutil
import sys
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
#: name, kind of model, colours, width, height, whether the whole page is shown
PICTURES = (("page-light", "qa", "light", 1180, 870, False), ("page-dark", "classification", "dark", 1180, 870, False),
            ("page-phone", "qa", "light", 390, 844, True))
#: milliseconds for the plots to fill
WATCHED = 20_000


def main(url: str) -> None:
    """Write all pictures."""
    with urllib.request.urlopen(f"{url}/info") as answer:
        names = {model["kind"]: model["id"] for model in json.load(answer)["models"]}
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, kind, scheme, width, height, whole in PICTURES:
            tab = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
            tab.goto(url)
            tab.wait_for_selector("#fields label")
            tab.select_option("#model", names[kind])
            tab.wait_for_timeout(WATCHED)
            tab.click("#run")
            tab.wait_for_selector("#time:not([hidden])")
            tab.screenshot(path=FOLDER / f"{name}.png", full_page=whole)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
