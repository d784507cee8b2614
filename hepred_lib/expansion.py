"""The label of expansion under its short name, for other programs; its room is `hepred_lib.cohort.expansion`."""

from hepred_lib.cohort.expansion import expansion_label

__all__ = ["expansion_label"]
