"""What cohorts of patients with intracerebral hemorrhage looked like: published figures beside a simulated cohort's.

Each figure was read in the source named beside it (most in Table 1); where none could be found, it says so.
"""

from typing import NamedTuple

_BERN = "J Stroke 2022;24:266"
_US = "Neurocrit Care 2021;35:418"
_CHINA = "npj Digit Med 2025, doi 10.1038/s41746-025-02213-w"
_DEEP = "Neurocrit Care 2025, doi 10.1007/s12028-025-02218-z (deep hemorrhages)"
_REVISED = "Sci Rep 2025, doi 10.1038/s41598-025-17393-4"


class Marginal(NamedTuple):
    """A variable of the cohort, a published distribution of it, and the source; ``level`` is counted where given."""

    column: str
    words: str
    published: str
    source: str
    level: str | None = None


PUBLISHED = (
    Marginal(
        "he", "hematoma expansion", "21.3 %; 19.1 %", "EBioMedicine 2019 (n 1157); Brouwers, JAMA Neurol 2014", "1"
    ),
    Marginal("age", "age, years", "60.1 ± 13.4; 71.9 ± 14.1", f"{_CHINA}; {_BERN}"),
    Marginal("sex", "men", "71.0 %; 53.5 %", f"{_CHINA}; {_BERN}", "M"),
    Marginal("hypertension", "hypertension", "85 %; 79.9 %", f"{_REVISED}; {_BERN}", "1"),
    Marginal("diabetes", "diabetes", "15 %; 28 %", f"{_BERN}; {_US}", "1"),
    Marginal("antiplatelet", "antiplatelet drug", "28.6 %", _BERN, "1"),
    Marginal("anticoagulant", "anticoagulant", "4.8 %; 22 %", f"{_REVISED} (computed); {_BERN}", "1"),
    Marginal("sbp_mmhg", "systolic pressure, mmHg", "184 (158-213)", _US),
    Marginal("gcs", "Glasgow Coma Scale", "15 (13-15), alert patients", _US),
    Marginal("nihss", "NIHSS", "8 (3-15)", _BERN),
    Marginal("onset_to_ct_h", "onset to CT, h", "5.0 without, 3.0 with expansion", _REVISED),
    Marginal("inr", "INR", "1.0 (1.0-1.1)", _US),
    Marginal("platelets_10e9_l", "platelets, 10^9/L", "219 (177-266)", _US),
    Marginal("glucose_mmol_l", "glucose, mmol/L", "7.1 (5.9-9.0), from mg/dL", _US),
    Marginal("hemoglobin_g_dl", "hemoglobin, g/dL", "13.8 (12.6-15.0)", _US),
    Marginal("fibrinogen_g_l", "fibrinogen, g/L", "no usable distribution found", "-"),
    Marginal("baseline_volume_ml", "volume, mL", "10.7 (5.6-18.7)", "INTERACT2, planimetric (n 2084)"),
    Marginal("ivh", "ventricular blood", "30 %", "TICH-2, in Radiol Artif Intell 2022;4:e220096", "1"),
    Marginal("location", "lobar", "30 %", _US, "lobar"),
)

# The simulation's effects on the logit of bleeding on: name there, words, step of the odds ratio, published, source.
EFFECTS = (
    ("ln_time", "onset to CT, per doubling", 0.6931471805599453, "0.84 (0.75-0.94) per hour", _DEEP),
    ("anticoagulant", "anticoagulant", 1.0, "3.72 (1.88-7.37), crude", f"{_REVISED} (computed)"),
    ("antiplatelet", "antiplatelet drug", 1.0, "2.61 (1.56-4.38), crude, any antithrombotic", f"{_REVISED} (computed)"),
    ("male", "male sex", 1.0, "1.82", "EBioMedicine 2019"),
    ("gcs", "Glasgow Coma Scale, per point", 1.0, "0.86", "EBioMedicine 2019"),
    ("fibrinogen_g_l", "fibrinogen, per g/L", 1.0, "0.72 (unit not shown)", "EBioMedicine 2019"),
    ("sbp_mmhg", "systolic pressure, per 10 mmHg", 10.0, "none found", "-"),
)  # fmt: skip
