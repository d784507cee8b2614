"""The site as a reader has it: in a real browser, from files and from a server, wide and narrow, by mouse and key."""

import functools
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from hepred_lib.cohort.predictors import predictor_frame
from hepred_lib.cohort.rules import COLUMNS
from hepred_lib.study.deployment import load_frozen, predict_table
from hepred_lib.study.files import read_json
from hepred_lib.study.site import build_site

MODELS = ("clinical", "integrated")
ENTER = """
const [patients, done] = [arguments[0], []];
for (const patient of patients) {
  for (const [name, value] of Object.entries(patient)) {
    const field = document.querySelector(`.risk-fields [name=${name}]`);
    if (!field) continue;
    field.value = value;
    field.dispatchEvent(new Event("input", {bubbles: true}));
  }
  const row = {};
  for (const place of document.querySelectorAll(".risk-answer")) {
    const name = place.dataset.model;
    for (const key of ["p", "low", "high"]) row[`${name}_${key}`] = Number(place.querySelector("output").dataset[key]);
    const total = document.querySelector(`[data-model=${name}][data-points=total]`); // none without a nomogram
    row[`${name}_points`] = total ? Number(total.dataset.value) : null;
  }
  done.push(row);
}
return done;
"""


def entered(browser, table: pd.DataFrame) -> pd.DataFrame:
    """What the risk page answers to each patient of a table with manifest columns."""
    fields = table.assign(male=table["sex"].map({"F": "0", "M": "1"})).drop(columns="sex")
    fields["anticoagulant"] = fields["anticoagulant"].astype(int)
    return pd.DataFrame(browser.execute_script(ENTER, fields.astype(str).to_dict("records")))


def random_patients(n: int) -> pd.DataFrame:
    """Complete patients, anywhere within the limits of the manifest."""
    rng = np.random.default_rng(11)
    table = pd.DataFrame({"dl_score": rng.normal(size=n), "sex": rng.choice(["F", "M"], n)})
    for name, column in COLUMNS.items():
        if column.kind in ("number", "integer") and name != "dl_score":
            high = min(column.high or 50.0, 500.0)
            value = rng.uniform(column.low, high, n)
            table[name] = value.round() if column.kind == "integer" else value
        elif column.kind == "binary":
            table[name] = rng.integers(0, 2, n)
    table["location"] = rng.choice(COLUMNS["location"].allowed, n)
    return table


@pytest.fixture
def risk(visit, browser, site):
    """The risk page, open; a function that enters the patients of a table there."""
    visit((site / "risk.html").as_uri())
    return functools.partial(entered, browser)


WORDLESS = """
const pictures = [...document.querySelectorAll("article img")].filter((image) => !image.alt.trim());
const fields = [...document.querySelectorAll(".risk-fields input, .risk-fields select")];
return [...pictures, ...fields.filter((field) => !field.labels.length && !field.ariaLabel)].map((one) => one.id);
"""


def assert_sound(visit, browser, base: str, site, *, width: int = 390) -> None:
    """No page is at fault, asks for other files than the site's, or is too wide; pictures and entries have words."""
    for path in sorted(site.rglob("*.html")):
        address = f"{base}/{path.relative_to(site)}"
        errors, addresses = visit(address, width=width)
        assert not errors, path.name
        assert address in addresses
        assert not [other for other in addresses if not other.startswith(base)], path.name
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, path.name
        assert browser.execute_script(WORDLESS) == [], path.name


@pytest.mark.parametrize(("where", "width"), [("file", 390), ("server", 1280)])
def test_no_page_is_at_fault_asks_elsewhere_or_is_wider_than_its_screen(visit, browser, site, served, where, width):
    assert_sound(visit, browser, site.as_uri() if where == "file" else served, site, width=width)


@pytest.mark.parametrize("where", ["file", "server"])
def test_the_search_finds_the_page_on_calibration(visit, browser, site, served, where):
    base = site.as_uri() if where == "file" else served
    errors, _ = visit(f"{base}/search.html?q=calibration")
    hit = "ul.search li a[href*='07_roc_calibration_figures.html']"  # hits are listed one by one
    assert wait_for(browser, f'return document.querySelector("{hit}")')
    assert not errors


def assert_python_agrees(answers: pd.DataFrame, run, table: pd.DataFrame) -> None:
    expected = predict_table(load_frozen(run), table)
    for name in MODELS:
        np.testing.assert_allclose(answers[f"{name}_p"], expected[f"p_{name}"], rtol=0, atol=1e-9)


def test_the_risk_page_gives_pythons_probability_for_random_patients_and_so_do_its_points(risk, by_hand):
    table = random_patients(50)
    answers = risk(table)
    assert_python_agrees(answers, by_hand, table)
    for name in MODELS:
        assert answers[f"{name}_p"].nunique() > 40
        scale = read_json(by_hand / f"{name}_model.json")["nomogram"]
        from_points = expit(scale["logit_at_zero"] + answers[f"{name}_points"] / scale["points_per_logit"])
        np.testing.assert_allclose(from_points, answers[f"{name}_p"], rtol=0, atol=1e-9)


