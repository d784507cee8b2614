"""The linear layers that are fitted once more when a network is trained, and what each part of them is worth.

Vocabulary
----------
read-out
    the values that the expansion logit is computed from: ``findings``, ``deep`` features with the volumes, or ``both``
    (:data:`hepred_lib.multitask.network.READOUTS`); beside them, for comparison only, ``volume``
in-fold patients
    those who trained a network: its layers are fitted on them alone
ablation
    the DL score as it would be with another read-out, everything else unchanged

Few weights meet few events here, and logistic regression finds the best ones exactly. A ridge penalty keeps them small:
the strongest one whose log loss, cross-validated within the in-fold patients, is at most one standard error above the
least. With few events the least lies anywhere, and a penalty that is too weak costs far more than one too strong.

Source: Breiman L, Friedman J, Olshen R, Stone C. Classification and regression trees. 1984, section 3.4.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

from hepred_lib.multitask.network import EVIDENCE, READOUTS, MultitaskNetwork, SliceContext
from hepred_lib.multitask.prediction import normalized_scores, score_scales
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.permutation import CrossFittedReadout
from hepred_lib.stats.sensitivity import STRENGTHS

LEAST_EVENTS, MOST_FOLDS, LEAST_SLICES = 5, 10, 20
COMPARED = {"volume": ("log_volume",), **READOUTS}


def ablation_scores(folds: pd.DataFrame, he: pd.Series, *, seed: int) -> pd.DataFrame:
    """The DL score with each read-out, from what the trained networks have kept of each patient.

    Parameters
    ----------
    folds : DataFrame
        ``predictions.csv`` of all folds. Without the values of a network (a score that was made elsewhere) there is
        nothing to compare: no column comes back.
    he : Series of 0, 1 and NaN
        Outcome by patient. Only in-fold patients' outcomes are looked at.
    seed : int
        Of the cross-validations.

    Returns
    -------
    DataFrame
        One row per patient, one column per read-out of :data:`COMPARED`; NaN in a column where a fold has fewer than
        five patients of either outcome to fit it on.
    """
    patients = pd.Index(sorted(folds["patient_id"].unique()), name="patient_id")
    scores = pd.DataFrame(np.nan, index=patients, columns=list(COMPARED))
    if not set(READOUTS["both"]) <= set(folds):
        return scores.iloc[:, :0]
    for name, columns in COMPARED.items():
        table = folds.reset_index(drop=True)
        for _, rows in table.groupby("fold"):
            outcome = rows["patient_id"].map(he)
            taught = rows["role"].eq("in_fold") & outcome.notna()
            logits = _refitted(rows[list(columns)], outcome.where(taught), trust_of(columns), seed=seed)
            table.loc[rows.index, "dl_logit"] = logits
        if table["dl_logit"].notna().all():
            scales = score_scales(table[table["patient_id"].map(he).notna()])
            scores[name] = normalized_scores(table, scales)["dl_score"]
    return scores


def ablation_table(scores: pd.DataFrame, image: pd.DataFrame) -> pd.DataFrame:
    """How well each read-out's score discriminates in test patients, beside the score that the study uses.

    In a study without test patients, in its development patients, whose scores are out-of-fold.

    Parameters
    ----------
    scores : DataFrame
        As :func:`ablation_scores` gives them; empty where no network made the score.
    image : DataFrame
        ``image.csv``: ``patient_id, split, he, dl_score``.

    Returns
    -------
    DataFrame
        One row per read-out: number of ``values``, ``auc, low, high`` (DeLong, logit scale) and Spearman's
        ``correlation_with_dl_score``.
    """
    judged = "test" if image["split"].eq("test").any() else "development"
    test = image[image["split"].eq(judged) & image["he"].notna()].set_index("patient_id")
    rows = []
    for name, score in scores.reindex(test.index).dropna(axis=1).items():
        found = auc_interval(test["he"], score, method="logit")
        row = {"readout": name, "values": len(COMPARED[name]), "auc": found.auc, "low": found.low, "high": found.high}
        row["correlation_with_dl_score"] = float(score.corr(test["dl_score"], method="spearman"))
        rows.append(row)
    columns = ["readout", "values", "auc", "low", "high", "correlation_with_dl_score"]
    return pd.DataFrame(rows, columns=columns).set_index("readout")


def cross_fitted_readout(folds: pd.DataFrame, he: pd.Series, *, readout: str, seed: int) -> CrossFittedReadout | None:
    """The read-outs of all networks, to be fitted again with other labels.

    Parameters
    ----------
    folds : DataFrame
        ``predictions.csv`` of all folds.
    he : Series of 0 and 1, shape (n,)
        Outcome of the development patients, by patient, in the order that the result keeps.
    readout : {"findings", "deep", "both"}
        Of the study.
    seed : int
        Of the cross-validations that choose the penalties.

    Returns
    -------
    CrossFittedReadout or None
        None where the networks kept no values, or a fold had too few patients of an outcome to fit a read-out on.
    """
    columns = list(READOUTS[readout])
    if not set(columns) <= set(folds):
        return None
    parts, penalties, fold = [], [], np.zeros(len(he), dtype=np.int64)
    for number, (_, rows) in enumerate(folds.groupby("fold")):
        table = rows.set_index("patient_id").reindex(he.index)
        taught = table["role"].eq("in_fold").to_numpy()
        if min(he[taught].sum(), taught.sum() - he[taught].sum()) < LEAST_EVENTS:
            return None
        values = table[columns].to_numpy(dtype=float)
        centre, scale, model = _ridge(values[taught], he[taught], trust_of(columns), seed=seed)
        parts.append((values - centre) * scale)
        penalties.append(1 / float(model.C))
        fold[table["role"].eq("held_out").to_numpy()] = number
    return CrossFittedReadout(np.stack(parts), np.array(penalties), fold)


def _refitted(values: pd.DataFrame, he: pd.Series, trust: np.ndarray, *, seed: int) -> np.ndarray:
    """Logits of all rows from a read-out that is fitted on those with an outcome; NaN where they are too few."""
    known = he.notna().to_numpy()
    if min(he.sum(), known.sum() - he.sum()) < LEAST_EVENTS:
        return np.full(len(values), np.nan)
    weights, intercept = ridge_weights(values.to_numpy()[known], he[known], trust, seed=seed)
    return values.to_numpy() @ weights + intercept


def fit_readout(
    network: MultitaskNetwork, predictions: pd.DataFrame, he: pd.Series, *, readout: str, seed: int
) -> bool:
    """Replace the weights of the expansion logit; those of values outside the read-out become 0.

    Parameters
    ----------
    network : MultitaskNetwork
        Changed in place.
    predictions : DataFrame
        Findings and deep features of the patients who trained the network, n rows.
    he : Series of 0 and 1, shape (n,)
        Their outcomes.
    readout : {"findings", "deep", "both"}
    seed : int
        Of the folds of the cross-validation.

    Returns
    -------
    bool
        False, and nothing changed, where fewer than five patients have the rarer outcome.
    """
    rarer = int(min(he.sum(), len(he) - he.sum()))
    if rarer < LEAST_EVENTS:
        return False
    names = READOUTS[readout]
    weights, intercept = ridge_weights(predictions[list(names)].to_numpy(), he, trust_of(names), seed=seed)
    layer = network.expansion.classify
    all_weights = pd.Series(weights, index=names).reindex(READOUTS["both"], fill_value=0.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(all_weights.to_numpy()[None]))
        layer.bias.copy_(torch.tensor([intercept]))
    return True


def trust_of(names: Sequence[str]) -> np.ndarray:
    """How much each value is trusted beforehand: of all that is known of growth from a scan, volume is the surest."""
    return np.where(np.isin(names, ["log_volume"]), 3.0, 1.0)


def ridge_weights(values: np.ndarray, he: pd.Series, trust: np.ndarray, *, seed: int) -> tuple[np.ndarray, float]:
    """Weights, shape (k,), and intercept of a ridge logistic regression, per unit of each value.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        Standardized within, so that their units do not matter.
    he : Series of 0 and 1, shape (n,)
        At least two of each.
    trust : ndarray, shape (k,)
        A value of trust t is penalized t squared times less than one of trust 1.
    seed : int
        Of the folds of the cross-validation that chooses the penalty.
    """
    centre, scale, model = _ridge(values, he, trust, seed=seed)
    weights = model.coef_[0] * scale
    return weights, float(model.intercept_[0] - centre @ weights)


def _ridge(
    values: np.ndarray, he: pd.Series, trust: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray, LogisticRegression]:
    """Centre and scale of the values, and the regression on (values - centre) * scale."""
    centre, spread = values.mean(axis=0), values.std(axis=0)
    scale = trust / np.where(spread > 0, spread, 1.0)
    x, y = (values - centre) * scale, he.astype(int)
    n_folds = int(min(MOST_FOLDS, y.sum(), len(y) - y.sum()))
    search = LogisticRegressionCV(
        Cs=STRENGTHS,  # from strong penalties to weak ones
        l1_ratios=(0.0,),
        cv=StratifiedKFold(n_folds, shuffle=True, random_state=seed),
        solver="newton-cholesky",  # leaves the intercept unpenalized
        scoring="neg_log_loss",
        refit=False,
        use_legacy_attributes=False,
    ).fit(x, y)
    scores = search.scores_[:, 0]  # (folds, strengths)
    mean, error = scores.mean(axis=0), scores.std(axis=0, ddof=1) / np.sqrt(n_folds)
    enough = mean >= mean.max() - error[mean.argmax()]
    return centre, scale, LogisticRegression(C=STRENGTHS[enough.argmax()], solver="newton-cholesky").fit(x, y)


def fit_presence(context: SliceContext, slices: pd.DataFrame) -> bool:
    """Replace the weights by those of a logistic regression.

    Parameters
    ----------
    context : SliceContext
        Of a network; changed in place.
    slices : DataFrame
        One row a slice of the patients who trained the network: ``blood`` (1, 0, or missing where neither call is
        wrong) and :data:`EVIDENCE`.

    Returns
    -------
    bool
        False, and nothing changed, where fewer than twenty slices hold blood or are free of it.
    """
    known = slices[slices["blood"].notna()]
    blood = known["blood"].astype(int)
    if min(blood.sum(), len(blood) - blood.sum()) < LEAST_SLICES:
        return False
    values = known[list(EVIDENCE)].to_numpy(float)
    centre, scale = values.mean(axis=0), 1.0 / np.maximum(values.std(axis=0), 1e-6)
    model = LogisticRegression(solver="newton-cholesky").fit((values - centre) * scale, blood)
    weight = model.coef_[0] * scale
    context.weight.copy_(torch.from_numpy(weight))
    context.bias.fill_(float(model.intercept_[0] - centre @ weight))
    return True
