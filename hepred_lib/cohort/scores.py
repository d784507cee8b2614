"""Published bedside scores for hematoma expansion, as functions of the manifest's columns.

Each score is a sum of points, NaN for a patient of whom a needed value is missing, so that nobody is scored as healthy
for want of a record. Warfarin is read from the column `anticoagulant`. None was fitted here: they are yardsticks, and
points do not become probabilities before they are calibrated on the patients at hand.
"""

import pandas as pd


def brain_score(table: pd.DataFrame) -> pd.Series:
    """BRAIN, 0-24 points: Baseline volume, Recurrent ICH, Anticoagulation, Intraventricular blood, Number of hours.

    Volume <= 10 mL 0, to 20 mL 5, above 7; prior hemorrhage 4; warfarin 6; ventricular blood 2; onset to CT <= 1 h 5,
    <= 2 h 4, <= 3 h 3, <= 4 h 2, <= 5 h 1, later 0. Developed for a growth of at least 6 mL.

    Parameters
    ----------
    table : DataFrame
        One row per patient: `baseline_volume_ml`, `prior_ich`, `anticoagulant`, `ivh`, `onset_to_ct_h`; an absent
        column counts as missing.

    Returns
    -------
    Series of float

    References
    ----------
    Wang X et al. Stroke 2015;46:376-381.

    Examples
    --------
    >>> patient = dict(baseline_volume_ml=15, prior_ich=0, anticoagulant=1, ivh=0, onset_to_ct_h=2)
    >>> brain_score(pd.DataFrame([patient])).item()
    15.0
    """
    rows = _needed(table, "baseline_volume_ml", "prior_ich", "anticoagulant", "ivh", "onset_to_ct_h")
    volume, hours = rows["baseline_volume_ml"], rows["onset_to_ct_h"]
    points = 5 * (volume > 10) + 2 * (volume > 20) + sum((hours <= limit).astype(int) for limit in (1, 2, 3, 4, 5))
    points = points + 4 * rows["prior_ich"] + 6 * rows["anticoagulant"] + 2 * rows["ivh"]
    return _scored(points, rows)


def nine_point_score(table: pd.DataFrame) -> pd.Series:
    """9-point score without CT angiography, 1-7 points here: the spot sign counts as unknown, 1 point for everyone.

    Warfarin 2; onset to CT <= 6 h 2; volume below 30 mL 0, 30-60 mL 1, above 60 mL 2.

    Parameters
    ----------
    table : DataFrame
        One row per patient: `anticoagulant`, `onset_to_ct_h`, `baseline_volume_ml`; an absent column counts as missing.

    Returns
    -------
    Series of float

    References
    ----------
    Brouwers HB et al. JAMA Neurol 2014;71:158-164.

    Examples
    --------
    >>> patient = dict(anticoagulant=0, onset_to_ct_h=6, baseline_volume_ml=60)
    >>> nine_point_score(pd.DataFrame([patient])).item()
    4.0
    """
    rows = _needed(table, "anticoagulant", "onset_to_ct_h", "baseline_volume_ml")
    volume = rows["baseline_volume_ml"]
    early = (rows["onset_to_ct_h"] <= 6).astype(int)
    points = 1 + 2 * rows["anticoagulant"] + 2 * early + (volume >= 30).astype(int) + (volume > 60).astype(int)
    return _scored(points, rows)


def bat_score(table: pd.DataFrame) -> pd.Series:
    """BAT, 0-5 points, 3 or more high: Blend sign 1, Any hypodensity 2, Time from onset to CT below 2.5 h 2.

    Parameters
    ----------
    table : DataFrame
        One row per patient: `blend_sign`, `any_hypodensity`, `onset_to_ct_h`; an absent column counts as missing.

    Returns
    -------
    Series of float

    References
    ----------
    Morotti A et al. Stroke 2018;49:1163-1169.

    Examples
    --------
    >>> bat_score(pd.DataFrame([dict(blend_sign=1, any_hypodensity=0, onset_to_ct_h=2.5)])).item()
    1.0
    """
    rows = _needed(table, "blend_sign", "any_hypodensity", "onset_to_ct_h")
    early = (rows["onset_to_ct_h"] < 2.5).astype(int)
    return _scored(rows["blend_sign"] + 2 * rows["any_hypodensity"] + 2 * early, rows)


def nag_score(table: pd.DataFrame) -> pd.Series:
    """NAG, 0-3 points, one each: NIHSS >= 10, Anticoagulant, Glucose >= 7.4 mmol/L (133 mg/dL).

    Parameters
    ----------
    table : DataFrame
        One row per patient: `nihss`, `anticoagulant`, `glucose_mmol_l`; an absent column counts as missing.

    Returns
    -------
    Series of float

    References
    ----------
    Sakuta K et al. J Stroke Cerebrovasc Dis 2018;27:2606-2612.

    Examples
    --------
    >>> nag_score(pd.DataFrame([dict(nihss=10, anticoagulant=0, glucose_mmol_l=7.4)])).item()
    2.0
    """
    rows = _needed(table, "nihss", "anticoagulant", "glucose_mmol_l")
    points = (rows["nihss"] >= 10).astype(int) + rows["anticoagulant"] + (rows["glucose_mmol_l"] >= 7.4).astype(int)
    return _scored(points, rows)


SCORES = {"brain": brain_score, "nine_point": nine_point_score, "bat": bat_score, "nag": nag_score}


def _needed(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return the needed columns as floats, all NaN where the table lacks one."""
    return table.reindex(columns=list(columns)).astype(float)


def _scored(points: pd.Series, rows: pd.DataFrame) -> pd.Series:
    # A comparison with NaN is False, that is 0 points: blank out whoever lacks a value.
    return points.astype(float).where(rows.notna().all(axis=1))
