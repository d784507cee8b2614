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
# # 03 Multitask training
#
# **Can one network outline the hematoma and foresee its growth?** (one fold a run)
#
# Reads `cohort.csv`, `slices/quality.csv` and the slice store; writes `folds/<k>/network.safetensors` (weights),
# `folds/<k>/history.csv` (learning curves) and `folds/<k>/predictions.csv`.

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import SVG, Markdown

from hepred_lib.imaging.slices import read_quality
from hepred_lib.multitask.data import fold_roles, load_patients, training_patients
from hepred_lib.multitask.network import EVIDENCE, FINDINGS, NetworkSettings, fit_presence
from hepred_lib.multitask.prediction import fit_readout, predict_cohort, read_out
from hepred_lib.multitask.training import TrainingSettings, pick_device, save_network, train_fold
from hepred_lib.study.definition import PROJECT
from hepred_lib.study.files import read_table, write_table
from hepred_lib.study.run import open_notebook

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
fold = 0  # the held-out fold
seed = 7  # of weights, order, augmentation
encoder = "resnet18"  # resnet18, resnet34 or resnet50
epochs = 16  # fixed: nothing is stopped by looking at held-out patients
patients_per_step = 2  # bags in a batch: small steps learn most on a CPU, a GPU wants larger ones
slices_per_patient = 6  # at most, mostly of the hematoma
learning_rate = 0.002  # peak; warm-up, then a cosine to zero
weight_decay = 0.01  # AdamW
expansion_weight = 0.3  # of the expansion loss in the joint loss
presence_weight = 0.3  # of the presence loss
descriptor_weight = 0.2  # of the measured descriptors' loss; 0 leaves them out
devices = 1  # GPUs, or processes on a CPU, that share each step
accumulation = 1  # parts a step is worked on in, where memory is short
dropout = 0.25  # in the expansion head

# %%
run = open_notebook("03_multitask_training", globals())
torch.set_num_threads(run.threads)
cohort, quality = read_table(run.path("cohort.csv")), read_quality(run.folder / "slices")
assert fold in set(cohort["fold"]) - {-1}, f"fold must be one of {sorted(set(cohort['fold']) - {-1})}, got {fold}"

# %% [markdown]
# ## Who trains the network, and who does not
#
# The network of this fold sees the development patients of the other folds. Patients of this fold and test patients
# influence nothing: not the epoch, not the learning rate, not the choice of weights.

# %%
patients = load_patients(run.folder / "slices", cohort, quality)
role = fold_roles(cohort, fold)
training = training_patients(patients, role)
assert not {patient.patient_id for patient in training} & set(role.index[role != "in_fold"]), (
    "no held-out patient trains"
)
Markdown(
    f"Fold {fold}: {len(training)} patients train the network "
    f"({sum(patient.he == 1.0 for patient in training)} with HE), {(role == 'held_out').sum()} are held out, "
    f"{(role == 'test').sum()} are test patients."
)

# %% [markdown]
# ## Training
#
# Joint loss: Dice (by patient) and cross-entropy of the outline, coarse outlines included, cross-entropy of presence by slice, cross-entropy of
# expansion by patient, and the error of the descriptors (density, heterogeneity, margin) that are measured on the
# reference outline. The state is kept after each epoch; a killed run goes on from there and ends with the same weights.

# %%
settings = TrainingSettings(
    epochs=epochs,
    patients_per_step=patients_per_step,
    slices_per_patient=slices_per_patient,
    learning_rate=learning_rate,
    weight_decay=weight_decay,
    expansion_weight=expansion_weight,
    presence_weight=presence_weight,
    descriptor_weight=descriptor_weight,
    devices=devices,
    accumulation=accumulation,
    seed=seed,
    fold=fold,
)
checkpoint = run.path("folds", str(fold), "checkpoint.safetensors")
architecture = NetworkSettings(encoder=encoder, dropout=dropout)
network, history = train_fold(training, architecture, settings=settings, checkpoint=checkpoint, device=pick_device())

# %%
history.tail(1)

# %% [markdown]
# ## The network
#
# The diagram shows the network with its default encoder, ResNet-18. Larger encoders (`encoder`) have more weights in
# their stages. The table counts the parameters of the network that was trained here, part by part.

# %%
caption = "The multitask network: encoder, decoder and read-outs, with the parameters of each block."
SVG(filename=PROJECT / "docs" / "network.svg", metadata={"figure": "network", "alt": caption})

# %%
counts = {part: sum(weights.numel() for weights in module.parameters()) for part, module in network.named_children()}
parameters = pd.Series(counts, name="parameters")
parameters.to_frame().assign(share=parameters / parameters.sum())

# %% [markdown]
# ## What it says of every patient
#
# Findings (descriptors and log volume) with *predicted* outlines. The weights that read a logit from them are fitted
# once more on the patients that trained the network, by ridge logistic regression, then applied to held-out patients
# (the honest ones), to those patients themselves (to demonstrate the leak), and to test patients.

# %%
predictions, slices = predict_cohort(network, patients)
predictions["fold"] = fold
predictions["role"] = predictions["patient_id"].map(role)
outcome = predictions["patient_id"].map(cohort.set_index("patient_id")["he"])
taught = (predictions["role"] == "in_fold") & outcome.notna()
refitted = fit_readout(network, predictions[taught], outcome[taught], seed=seed)
predictions["dl_logit"] = read_out(network, predictions)
assert predictions["dl_logit"].notna().all(), "every patient has a logit, whether a hematoma was detected or not"

# %%
weights = network.expansion.classify.weight.detach().cpu().numpy()[0]
pd.DataFrame({"weight": weights, "log_odds_per_sd": weights * predictions[list(FINDINGS)].std()})

# %%
Markdown(
    f"The read-out was {'refitted' if refitted else 'not refitted, for want of events,'} on {int(taught.sum())} patients "
    f"({int(outcome[taught].sum())} with HE). Heaviest: "
    + ", ".join(FINDINGS[k] for k in np.argsort(-np.abs(weights * predictions[list(FINDINGS)].std()))[:3])
    + ". Weights of correlated findings are shared out by the penalty: none is an effect."
)

# %% [markdown]
# ## Presence of blood, with the slices around
#
# A faint end of a hematoma is told by the slices next to it. A logistic regression on the slices of the patients that
# trained the network weighs the network's own call and its outline's peak in five adjoining slices.

# %%
inside = slices["patient_id"].isin(role.index[role == "in_fold"])
weighed = fit_presence(network.context, slices[inside])
pd.DataFrame({"weight": network.context.weight.cpu().numpy()}, index=EVIDENCE)

# %%
Markdown(
    f"Weighed on {int(slices.loc[inside, 'blood'].notna().sum()):,} slices, {int(slices.loc[inside, 'blood'].sum()):,} "
    "of them with blood."
    if weighed
    else "Too few slices with or without blood to weigh their neighbours: each slice speaks for itself."
)

# %% [markdown]
# ## Limits
#
# One network of one fold says little; notebook 04 joins them. The score of a development patient comes from a network
# that has seen the labels of the other folds.

# %%
save_network(network, run.path("folds", str(fold), "network.safetensors"))
write_table(run.path("folds", str(fold), "history.csv"), history.assign(fold=fold))
write_table(run.path("folds", str(fold), "predictions.csv"), predictions)
checkpoint.unlink()
run.record(n_training=len(training), final_loss=history["loss"].iloc[-1], device=str(pick_device()))
