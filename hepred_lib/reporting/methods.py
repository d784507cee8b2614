"""Methods up to missing data: sub-items 5 to 11."""

from __future__ import annotations

from hepred_lib.cohort.expansion import DEFINITIONS
from hepred_lib.cohort.rules import COLUMNS
from hepred_lib.literal import for_markdown
from hepred_lib.reporting.entries import Entry, by_origin, claim
from hepred_lib.reporting.evidence import Evidence
from hepred_lib.reporting.markdown import counted
from hepred_lib.study.summary import MIN_TEST_EVENTS

COHORT, DATA_CARD = "notebooks/01_cohort.ipynb", "report/data_card.md"
USUAL = "6ml_or_33pct"
CLINICAL = "notebooks/05_clinical_to_he.ipynb"


@claim(COHORT, DATA_CARD)
def _source(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    checksum = evidence.value("provenance.json", "manifest_sha256")
    kind = "Simulated patients, for their truth is known" if evidence.simulated else "The patients of one manifest"
    return (
        f"{kind} (SHA-256 of the manifest {checksum[:12]}); {n['development']} for development, {n['test']} drawn from "
        "the same cohort for evaluation."
    )


@claim(DATA_CARD)
def _centers(evidence: Evidence) -> str:
    sites = sorted(evidence.table("cohort.csv", "site")["site"].dropna().astype(str).unique())
    words = ", ".join(map(for_markdown, sites))
    return f"{len(sites)} {'site' if len(sites) == 1 else 'sites'} in the cohort ({words})."


@claim(COHORT, "figures/flow.png")
def _eligible(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    source = evidence.value("results.json", "image_source")
    need = {"scans": "a first head CT", "column": "an outcome and an image score"}.get(source, "an outcome")
    reasons = evidence.locate("excluded.csv")
    return f"Included: every row of the manifest with {need}; {n['excluded']} excluded, with reasons ({reasons})."


@claim("notebooks/02_preprocessing.ipynb", "figures/montage.png")
def _preprocessing(evidence: Evidence) -> str:
    if not evidence.reads_scans:
        return ""
    chosen = {name: evidence.parameter("02_preprocessing", name) for name in ("matrix", "field_mm", "thickness_mm")}
    return (
        f"Scans are brought to one orientation, {chosen['matrix']} x {chosen['matrix']} pixels on "
        f"{chosen['field_mm']:g} mm and slices near {chosen['thickness_mm']:g} mm, and kept in Hounsfield units."
    )


@claim("notebooks/02_preprocessing.ipynb", "figures/quality.png")
def _quality(evidence: Evidence) -> str:
    if not evidence.reads_scans:
        return ""
    quality = evidence.table("slices/quality.csv", "noise_hu")
    scans = quality.merge(evidence.table("cohort.csv", "sex")[["patient_id", "sex"]], on="patient_id")
    flagged = evidence.result("02_preprocessing", "n_flagged")
    noise = "; ".join(
        f"{sex} {group['noise_hu'].median():.1f} HU, {len(group)} scans" for sex, group in scans.groupby("sex")
    )
    return f"{flagged} of {len(quality)} scans carry a flag of quality. Median noise by sex: {noise}."


@claim(DATA_CARD)
def _checked(evidence: Evidence) -> str:
    n = evidence.value("results.json", "n", "patients")
    return (
        f"Every cell of the manifest was held against the rules of {len(COLUMNS)} columns; {n} patients have an "
        f"outcome."
    )


@claim(COHORT)
def _outcome(evidence: Evidence) -> str:
    name = evidence.value("results.json", "he_definition")
    rule = DEFINITIONS[name]
    parts = [f"{'at least' if rule.inclusive_ml else 'more than'} {rule.growth_ml:g} mL"]
    if rule.growth_fraction is not None:
        parts.append(f"{'at least' if rule.inclusive_fraction else 'more than'} {100 * rule.growth_fraction:g} %")
    blood = ", or new or at least 1 mL more ventricular blood" if rule.ventricular else ""
    return (
        f"Hematoma expansion: growth of {' or '.join(parts)} between two scans{blood} ({name}; {rule.source}). "
        f"{'It is the definition of most cohorts. ' if name == USUAL else ''}One rule, applied to volumes, whoever the "
        "patient is."
    )


@claim(DATA_CARD)
def _horizon(evidence: Evidence) -> str:
    hours = evidence.table("cohort.csv", "ct_to_followup_h")["ct_to_followup_h"]
    low, middle, high = hours.quantile([0.25, 0.5, 0.75])
    return f"Horizon: the follow-up scan, a median of {middle:.1f} h after the first (quartiles {low:.1f}-{high:.1f})."


@claim(CLINICAL)
def _candidates(evidence: Evidence) -> str:
    names = evidence.value("clinical_model.json", "candidates")
    named = evidence.value("records/05_clinical_to_he.json", "parameters").get("candidates")
    origin = "named by the study file" if named else "all that the manifest offers of the bedside and laboratory list"
    return f"{len(names)} candidates, {origin}; none was dropped for its relation to the outcome."


@claim(DATA_CARD)
def _definitions(evidence: Evidence) -> str:
    names = evidence.value("clinical_model.json", "candidates")
    evidence.section(DATA_CARD, "Columns")
    ruled = [name for name in names if name in COLUMNS]
    return (
        f"Meaning, unit and accepted range of {len(ruled)} of {len(names)} candidates: under Columns in the data card."
    )


@claim("notebooks/04_image_to_he.ipynb")
def _image_predictor(evidence: Evidence) -> str:
    if "image" not in evidence.models:
        return ""
    scales = evidence.value("image_model.json", "scales")
    return f"The image predictor is the normalized DL score ({counted(len(scales), 'scale')} kept with the model)."


@claim(COHORT)
def _size(evidence: Evidence) -> str:
    found = {
        name: evidence.result("01_cohort", name) for name in ("n_development", "he_development", "supported_parameters")
    }
    offered = len(evidence.value("clinical_model.json", "candidates"))
    return (
        f"Development: {found['n_development']} patients, {found['he_development']} events; by Riley's criteria these "
        f"carry about {found['supported_parameters']} candidate parameters, and {offered} were offered."
    )


@claim(COHORT)
def _test_size(evidence: Evidence) -> str:
    events = evidence.value("results.json", "n", "he_test")
    verdict = "enough" if events >= MIN_TEST_EVENTS else "too few"
    return f"Evaluation: {events} events, {verdict} for calibration ({MIN_TEST_EVENTS} are wanted)."


@claim(CLINICAL)
def _missing(evidence: Evidence) -> str:
    shares = evidence.table("tables/missing.csv", "missing").set_index("predictor")["missing"]
    sets = evidence.value("clinical_model.json", "logistic", "settings", "n_imputations")
    if not (shares > 0).any():
        return f"No value is missing among {len(shares)} candidates."
    imputer = evidence.locate("imputation.json")
    return (
        f"{(shares > 0).sum()} of {len(shares)} candidates have missing values, at most {shares.max():.0%} "
        f"({shares.idxmax()}); {sets} imputed sets from the other predictors, never from the outcome, fitted on "
        f"development patients alone ({imputer})."
    )


@claim(COHORT)
def _omitted(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    role = "serve segmentation and detection alone" if evidence.reads_scans else "are among them"
    return (
        f"{n['excluded']} rows excluded; {n['without_outcome']} hemorrhages without an outcome and {n['blood_free']} "
        f"rows without a hemorrhage {role}."
    )


def _setting(evidence: Evidence) -> str:
    if evidence.simulated:
        return "No hospital stands behind them: setting and place do not exist."
    return "Kind and place of the hospitals are not in the files; to be added by the author."


def _representative(evidence: Evidence) -> str:
    return "" if evidence.simulated else "Why these patients, and how representative they are, is the author's to say."


def _clinical_eligibility(evidence: Evidence) -> str:
    return "" if evidence.simulated else "Who entered the manifest is not in the files; to be added by the author."


def _why_this_outcome(evidence: Evidence) -> str:
    usual = evidence.value("results.json", "he_definition") == USUAL
    return "" if usual else "Why this definition was chosen is the author's to say."


def _measured(evidence: Evidence) -> str:
    return (
        "" if evidence.simulated else "How and when each was measured is not in the files; to be added by the author."
    )


_NOBODY = "Values follow from the simulation's numbers; nobody judged them."
_UNKNOWN = "Not in the study's files; to be added by the author."

ENTRIES = {
    "5a": Entry((_source,), _representative),
    "5b": Entry((), by_origin(simulated="Simulated patients have no dates.", real=_UNKNOWN)),
    "6a": Entry((_centers,), _setting),
    "6b": Entry((_eligible,), _clinical_eligibility),
    "6c": Entry(
        (), by_origin(simulated="", real=_UNKNOWN), by_origin(simulated="No treatment acts between the scans.", real="")
    ),
    "7": Entry((_checked, _preprocessing, _quality)),
    "8a": Entry((_outcome, _horizon), _why_this_outcome),
    "8b": Entry((), by_origin(simulated="", real=_UNKNOWN), by_origin(simulated=_NOBODY, real="")),
    "8c": Entry((), by_origin(simulated="", real=_UNKNOWN), by_origin(simulated=_NOBODY, real="")),
    "9a": Entry((_candidates,)),
    "9b": Entry((_definitions, _image_predictor), _measured),
    "9c": Entry((), by_origin(simulated="", real=_UNKNOWN), by_origin(simulated=_NOBODY, real="")),
    "10": Entry((_size, _test_size)),
    "11": Entry((_missing, _omitted)),
}
