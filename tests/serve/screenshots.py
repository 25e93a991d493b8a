"""The search page in README and docs: `python -m tests.serve.screenshots`, in a project with results.

The pictures show pictures of the dataset of params.yaml, so take them with data that may be shown.
"""

import argparse
import time
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from relalign.layout import Layout
from relalign.serve.app import create_app
from relalign.serve.runs import usable_methods
from relalign.serve.service import Service
from relalign.settings import load_params
from tests.serve.browser import chromium, picture, serving

WIDTHS = {"search.png": (1280, 1065), "search-phone.png": (390, 844)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument(
        "--caption", default="red apple", help="the test caption that is asked; default: %(default)s"
    )
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    params = load_params(options.params)
    layout, seed = Layout(options.params.resolve().parent, params.dataset), params.seeds[0]
    service = Service.of_project(params, layout, usable_methods(params, layout, seed=seed), seed=seed)
    caption = next(id_ for id_, text in service.collection.captions.items() if text == options.caption)
    with serving(create_app(service)) as address:
        for name, (width, height) in WIDTHS.items():
            with chromium(width=width, height=height, scale=1.25 if width > 600 else 1.5) as browser:
                for _ in range(2):  # the first time warms up
                    browser.get(f"{address}/?caption={caption}&top=8")
                    wait = WebDriverWait(browser, 30)
                    wait.until(lambda browser: browser.find_elements(By.CSS_SELECTOR, ".tile.right"))
                time.sleep(1)  # for the pictures
                picture(browser, options.to / name, height=height)


if __name__ == "__main__":
    main()