def test_the_interval_is_that_of_the_stored_covariance_around_the_probability(risk, by_hand):
    table, model = random_patients(10), load_frozen(by_hand).models["integrated"].logistic
    answers = risk(table)
    x = predictor_frame(table, [*model.imputer.coding.levels])
    terms = model.basis.expand(model.imputer.coding.matrix(x).to_numpy())
    design = np.column_stack([np.ones(10), terms[:, [model.basis.names.index(name) for name in model.names]]])
    half = 1.959963984540054 * np.sqrt(np.einsum("ni,ij,nj->n", design, model.covariance, design))
    middle = logit(answers["integrated_p"])
    np.testing.assert_allclose(answers["integrated_low"], expit(middle - half), atol=1e-9)
    np.testing.assert_allclose(answers["integrated_high"], expit(middle + half), atol=1e-9)


@pytest.mark.usefixtures("risk")
def test_a_slider_is_moved_by_key_and_the_answer_is_spoken(browser):
    before = browser.execute_script("return document.querySelector('output').dataset.p")
    slider = browser.find_element("id", "risk-age-slider")
    slider.send_keys("\ue014")  # arrow right
    after = browser.execute_script("return document.querySelector('output').dataset.p")
    assert float(after) > float(before)
    spoken = wait_for(browser, "return document.getElementById('risk-spoken').textContent")
    assert "clinical model" in spoken


def test_an_entry_outside_its_limits_gives_no_probability_and_says_why(risk, browser):
    answers = risk(random_patients(1).assign(age=300.0))
    assert answers["clinical_p"].eq(0).all()
    assert browser.execute_script("return document.querySelector('output').textContent") == "–"
    field = browser.find_element("id", "risk-age")
    assert field.get_attribute("aria-invalid") == "true"
    assert browser.find_element("id", "risk-age-note").text == "Enter a number from 18 to 110."


@pytest.mark.usefixtures("risk")
def test_a_decimal_comma_is_understood_and_the_answer_is_compared(browser):
    answers = []
    for written in ("171.5", "171,5"):
        browser.execute_script(
            "const f = document.getElementById('risk-sbp_mmhg'); f.value = arguments[0];"
            "f.dispatchEvent(new Event('input', {bubbles: true}))",
            written,
        )
        answers.append(browser.execute_script("return document.querySelector('.risk-answer output').dataset.p"))
    assert answers[0] == answers[1] != ""
    words = browser.find_element("css selector", ".risk-words").text
    assert "the study's threshold" in words
    hits = browser.execute_script("return document.querySelector('.risk-answer').querySelectorAll('.risk-hit').length")
    assert hits == round(100 * float(answers[0]))


@pytest.mark.usefixtures("risk")
def test_a_file_fills_the_entries_and_one_that_is_none_is_named(browser, tmp_path):
    answer, bedside, broken = (tmp_path / name for name in ("prediction.json", "bedside.json", "notes.json"))
    answer.write_text('{"dl_score": 1.25, "dl_score_spread": 0.3, "p_image": 0.2, "warnings": []}', encoding="utf-8")
    bedside.write_text('{"age": 71, "sex": "M", "location": "thalamus", "nihss": 12}', encoding="utf-8")
    broken.write_text("no JSON", encoding="utf-8")
    browser.find_element("id", "risk-load").send_keys("\n".join(map(str, (answer, bedside, broken))))
    said = wait_for(browser, "return document.getElementById('risk-loaded').textContent")
    assert "From prediction.json: DL score." in said
    assert "notes.json is no JSON object." in said
    entries = {name: browser.find_element("id", f"risk-{name}").get_property("value") for name in ("dl_score", "age")}
    assert entries == {"dl_score": "1.25", "age": "71"}
    assert browser.find_element("id", "risk-male").get_property("value") == "1"
    assert browser.find_element("id", "risk-location").get_property("value") == "thalamus"


def test_a_value_outside_the_development_patients_is_hatched_and_named(risk, browser, patients):
    hatched = "return document.querySelectorAll('.risk-extrapolated').length"
    table = random_patients(1).assign(age=70.0, gcs=10, sbp_mmhg=160.0, dl_score=0.0)
    risk(table)
    assert browser.execute_script(hatched) == 0
    risk(table.assign(age=patients["age"].max() + 5))
    assert browser.execute_script(hatched) == 2
    assert "Extrapolated: Age." in browser.find_element("css selector", ".risk-words").text


