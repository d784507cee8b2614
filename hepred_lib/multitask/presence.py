"""Presence of blood in a slice, told from the slice and from those around it.

A hematoma is one body: a faint end of it is told by the slices next to it, and a speck that stands alone is seldom
blood. The network sees a slice's neighbours, but does not know what it says of them. Once training is done, a logistic
regression weighs the evidence of five adjoining slices, on whole patients who trained the network; until then the slice
speaks alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

PEAK_PIXELS = 8  # the smallest positive slice, 20 mm2, has eight pixels of 128 in 200 mm
PLACES = ("own", "brighter_neighbour", "fainter_neighbour", "second_neighbour")
EVIDENCE = tuple(f"{source}_{place}" for place in PLACES for source in ("told", "outlined"))
LEAST_SLICES = 20


class SliceContext(nn.Module):
    """A weighted sum of :data:`EVIDENCE`; weights are no parameters, since no gradient teaches them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.eye(1, len(EVIDENCE))[0])
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, evidence: Tensor) -> Tensor:
        """Presence logits (n,) from the evidence (n, k) of a patient's n slices."""
        return evidence @ self.weight + self.bias


def slice_evidence(presence: Tensor, outline: Tensor) -> Tensor:
    """The evidence for blood in each slice of one patient, from bottom to top.

    Parameters
    ----------
    presence : Tensor, shape (n,)
        Presence logits of the slices alone.
    outline : Tensor, shape (n, 1, h, w)
        Outline logits; a slice's peak is the mean of its eight highest.

    Returns
    -------
    Tensor, shape (n, 8)
        Logit and peak of the slice itself, the larger and the smaller of its two neighbours, the larger of the two
        slices next to these. An end slice stands in for those it lacks.
    """
    pixels = outline.flatten(1)
    peak = pixels.topk(min(PEAK_PIXELS, pixels.shape[1]), dim=1).values.mean(dim=1)
    own = torch.stack([presence, peak], dim=1)
    padded = torch.cat([own[:1], own[:1], own, own[-1:], own[-1:]])
    below, above = padded[1:-3], padded[3:-1]
    return torch.cat(
        [own, torch.maximum(below, above), torch.minimum(below, above), torch.maximum(padded[:-4], padded[4:])], dim=1
    )


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
