"""A finished study made by hand, small enough for every test; a real browser, and a server for it."""

import functools
import http.server
import json
import shutil
import threading
from base64 import b64encode
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hepred_lib.cohort.predictors import predictor_frame, predictor_terms
from hepred_lib.figures.style import render
from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.study.drawing import describe_nomogram
from hepred_lib.study.files import write_bytes, write_figure_data, write_json, write_table
from hepred_lib.study.site import build_site
from tests.conftest import made_once
from tests.study.small_run import made_cohort, made_results

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SAID = {"figure": "roc", "alt": "ROC curves of three models.", "width": 317}
BEDSIDE = ["age", "sex", "gcs", "sbp_mmhg", "anticoagulant", "location"]
PLACES = (
    "[05](../notebooks/05_clinical_to_he.ipynb), [results.json](../results.json), [figure roc](../figures/roc.png), "
    "[volumes](../figures/bland_altman.png), [record 05](../records/05_clinical_to_he.json)"
)
CURVED = ["spline(age)", "sex", "gcs", "log(sbp_mmhg)", "anticoagulant", "location"]


@pytest.fixture(scope="session")
def patients() -> pd.DataFrame:
    """Development patients whose predictors all tell something of the outcome, one value in ten missing."""
    rng, n = np.random.default_rng(3), 300
    table = pd.DataFrame({"age": rng.integers(30, 95, n).astype(float), "sex": rng.choice(["F", "M"], n)})
    table["gcs"], table["sbp_mmhg"] = rng.integers(3, 16, n).astype(float), rng.normal(165, 25, n).round()
    table["anticoagulant"] = rng.integers(0, 2, n).astype(float)
    table["location"] = rng.choice(["basal_ganglia", "thalamus", "lobar", "cerebellum"], n)
    table["dl_score"] = rng.normal(size=n)
    logit = 0.05 * (table["age"] - 65) - 0.3 * (table["gcs"] - 10) + 0.03 * (table["sbp_mmhg"] - 165) - 2
    logit += 1.2 * table["anticoagulant"] + 1.5 * table["location"].eq("thalamus") + table["sex"].eq("M")
    logit += table["dl_score"]
    table["he"] = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    table.loc[rng.random(n) < 0.1, "sbp_mmhg"] = np.nan
    return table


def write_models(run: Path, patients: pd.DataFrame) -> None:
    for name, offered, added, imputation in (
        ("clinical", BEDSIDE, (), "imputation.json"),
        ("integrated", CURVED, ("dl_score",), "integrated_imputation.json"),
    ):
        x = predictor_frame(patients, [*offered, *added])
        settings = DevelopmentSettings(
            candidates=predictor_terms(offered), added=added, n_imputations=2, n_resamples=3, seed=1, alpha=0.2
        )
        model = develop(x, patients["he"], settings)
        content = {"model": name, "definition": "6ml_or_33pct", "threshold": 0.3, "candidates": offered}
        content["logistic"] = model.to_json()
        content["nomogram"] = describe_nomogram(model, x)
        write_json(run / f"{name}_model.json", content)
        write_json(run / imputation, model.imputer.to_json())


@pytest.fixture(scope="session")
def results_of():
    """Results of a study of simulated patients or of others."""

    def made_up(*, simulated: bool) -> dict:
        return made_results(made_cohort()) | ({} if simulated else {"oracle": None})

    return made_up


def executed(source: str, data: dict, said: dict | None = None) -> nbformat.NotebookNode:
    """A cell that shows this, and what it says of a picture."""
    metadata = {"image/png": said} if said else {}
    shown = nbformat.v4.new_output("execute_result", data, metadata=metadata, execution_count=1)
    return nbformat.v4.new_code_cell(source, outputs=[shown])


def executed_notebook() -> nbformat.NotebookNode:
    """A chapter with a figure, as ``show`` returns it, a table and a formula."""
    v4 = nbformat.v4
    figure = {"image/png": b64encode(picture()).decode(), "text/plain": "<Image>"}
    html = "<table class='dataframe'><tr><th>auc</th></tr><tr><td>0.8</td></tr></table>"
    table = executed("table", {"text/html": html, "text/plain": "auc"})
    table.outputs.insert(0, v4.new_output("stream", name="stderr", text="\r 50 %"))
    cells = [
        v4.new_markdown_cell("# 07 Calibration\n\n**Are the probabilities\nright?** See notebook 05. $q_0(V)$"),
        executed('show(run.folder, "roc", curves)', figure, SAID),
        table,
        v4.new_markdown_cell("## Limits\n\n$$P = q_0(V) + \\pi$$"),
        executed("run.record()", {"text/plain": "PosixPath('/home/me/x')"}),
    ]
    return v4.new_notebook(cells=cells)