def test_the_spread_of_the_score_widens_the_interval_of_the_model_that_uses_it(visit, browser, site, by_hand):
    page, copy = (site / "risk.html").read_text(encoding="utf-8"), site / "risk_spread.html"
    carried = re.search(r'id="risk-models">(.*?)</script>', page, re.DOTALL)[1]
    content = json.loads(carried)
    for field in content["fields"]:
        field |= {"spread": 0.6, "networks": 3} if field["name"] == "dl_score" else {}
    table, answers = random_patients(3), []
    try:
        copy.write_text(page.replace(carried, json.dumps(content)), encoding="utf-8")
        for name in ("risk.html", copy.name):
            visit((site / name).as_uri())
            answers.append(entered(browser, table))
    finally:
        copy.unlink()
    plain, wide = ({m: (logit(a[f"{m}_high"]) - logit(a[f"{m}_low"])) / 2 for m in MODELS} for a in answers)
    slope = load_frozen(by_hand).models["integrated"].logistic.to_json()["coefficients"]["dl_score"]
    np.testing.assert_allclose(wide["clinical"], plain["clinical"])
    expected = np.sqrt(plain["integrated"] ** 2 + (1.959963984540054 * slope * 0.6) ** 2 / 3)
    np.testing.assert_allclose(wide["integrated"], expected, rtol=1e-6)


SLICE = "return document.querySelector('.cases output').textContent"
PICTURE = "return document.querySelector('.cases canvas').toDataURL()"
# The least contrast of a text of the page with its background.
CONTRAST = """
const light = (colour) => {
  const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255);
  const [r, g, b] = parts.map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
document.documentElement.dataset.theme = arguments[0];
const page = light(getComputedStyle(document.body).backgroundColor);
const names = "figcaption, p, text, h2, legend, label, dt, dd, output, button, th, td";
const texts = document.querySelectorAll(`${arguments[1]} :is(${names})`);
return Math.min(...[...texts].map((one) => {
  const style = getComputedStyle(one);
  const ink = light(one.matches("text") ? style.fill : style.color);
  return (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
}));
"""


def test_a_case_is_scrolled_by_wheel_key_and_slider(visit, browser, site):
    visit((site / "cases.html").as_uri())
    assert wait_for(browser, SLICE) == "slice 9 of 20"  # of the largest outline
    canvas, slider = (browser.find_element("css selector", f".cases {one}") for one in ("canvas", "input[type=range]"))
    canvas.send_keys("\ue015")  # arrow down
    assert browser.execute_script(SLICE) == "slice 8 of 20"
    canvas.send_keys("\ue010")  # end
    assert browser.execute_script(SLICE) == "slice 20 of 20"
    wheel = "arguments[0].dispatchEvent(new WheelEvent('wheel', {deltaY: -9, bubbles: true, cancelable: true}))"
    browser.execute_script(wheel, canvas)
    assert browser.execute_script(SLICE) == "slice 19 of 20"
    slider.send_keys("\ue014")  # arrow right
    assert slider.get_attribute("aria-valuetext") == "slice 20 of 20"


def test_each_outline_can_be_switched_off(visit, browser, site):
    visit((site / "cases.html").as_uri())
    wait_for(browser, SLICE)
    pictures = [browser.execute_script(PICTURE)]
    for bit in (1, 2):
        browser.find_element("css selector", f"[data-bit='{bit}']").click()
        pictures.append(browser.execute_script(PICTURE))
    assert len(set(pictures)) == 3
    label = browser.find_element("css selector", ".cases canvas").get_attribute("aria-label")
    assert label == "CT of Case 1, slice 9 of 20; no outline"


def test_a_point_a_row_and_a_key_choose_a_case_and_its_numbers(visit, browser, site):
    visit((site / "cases.html").as_uri())
    name = "return document.querySelector('.cases-name').textContent"
    assert browser.execute_script(name) == "Case 1"
    browser.execute_script("document.querySelector('tr[data-case=\"02\"]').click()")
    assert browser.execute_script(name) == "Case 2"
    assert "0.50" in browser.find_element("css selector", ".cases dl").text
    point = browser.find_element("css selector", ".cases-point[data-case='01']")
    point.send_keys("\ue007")  # enter
    assert browser.execute_script(name) == "Case 1"
    browser.execute_script("document.querySelector('[data-step=\"1\"]').click()")
    assert browser.execute_script(name) == "Case 2"


@pytest.mark.parametrize("name", ["index", "risk", "05_clinical_to_he", "figures", "cases"])
def test_the_text_of_a_page_stands_out_in_light_and_dark(visit, browser, site, name):
    visit((site / f"{name}.html").as_uri())
    part = ".cases" if name == "cases" else ".bd-article"
    assert min(browser.execute_script(CONTRAST, theme, part) for theme in ("light", "dark")) >= 4.5


@pytest.mark.book
def test_the_smoke_studys_book_reads_as_a_site(visit, browser, run, tmp_path):
    """The whole book from a real run: every figure shown, no page too wide, none at fault, the same probabilities."""
    site = build_site(run, tmp_path / "site", reference=False).parent
    assert_sound(visit, browser, site.as_uri(), site)
    shown = "".join(path.read_text(encoding="utf-8") for path in site.glob("0*.html"))
    figures = ["flow", "network", "dl-score", "odds-ratios-clinical", "roc", "calibration", "decision-curve", "new-roc"]
    assert not [name for name in figures if f'id="fig-{name}"' not in shown]
    visit((site / "risk.html").as_uri())
    table = random_patients(50)
    assert_python_agrees(entered(browser, table), run, table)


def wait_for(browser, script: str):
    """What a script returns as soon as it returns something; an error after half a minute without."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(script))
