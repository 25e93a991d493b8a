"""MLflow's pages in docs: `python -m tests.tracking.screenshots`, in a project with results.

They are as a person finds them: nothing is chosen but which metrics the table shows, and which runs are compared.
"""

import argparse
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow.tracking import MlflowClient
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from relalign.commands.ui import SORTED
from relalign.settings import load_params
from relalign.tracking import store_uri
from tests.serve.browser import chromium, picture

WORKFLOW = "workflowType=machine_learning"
COLUMNS = ("test/i2i_ndcg_at_10", "test/t2i_recall_at_1", "test/i2t_recall_at_1", "test/rsum")
SIZES = {"runs": (1900, 700), "charts": (1500, 900), "compare": (1500, 650)}
CLOSE_ASSISTANT = By.CSS_SELECTOR, "[data-component-id='mlflow.assistant.chat_panel.close']"
SECONDS_TO_START = 120


@contextmanager
def ui(params: Path) -> Iterator[str]:
    """`relalign ui` of a project; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["relalign", "ui", "--port", str(port), "--params", str(params)]
    server = subprocess.Popen(command, start_new_session=True)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS_TO_START
    try:
        while True:
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=5):
                    break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def sort(browser, metrics: Sequence[str]) -> None:
    """Sort the table by one metric after another, as a person does; each becomes a column."""
    wait = WebDriverWait(browser, 60)
    for metric in metrics:
        wait.until(lambda page: page.find_elements(By.XPATH, "//button[contains(., 'Sort')]"))[0].click()
        item = f"[data-testid='sort-select-{metric}']"
        wait.until(lambda page, item=item: page.find_elements(By.CSS_SELECTOR, item))[0].click()
        time.sleep(3)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    params = load_params(options.params)
    store = store_uri(params.tracking, options.params.resolve().parent)
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(f"{params.tracking.experiment}/{params.dataset}").experiment_id
    runs = client.search_runs([experiment], order_by=["metrics.`test/rsum` DESC"])
    ids = json.dumps([run.info.run_id for run in runs if "test/rsum" in run.data.metrics])
    compare = f"compare-runs?runs={ids}&experiments=[%22{experiment}%22]&{WORKFLOW}"
    pages = {
        "runs": f"experiments/{experiment}/runs?{WORKFLOW}",
        "charts": f"experiments/{experiment}/runs?{SORTED}&compareRunsMode=CHART",
        "compare": compare,
    }
    with ui(options.params) as address:
        for name, page in pages.items():
            width, height = SIZES[name]
            with chromium(width=width, height=height) as browser:
                browser.get(f"{address}/#/{page}")
                for button in WebDriverWait(browser, 60).until(lambda page: page.find_elements(*CLOSE_ASSISTANT)):
                    button.click()
                if name == "runs":
                    sort(browser, COLUMNS)
                time.sleep(15)  # for the charts
                picture(browser, options.to / f"mlflow-{name}.png", height=height)


if __name__ == "__main__":
    main()