def picture() -> bytes:
    figure = Figure(figsize=(3.3, 2))
    figure.subplots().plot([0, 1], [0, 1])
    return render(figure)["png"]


def write_cases(run: Path, patients: pd.DataFrame) -> None:
    """Two cases of 20 slices: bone around brain, and in the middle slices blood, of which half was found."""
    names = pd.DataFrame({"patient_id": [f"SITE-{k:04d}" for k in range(len(patients))]})
    scored = patients[["dl_score", "he"]].assign(split="test", fold=-1, p_image=np.linspace(0, 1, len(patients)))
    write_table(run / "image.csv", names.join(scored))
    write_table(run / "cohort.csv", names.assign(followup_volume_ml=12.0))
    write_table(run / "predictions.csv", names.assign(p_clinical=0.2, p_integrated=scored["p_image"]))
    write_table(run / "segmentation.csv", names.assign(dice=np.linspace(0, 1, len(names)), reference_ml=9.0))
    kept = names.head(2).assign(reason=["low Dice", "typical"], dice=[0.0, 0.5], dice_on="scan")
    write_table(run / "cases" / "cases.csv", kept.assign(reference_ml=9.0, predicted_ml=4.5, simulated=1))
    y, x = np.indices((60, 50)) - 25
    hu, masks = np.where(np.hypot(x, y) < 20, 72, 255), (np.hypot(x - 5, y) < 6) * (1 + 2 * (x > 5))
    slices = {"hu": np.stack([hu] * 20), "masks": np.stack([masks * (7 < z < 12) for z in range(20)])}
    for name in kept["patient_id"]:
        brain = {"brain": slices["hu"] == 72, "pixel_mm": np.array(3.0)}
        write_figure_data(run / "cases", name, {key: one.astype(np.uint8) for key, one in slices.items()} | brain)


def finish_by_hand(run: Path, patients: pd.DataFrame) -> None:
    write_models(run, patients)
    write_cases(run, patients)
    write_json(run / "results.json", made_results(made_cohort()))
    calibration, clinical = executed_notebook(), executed_notebook()
    clinical.cells[0].source = "# 05 Clinical\n\n**Which variables?** This is notebook 05."
    clinical.cells[1].outputs[0].metadata["image/png"] = SAID | {"figure": "bland_altman"}
    formula = {"text/markdown": r"$\mathrm{logit}\,p = -1.2 + 0.31\;\mathrm{Age~(bend)}$", "text/plain": "<Markdown>"}
    v4 = nbformat.v4
    clinical.cells[1:1] = [
        v4.new_code_cell("import numpy as np"),
        v4.new_markdown_cell("## Parameters\n\nWhat may be changed."),
        v4.new_code_cell("alpha = 0.05  # of the selection"),
        v4.new_markdown_cell("## Selection"),
        executed("formula", formula),
    ]
    write_table(run / "figure_data" / "bland_altman.csv", pd.DataFrame({"reference_ml": [9.0], "predicted_ml": [8.0]}))
    for name, notebook in (("05_clinical_to_he", clinical), ("07_roc_calibration_figures", calibration)):
        write_bytes(run / "notebooks" / f"{name}.ipynb", nbformat.writes(notebook).encode())
    write_bytes(
        run / "report" / "tripod.md", f"# TRIPOD+AI\n\n| item | where |\n| --- | --- |\n| 1 | {PLACES} |\n".encode()
    )


@pytest.fixture(scope="session")
def by_hand(tmp_path_factory, patients) -> Path:
    """The folder of a finished study of simulated patients."""
    return made_once(tmp_path_factory, "by_hand", lambda run: finish_by_hand(run, patients))


@pytest.fixture(scope="session")
def site(by_hand, tmp_path_factory) -> Path:
    """Its site."""
    made_once(tmp_path_factory, "by_hand_site", lambda done: build_site(by_hand) and done.mkdir())
    return by_hand / "site"


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium without a window, its console and its requests kept."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no chromium and chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    started.get("about:blank")
    logged(started)
    yield started
    started.quit()


def logged(browser) -> tuple[list[str], set[str]]:
    """Errors on the console and addresses asked for since the last call."""
    errors = [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    sent = [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]
    return errors, {address for address in sent if not address.startswith(("data:", "about:", "chrome"))}


@pytest.fixture
def visit(browser):
    """Open a page as wide as asked for; returns its console errors and the addresses that it asked for."""

    def open_page(address: str, *, width: int = 1280) -> tuple[list[str], set[str]]:
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get("about:blank")  # the last page is left, and what it still asked for late is not this one's
        logged(browser)
        browser.get(address)
        return logged(browser)

    return open_page


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def served(site):
    """The address of the site on a server of this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
