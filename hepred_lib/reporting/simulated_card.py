"""What only a simulated cohort's data card holds: the law it was made by, and what gives it away."""

from __future__ import annotations

import math

import pandas as pd

from hepred_lib.reporting.evidence import Evidence
from hepred_lib.reporting.marginals import EFFECTS, PUBLISHED
from hepred_lib.reporting.markdown import link, section, table
from ich_phantom.growth import CLINICAL, IMAGE, INTERCEPT, READING_SD
from ich_phantom.patients import MISSING, SIGNS

GIVES_AWAY = (
    "Identifiers begin with `SIM-`; there is no follow-up scan, only a second volume.",
    "Every head follows one family of shapes: no craniotomy, drain, tumor, trauma, subdural or subarachnoid blood, no "
    "contrast medium, no metal.",
    "Every scan has an outline, and the outline is exact: no reader, no disagreement.",
    "Nobody dies or is operated on before the second scan, and its time has nothing to do with the patient.",
    "Reading errors are log-normal and of one size; values go missing by one known law; no value is mistyped.",
    "Variables hang together in the few ways that the simulation writes down; real ones do in many more.",
    "A network that has learned from these heads will find real hemorrhages less well: measure it there.",
)


def simulated_sections(evidence: Evidence, cohort: pd.DataFrame) -> list[str]:
    """The card's sections, in order."""
    return [
        section(
            "How it is made", _MADE, f"The law as a picture: {link('figures/truth.png')}." if _drawn(evidence) else ""
        ),
        section("Beside published cohorts", _BESIDE, table(beside_published(cohort))),
        section("Effects", _EFFECTS.format(intercept=INTERCEPT), table(_effects()), _image_effects()),
        section("Signs on the scan", _SIGNS, table(_signs())),
        section("The best possible prediction", _ORACLE, _best(evidence)),
        section("Missing values", _MISSING, table(_missing(cohort))),
        section("What gives it away", "\n".join(f"- {tell}" for tell in GIVES_AWAY)),
        section("Licence", "MIT, like the code that makes it. The cohort is made again from its seed, byte by byte."),
    ]


def beside_published(cohort: pd.DataFrame) -> pd.DataFrame:
    """The cohort's own distribution of each variable beside a published one."""
    known = cohort[cohort["he"].notna()]
    rows = []
    for row in PUBLISHED:
        if row.column in known and known[row.column].notna().any():
            own = _summary(known[row.column].dropna(), row.level)
            rows.append((row.words, own, row.published, row.source))
    return pd.DataFrame(rows, columns=["variable", "this cohort", "published", "source"])


def _summary(values: pd.Series, level: str | None) -> str:
    if level is not None:
        wanted = float(level) if pd.api.types.is_numeric_dtype(values) else level
        return f"{100 * values.eq(wanted).mean():.1f} %"
    if values.name == "age":
        return f"{values.mean():.1f} ± {values.std():.1f}"
    low, middle, high = values.quantile([0.25, 0.5, 0.75])
    return f"{middle:.3g} ({low:.3g}-{high:.3g})"


def _effects() -> pd.DataFrame:
    rows = [
        (words, f"{math.exp(step * CLINICAL[name]):.2f}", published, source)
        for name, words, step, published, source in EFFECTS
    ]
    return pd.DataFrame(rows, columns=["effect", "odds ratio here", "published odds ratio", "source"])


def _image_effects() -> str:
    parts = ", ".join(f"{name} {weight:g}" for name, weight in IMAGE.items())
    return f"Image part, weights of the latent variables on the logit: {parts}."


def _signs() -> pd.DataFrame:
    rows = [
        (
            name.replace("_", " "),
            sign.latent,
            f"{100 * sign.prevalence:.0f} %",
            f"{sign.odds_ratio:g}",
            f"{low:g}-{high:g}",
            sign.source,
        )
        for name, sign in SIGNS.items()
        for low, high in [sign.accepted]
    ]
    names = ["sign", "reads", "seen at the median volume", "odds ratio aimed at", "accepted", "source"]
    return pd.DataFrame(rows, columns=names)


def _best(evidence: Evidence) -> str:
    oracle = evidence.value("results.json", "oracle")
    known = [f"{name.removesuffix('_auc')} {value:.2f}" for name, value in oracle.items() if value is not None]
    return f"In this study's test patients the oracle's AUC is: {', '.join(known) or 'not estimable'}."


def _missing(cohort: pd.DataFrame) -> pd.DataFrame:
    known = cohort[cohort["he"].notna()]
    rows = [
        (name, f"{100 * share:g} %", f"{100 * known[name].isna().mean():.1f} %")
        for name, share in MISSING.items()
        if name in known
    ]
    return pd.DataFrame(rows, columns=["variable", "missing at a coma scale of 14", "missing in this cohort"])


def _drawn(evidence: Evidence) -> bool:
    return (evidence.folder / "figures" / "truth.png").is_file()


_MADE = (
    "Patients are drawn from factorized conditional distributions (bedside and laboratory; location, volume, "
    "ventricular "
    "blood, density and shape of the clot), rounded as a hospital prints them. A hemorrhage bleeds on or does not, by "
    "the "
    "logit below; one that does grows by a log-normal fraction, the others hardly at all; both volumes are read with "
    "an "
    f"error of {100 * READING_SD:g} %, and the label follows from the two readings. The scan is painted from the same "
    "latent variables: skull, dura, brain, ventricles, calcium, old infarcts, edema and mass effect, then a scanner "
    "with "
    "partial volume, kernel, correlated noise and streaks. A tenth as many patients again have no blood and no "
    "outcome. "
    "Site B has thicker and thinner slices, other noise, an offset of Hounsfield units, and older patients."
)
_BESIDE = (
    "Numbers as median (quartiles) or mean ± SD, in patients with an outcome. The simulation aims into the range of "
    "published cohorts, not at one of them."
)
_EFFECTS = (
    "Odds ratios of bleeding on, which is not the label: reading errors and the threshold of the definition blur it. "
    "**The clinical effects are about twice the published size**; at published size bedside variables would reach an "
    "AUC "
    "near 0.75. Nothing here is evidence of an effect. Intercept {intercept:g}."
)
_SIGNS = (
    "Signs have no effect of their own: each is a noisy reading of the clot's density or shape. Their crude odds "
    "ratios are "
    "held inside the accepted interval, which is a published one, except where the source says computed."
)
_ORACLE = (
    "Because the law is known, so is the best possible probability from the image, the bedside, or both (the "
    "*oracle*), by "
    "quadrature to about 0.001. It stands in the truth file beside the manifest, which only notebooks 01 and 07 read."
)
_MISSING = (
    "Not at random: the deeper the coma, the more is missing (0.18 on the logit per point below 14), and fibrinogen is "
    "missing the more often the higher it is, as when a laboratory asks for it on suspicion. Imputation from other "
    "predictors can repair the first in part, the second not."
)
