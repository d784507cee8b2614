# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 Preprocessing
#
# **Is the imaging usable, and what does the network see?**
#
# Scans differ in orientation, pixel size, slice distance and noise. A network that sees these differences can learn the
# scanner instead of the disease. This page brings every baseline scan to one form, reports its quality, and shows the
# result. Nothing is fitted here: each scan is prepared by itself, so that no information passes between patients, or from
# test to development patients.
#
# Reads `cohort.csv` and the scans that the manifest names; writes the slice store (one file per patient),
# `slices/quality.csv` and figures. A study without scans does not run this notebook.

# %%
from functools import partial

import numpy as np
import pandas as pd

from hepred_lib.imaging.slices import (
    BLOOD,
    BRAIN,
    HU,
    HU_OFFSET,
    blood_area_mm2,
    open_patient,
    scans_of,
    shown_hu,
    store_patient,
)
from hepred_lib.progress import worked
from hepred_lib.study.drawing import show
from hepred_lib.study.files import read_table, write_table
from hepred_lib.study.run import open_notebook

# %% [markdown]
# ## Parameters
#
# The field of view and the matrix give the pixel size. A finer matrix shows smaller hematomas and costs time and memory
# with its square. Slice thickness is a target: thin slices are averaged to come near it, thick ones are left as they are,
# because interpolation cannot add what was not measured.

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "data_manifest.csv"  # names the scans
truth = "cohorts/demo/truth.csv"  # only to label simulated figures; empty where it is not known
matrix = 128  # pixels along a side of a slice; 256 at full resolution
field_mm = 200.0  # side of the field of view: holds any brain
thickness_mm = 5.0  # thinner slices are averaged to come near this

# %%
run = open_notebook("02_preprocessing", globals())
cohort = read_table(run.path("cohort.csv"))
simulated = run.simulated(cohort["patient_id"])
assert cohort["patient_id"].is_unique, "a patient must have one row in cohort.csv"

# %% [markdown]
# ## From scan to slices
#
# Each scan passes through the same steps.
#
# 1. The axes are brought to one orientation by the header, so that left is left in every scan.
# 2. The field of view is centred on the brain and resampled in-plane by area averaging. Averaging over the area of a pixel
#    keeps the mean density, and a mask keeps its volume; interpolation between points would not.
# 3. Hounsfield units (HU) are kept, not rescaled scan by scan: 60 HU means the same in every patient.
# 4. The brain mask is the space enclosed by the skull, closed slice by slice, which also works where HU were clipped.
#
# A scan or mask that breaks a rule (no head, a mask that covers no blood) stops the notebook with the patient's name; it is
# to be corrected or removed from the manifest, never skipped silently.

# %%
scans = scans_of(run.resolve(manifest), cohort["patient_id"]).to_dict("records")
store = run.path("slices", "quality.csv").parent
options = {"matrix": matrix, "field_mm": field_mm, "thickness_mm": thickness_mm}
prepared = worked(partial(store_patient, store, **options), scans, workers=run.threads, desc="prepare", unit="scan")
quality = pd.DataFrame(prepared)
assert len(quality) == len(cohort), "every patient of the cohort must be in the slice store"

# %% [markdown]
# ## Quality
#
# Four figures describe a scan: the distance between its slices, the noise inside the brain (standard deviation in HU),
# the intracranial volume (`brain_ml`), and the number of slices that contain brain. The table summarizes them over all
# scans. Compare the quartiles with the extremes: a maximum far from the third quartile is a single scan to look at.

# %%
quality[["thickness_mm", "noise_hu", "brain_ml", "n_slices"]].describe().round(1)

# %% [markdown]
# The histograms show the same figures scan by scan; triangles mark the flagged ones. Two peaks in thickness or noise
# usually mean two scanners or two protocols. That is no fault, but if protocol and outcome go together (one hospital
# rescans only the sick), the network can use the one to predict the other, and the figure below cannot show it. A very
# small or large intracranial volume points to a failed brain mask, a child, or an open skull.

# %%
shown = quality[["patient_id", "thickness_mm", "noise_hu", "brain_ml", "n_slices"]]
show(run.folder, "quality", shown.assign(outlier=quality["flags"].ne(""), simulated=simulated))

