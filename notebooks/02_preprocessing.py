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
# Reads `cohort.csv` and the scans that the manifest names; writes the slice store (one file a patient),
# `slices/quality.csv` and figures.

# %%
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from IPython.display import Markdown

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
from hepred_lib.progress import progress
from hepred_lib.study.drawing import show
from hepred_lib.study.files import read_table, write_table
from hepred_lib.study.run import open_notebook

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "data_manifest.csv"  # names the scans
truth = "cohorts/demo/truth.csv"  # only to label simulated figures; empty where patients are real
matrix = 128  # pixels along a side of a slice; 256 at full resolution
field_mm = 200.0  # side of the field of view: holds any brain
thickness_mm = 5.0  # thinner slices are averaged to come near this
workers = 2  # scans prepared at the same time

# %%
run = open_notebook("02_preprocessing", globals())
cohort = read_table(run.path("cohort.csv"))

# %% [markdown]
# ## From scan to slices
#
# Each scan is brought to one orientation, resampled in-plane by area averaging (a mask keeps its volume), and kept in
# Hounsfield units. The brain mask closes the skull slice by slice, which also works where HU were clipped at 100.

# %%
scans = scans_of(run.resolve(manifest), cohort["patient_id"]).to_dict("records")
store = run.path("slices", "quality.csv").parent
options = {"matrix": matrix, "field_mm": field_mm, "thickness_mm": thickness_mm}
with ThreadPoolExecutor(workers) as pool:
    jobs = [pool.submit(store_patient, store, row, **options) for row in scans]
    quality = pd.DataFrame([job.result() for job in progress(jobs, desc="prepare", unit="scan")])
assert len(quality) == len(cohort), "every patient of the cohort must be in the slice store"
write_table(store / "quality.csv", quality)

# %% [markdown]
# ## Quality
#
# Flags name what a reader should look at; no patient is dropped by them.

# %%
flags = quality["flags"].str.split().explode().dropna().value_counts()
Markdown(
    f"{len(quality)} scans; slices {quality['thickness_mm'].min():g}-{quality['thickness_mm'].max():g} mm apart, "
    f"noise {quality['noise_hu'].median():.1f} HU (median), brain {quality['brain_ml'].median():.0f} mL. "
    + ("Flags: " + ", ".join(f"{name} {n}" for name, n in flags.items()) + "." if len(flags) else "No scan is flagged.")
)

# %%
shown = quality[["patient_id", "thickness_mm", "noise_hu", "brain_ml", "n_slices"]]
show(run.folder, "quality", shown.assign(outlier=quality["flags"].ne(""), simulated=bool(truth)))

# %% [markdown]
# ## Does the mask keep the hematoma's volume?
#
# The volume from the stored slices against the one in the manifest (which carries its own reading error).

# %%
volumes = cohort.merge(quality[["patient_id", "mask_ml", "has_mask"]], on="patient_id")
bled = volumes[volumes["has_mask"].eq(1) & volumes["has_hemorrhage"].eq(1)]
ratio = (bled["mask_ml"] / bled["baseline_volume_ml"]).dropna()
Markdown(
    f"Mask volume over printed volume: median {ratio.median():.3f}, 5th to 95th percentile "
    f"{ratio.quantile(0.05):.2f}-{ratio.quantile(0.95):.2f}, in {len(ratio)} patients."
    if len(ratio)
    else "No reference masks to compare with."
)

# %% [markdown]
# ## What the network sees
#
# The slice of the largest hematoma in eight development patients: window 0-80 HU, brain mask and reference outline.
# Figures show a skull's thickness around the brain and no more, so that no face can be recognised in them.

# %%
drawn = volumes[volumes["split"].eq("development")].nlargest(24, "mask_ml").iloc[::3]["patient_id"]
planes = {patient: open_patient(store, patient) for patient in drawn}
index = {patient: int(np.argmax(blood_area_mm2(stack, 1.0))) for patient, stack in planes.items()}
slices = np.stack([planes[patient][index[patient]] for patient in drawn])
montage = {
    "hu": shown_hu(slices[:, HU].astype(float) - HU_OFFSET, slices[:, BRAIN], field_mm / matrix),
    "mask": slices[:, BLOOD] >= 128,
    "brain": slices[:, BRAIN] > 0,
    "titles": np.array([f"slice {index[patient] + 1} of {len(planes[patient])}" for patient in drawn]),
    "pixel_mm": np.array(field_mm / matrix),
    "window": np.array([40.0, 80.0]),
    "simulated": np.array(bool(truth)),
}
show(run.folder, "montage", montage)

# %% [markdown]
# ## Limits
#
# Slices are not straightened: a tilted head stays tilted, and augmentation makes the network ready for it. Where the
# skull is open (after surgery, or a scan that ends below the vertex) the brain mask can fail; the flag
# `brain_volume` shows it.

# %%
run.record(
    n_scans=len(quality), n_flagged=int(quality["flags"].ne("").sum()), noise_hu_median=quality["noise_hu"].median()
)
