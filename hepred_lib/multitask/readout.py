"""The last layer, fitted once more when the features are done: a ridge logistic regression of HE on the findings.

Gradient steps on bags of a few slices leave the weights of the findings where the schedule ends, on outlines that the
network is given. Here they are fitted to convergence on what the network says of its whole training patients with its
own outlines, as it will read new ones; the penalty is chosen by cross-validation among these patients. No held-out
patient takes part.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

from hepred_lib.multitask.network import FINDINGS, MultitaskNetwork
from hepred_lib.stats.penalized import STRENGTHS

LEAST_EVENTS, MOST_FOLDS = 5, 10
# Of all that is known of growth from a scan, volume is the surest: it is penalized nine times less than the rest.
TRUST = np.where(np.array(FINDINGS) == "log_volume", 3.0, 1.0)


def fit_readout(network: MultitaskNetwork, findings: pd.DataFrame, he: pd.Series, *, seed: int) -> bool:
    """Replace the weights of the findings in the network's expansion head.

    Parameters
    ----------
    network : MultitaskNetwork
        Changed in place.
    findings : DataFrame, shape (n, k + 1)
        What the network says of the patients who trained it; see :data:`FINDINGS`.
    he : Series of 0 and 1, shape (n,)
        Their outcomes.
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
    weights, intercept = ridge_weights(findings[list(FINDINGS)].to_numpy(), he, TRUST, seed=seed)
    layer = network.expansion.classify
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights[None]))
        layer.bias.copy_(torch.tensor([intercept]))
    return True


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
    centre, spread = values.mean(axis=0), values.std(axis=0)
    scale = trust / np.where(spread > 0, spread, 1.0)
    model = LogisticRegressionCV(
        Cs=STRENGTHS,
        l1_ratios=(0.0,),
        cv=StratifiedKFold(int(min(MOST_FOLDS, he.sum(), len(he) - he.sum())), shuffle=True, random_state=seed),
        solver="newton-cholesky",  # leaves the intercept unpenalized
        scoring="neg_log_loss",
        use_legacy_attributes=False,
    ).fit((values - centre) * scale, he.astype(int))
    weights = model.coef_[0] * scale
    return weights, float(model.intercept_[0] - centre @ weights)


@torch.inference_mode()
def read_out(network: MultitaskNetwork, findings: pd.DataFrame) -> np.ndarray:
    """Raw expansion logit of each row of findings, shape (n,)."""
    layer = network.expansion.classify
    values = torch.tensor(findings[list(FINDINGS)].to_numpy(np.float32), device=layer.weight.device)
    return layer(values).squeeze(1).cpu().numpy().astype(float)