# %% [markdown]
# ### Flags
#
# A flag names what a reader should look at; no patient is dropped because of one.
#
# | flag | meaning |
# |---|---|
# | `brain_volume` | the brain mask is smaller or larger than any brain |
# | `thick_slices` · `few_slices` | slices more than 7.5 mm apart · fewer than 12 slices |
# | `noisy` | noise above 6 HU |
# | `clipped_hu` | the scan was saved with bone clipped to low values |
# | `brain_hu` | the brain's density is implausible; often a wrong rescale intercept |
# | `out_of_order` | the section of the head grows and shrinks several times: slices are mixed up, missing or blank |
# | `base_cut` · `vertex_cut` | the first · the last slice is within the brain: blood beyond it is not measured |
#
# The table counts the flags. It is empty where no scan is flagged. A flag in a large share of the scans is a property of
# the protocol rather than of single patients, and belongs into the report of the study.

# %%
flags = quality["flags"].str.split().explode().dropna().value_counts()
flags.rename_axis("flag").to_frame("scans")

# %% [markdown]
# ## Is the volume of the hematoma preserved?
#
# If resampling lost part of a mask, every volume that follows would be wrong. The stored slices are compared with the
# volume in the manifest, which was measured independently and has its own error. A ratio of 1 is perfect agreement.

# %%
volumes = cohort.merge(quality[["patient_id", "mask_ml", "has_mask"]], on="patient_id", validate="one_to_one")
assert len(volumes) == len(cohort), "each patient must have one row of quality"
bled = volumes[volumes["has_mask"].eq(1) & volumes["has_hemorrhage"].eq(1)]
ratio = (bled["mask_ml"] / bled["baseline_volume_ml"]).dropna().rename("mask over manifest volume")
ratio.describe(percentiles=[0.05, 0.25, 0.5, 0.75, 0.95]).to_frame().T.round(2)

# %% [markdown]
# How to read it: `count` is the number of patients with both a mask and a volume; without reference masks it is 0. A median
# away from 1 is a systematic error, such as a wrong slice distance or a volume that includes ventricular blood. A wide
# range with a median of 1 is random error of the manual measurement. Single extreme ratios are often mix-ups of two
# patients, and worth a look at the scan.

# %% [markdown]
# ## What the network sees
#
# Up to eight development patients, from the largest hematomas downwards, each in the slice with the largest area of blood.
# The window is 0 to 80 HU, as the network receives it.

# %%
drawn = volumes[volumes["split"].eq("development")].nlargest(24, "mask_ml").iloc[::3].set_index("patient_id")["mask_ml"]
planes = {patient: open_patient(store, patient) for patient in drawn.index}
index = {patient: int(np.argmax(blood_area_mm2(stack, 1.0))) for patient, stack in planes.items()}
slices = np.stack([planes[patient][index[patient]] for patient in drawn.index])
assert len(slices) == len(drawn), "one slice per patient is shown"

# %% [markdown]
# The solid line is the reference segmentation, the dotted one the brain mask. Check that the segmentation follows the
# bright area, that the brain mask excludes the skull, and that left and right are as the labels say. Pictures show a
# skull's thickness around the brain and no more, so that nobody can be recognized. Eight good slices do not prove that all
# are good; the flags above are the complete list.

# %%
montage = {
    "hu": shown_hu(slices[:, HU].astype(float) - HU_OFFSET, slices[:, BRAIN], field_mm / matrix),
    "mask": slices[:, BLOOD] / 255,
    "brain": slices[:, BRAIN] > 0,
    "titles": np.array(
        [f"Slice {index[name] + 1} of {len(planes[name])}\n{size:.1f} mL" for name, size in drawn.items()]
    ),
    "pixel_mm": np.array(field_mm / matrix),
    "window": np.array([40.0, 80.0]),
    "simulated": np.array(simulated),
}
show(run.folder, "montage", montage)

# %% [markdown]
# ## Limits
#
# Slices are not straightened: a tilted head stays tilted, and augmentation during training prepares the network for it.
# Where the skull is open (after surgery, or in a scan that ends below the vertex) the brain mask can fail. Blood in the
# ventricles is stored apart and is not part of the hematoma. Nothing here shows that a scan belongs to the patient whose
# name it has, or that it is the first one after admission; that has to be checked where the data come from.

# %%
write_table(store / "quality.csv", quality)
noise, flagged = quality["noise_hu"].median(), int(quality["flags"].ne("").sum())
run.record(n_scans=len(quality), n_flagged=flagged, noise_hu_median=noise)
