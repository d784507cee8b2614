"""The 52 sub-items of TRIPOD+AI by their headings, and how other checklists number the same matters.

What a sub-item asks is said in our own short words; the wording that counts is the statement's own.

References
----------
Collins GS et al. TRIPOD+AI statement. BMJ 2024;385:e078378. Tejani AS et al. CLAIM 2024 update. Radiol Artif Intell
2024;6:e240300. STARD-AI: Nat Med 2025. PROBAST+AI: BMJ 2025, bmj-2024-082505.
"""

from typing import NamedTuple


class Item(NamedTuple):
    """One sub-item: its number, section and heading, whom it concerns (D development, E evaluation), what it asks."""

    number: str
    section: str
    heading: str
    concerns: str
    asks: str


_BOTH = "D;E"
_METHODS, _OPEN, _RESULTS = "Methods", "Open science", "Results"
_INTRODUCTION, _DISCUSSION, _PUBLIC = "Introduction", "Discussion", "Patient and public involvement"

ITEMS = (
    Item("1", "Title", "Title", _BOTH, "kind of study, population, outcome"),
    Item("2", "Abstract", "Abstract", _BOTH, "a structured summary"),
    Item("3a", _INTRODUCTION, "Background", _BOTH, "context, rationale, existing models"),
    Item("3b", _INTRODUCTION, "Background", _BOTH, "target population, purpose, users"),
    Item("3c", _INTRODUCTION, "Background", _BOTH, "known health inequalities"),
    Item("4", _INTRODUCTION, "Objectives", _BOTH, "aims: development, validation or both"),
    Item("5a", _METHODS, "Data", _BOTH, "sources, why these, how representative"),
    Item("5b", _METHODS, "Data", _BOTH, "dates of accrual and follow-up"),
    Item("6a", _METHODS, "Participants", _BOTH, "setting, number and place of centers"),
    Item("6b", _METHODS, "Participants", _BOTH, "eligibility"),
    Item("6c", _METHODS, "Participants", _BOTH, "treatments and how they were handled"),
    Item("7", _METHODS, "Data preparation", _BOTH, "preprocessing and quality, alike in all groups"),
    Item("8a", _METHODS, "Outcome", _BOTH, "definition, time horizon, rationale"),
    Item("8b", _METHODS, "Outcome", _BOTH, "who assessed it"),
    Item("8c", _METHODS, "Outcome", _BOTH, "blinding of its assessment"),
    Item("9a", _METHODS, "Predictors", "D", "choice of candidates, pre-selection"),
    Item("9b", _METHODS, "Predictors", _BOTH, "definitions, how and when measured"),
    Item("9c", _METHODS, "Predictors", _BOTH, "who assessed them"),
    Item("10", _METHODS, "Sample size", _BOTH, "how it was arrived at, whether it suffices"),
    Item("11", _METHODS, "Missing data", _BOTH, "how handled, why omitted"),
    Item("12a", _METHODS, "Analytical methods", "D", "use of the data, partition"),
    Item("12b", _METHODS, "Analytical methods", "D", "form and scale of predictors"),
    Item("12c", _METHODS, "Analytical methods", "D", "type of model, building, tuning, internal validation"),
    Item("12d", _METHODS, "Analytical methods", _BOTH, "heterogeneity across clusters"),
    Item("12e", _METHODS, "Analytical methods", _BOTH, "measures and plots of performance"),
    Item("12f", _METHODS, "Analytical methods", "E", "model updating"),
    Item("12g", _METHODS, "Analytical methods", "E", "how predictions were calculated"),
    Item("13", _METHODS, "Class imbalance", _BOTH, "methods, and recalibration after them"),
    Item("14", _METHODS, "Fairness", _BOTH, "what was done for it"),
    Item("15", _METHODS, "Model output", "D", "probability or class, thresholds"),
    Item("16", _METHODS, "Training versus evaluation", _BOTH, "differences between the data sets"),
    Item("17", _METHODS, "Ethical approval", _BOTH, "committee, consent"),
    Item("18a", _OPEN, "Funding", _BOTH, "source and role of funders"),
    Item("18b", _OPEN, "Conflicts of interest", _BOTH, "of all authors"),
    Item("18c", _OPEN, "Protocol", _BOTH, "where it is, or that there is none"),
    Item("18d", _OPEN, "Registration", _BOTH, "register and number, or that there is none"),
    Item("18e", _OPEN, "Data sharing", _BOTH, "availability of the data"),
    Item("18f", _OPEN, "Code sharing", _BOTH, "availability of the code"),
    Item("19", _PUBLIC, "Patient and public involvement", _BOTH, "in design, conduct or reporting"),
    Item("20a", _RESULTS, "Participants", _BOTH, "flow, outcomes, follow-up time"),
    Item("20b", _RESULTS, "Participants", _BOTH, "characteristics, missing values, differences between groups"),
    Item("20c", _RESULTS, "Participants", "E", "development and evaluation data compared"),
    Item("21", _RESULTS, "Model development", _BOTH, "patients and events in each analysis"),
    Item("22", _RESULTS, "Model specification", "D", "the full model, so that others can predict"),
    Item("23a", _RESULTS, "Model performance", _BOTH, "estimates with intervals, subgroups"),
    Item("23b", _RESULTS, "Model performance", _BOTH, "heterogeneity across clusters"),
    Item("24", _RESULTS, "Model updating", "E", "results of updating"),
    Item("25", _DISCUSSION, "Interpretation", _BOTH, "main results, fairness, earlier studies"),
    Item("26", _DISCUSSION, "Limitations", _BOTH, "and what they do to bias and uncertainty"),
    Item("27a", _DISCUSSION, "Usability", "D", "poor or missing input"),
    Item("27b", _DISCUSSION, "Usability", "D", "what is asked of users"),
    Item("27c", _DISCUSSION, "Usability", _BOTH, "next steps"),
)

# What the book shows, and the numbers under which TRIPOD+AI, CLAIM 2024, STARD-AI and PROBAST+AI ask for it.
CROSS_REFERENCE = (
    ("data card", "5, 6, 7, 16", "7-13", "7-14", "participants"),
    ("flow of patients", "20a, 21", "35", "24", "participants"),
    ("characteristics by partition, missing values", "20b, 20c", "36", "25", "predictors"),
    ("definition of the outcome", "8a-c", "14-18", "16", "outcome"),
    ("split by patient", "12a", "19-20", "15b", "analysis"),
    ("sample size", "10", "21", "22", "analysis"),
    ("missing data", "11", "12", "20", "analysis"),
    ("network, losses, seeds, versions", "12c, 22", "22-27", "15a", "analysis"),
    ("frozen threshold", "15", "-", "15c", "analysis"),
    ("ROC, AUC with interval, two-by-two table", "12e, 23a", "28-29, 37-38", "30-31", "analysis"),
    ("calibration, net benefit", "12e", "28", "-", "analysis"),
    ("optimism by bootstrap", "12c", "32", "-", "analysis"),
    ("another hospital", "12d, 16, 23b", "33", "29", "analysis"),
    ("subgroups", "14, 23a, 25", "36-37", "23, 35", "analysis"),
    ("failures, where the network looked", "-", "30, 31, 39", "21", "-"),
    ("model card, weights, code, licence", "18e-f, 22, 27", "43", "40", "-"),
    ("protocol, registration, ethics, funding", "17-19", "34, 42, 44", "6, 36-39", "-"),
)
