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
# **Can one network segment the hematoma and predict its growth?** (one fold per run)
#
# Few patients expand, too few to train a deep network on that label alone. Segmentation gives thousands of labelled pixels
# per patient, detection one label per slice, and each segmented hematoma has properties that can be measured. A network
# that shares its features among these tasks learns from many labels what hematomas look like; from the few outcomes its
# last layer learns which of them expand. This page trains one network, on all development patients but those of one fold.
#
# Reads `cohort.csv`, `slices/quality.csv` and the slice store; writes `folds/<k>/network.safetensors` (weights),
# `folds/<k>/history.csv` (learning curves) and `folds/<k>/predictions.csv`. A study without scans does not run it.

# %%
import pandas as pd
import torch
from IPython.display import SVG

from hepred_lib.imaging.slices import read_quality
from hepred_lib.multitask.data import fold_roles, load_patients
from hepred_lib.multitask.device import device_words, pick_device
from hepred_lib.multitask.network import EVIDENCE, READOUTS, NetworkSettings, save_network
from hepred_lib.multitask.training import TrainingSettings, complete_fold
from hepred_lib.study.definition import PROJECT
from hepred_lib.study.drawing import show
from hepred_lib.study.files import read_table, write_table
from hepred_lib.study.run import open_notebook

# %% [markdown]
# ## Parameters
#
# The number of epochs is fixed in advance. Choosing it by looking at held-out patients would let them influence the network
# that is later evaluated on them. `pretrained` says where the weights start: from those that come with the library, which
# have seen simulated heads and no outcome (`phantom`), from random ones (`none`), or from a file.

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
fold = 0  # the held-out fold
seed = 7  # of weights, order, augmentation
encoder = "resnet18"  # resnet18, resnet34 or resnet50
epochs = 5  # fixed: nothing is stopped by looking at held-out patients; without pretraining, 16
patients_per_step = 2  # bags in a batch: small steps learn most on a CPU, a GPU wants larger ones
slices_per_patient = 6  # at most, mostly of the hematoma
learning_rate = 0.001  # peak; warm-up, then a cosine to zero; without pretraining, 0.002
expansion_weight = 0.0  # of the expansion loss in the joint loss; 0: outcomes teach the last layer alone
readout = "deep"  # what the expansion logit is computed from: findings, deep or both
pretrained = "phantom"  # phantom, none, or the file of a network
device = "auto"  # auto, cpu, cuda, cuda:1 or mps
precision = "auto"  # auto, bfloat16, float16 or float32
devices = 1  # GPUs, or processes on a CPU, that share each step
accumulation = 1  # parts a step is worked on in, where memory is short

# %% [markdown]
# Threads are set by the study, so that sums are rounded in the same way on every run. Where the machine has a GPU that
# torch can use, it is taken; the line below says which, and how exactly it computes.

# %%
run = open_notebook("03_multitask_training", globals())
torch.set_num_threads(run.threads)
hardware = pick_device(device)
device_words(hardware, precision)

# %% [markdown]
# On a GPU all batches have one field of view, that of the largest brain, and other random numbers than on a CPU: networks
# of the two are two trainings, which agree in how well they predict, not in their weights.

# %%
cohort, quality = read_table(run.path("cohort.csv")), read_quality(run.folder / "slices")
assert fold in set(cohort["fold"]) - {-1}, f"fold must be one of {sorted(set(cohort['fold']) - {-1})}, got {fold}"

# %% [markdown]
# ## Roles of the patients
#
# A patient has one of three roles for this network: it is trained on `in_fold` patients; `held_out` patients are the
# fold that it never sees; `test` patients are never seen by any network. Held-out and test patients influence nothing:
# not the number of epochs, not the learning rate, not the choice of weights. A test of the library permutes their
# labels and finds the same weights, bit by bit.
#
# Patients without a reference segmentation do not contribute to the training of segmentation; patients without an
# outcome contribute to segmentation and detection only.

# %%
patients = load_patients(run.folder / "slices", cohort, quality)
roles = fold_roles(cohort, fold)
assert roles.index.tolist() == [patient.patient_id for patient in patients], "each patient must have one role"
assert not set(cohort.loc[cohort["split"].eq("test"), "patient_id"]) & set(roles.index[roles != "test"]), "test leaks"

# %% [markdown]
# The table counts patients, reference segmentations and outcomes by role. The number of patients *with HE* among those in
# the fold is what expansion is learned from; where it is below about fifty, expect large differences between folds.

# %%
members = pd.DataFrame([(roles[p.patient_id], p.has_mask, p.he) for p in patients], columns=["role", "mask", "he"])
counts = {"patients": ("role", "size"), "segmented": ("mask", "sum"), "outcome": ("he", "count"), "HE": ("he", "sum")}
members.groupby("role").agg(**counts)

# %% [markdown]
# ## The network
#
# The input is a slice with two neighbours on each side, in the window of 0 to 80 HU, and the slice once more from 80 to 200
# HU, where calcium is and blood is not. A ResNet encoder reduces it step by step; a U-Net decoder returns to full
# resolution and segments the hematoma and, as a class of its own, blood in the ventricles. From the deepest level, one
# logit per slice says whether the slice contains blood.
#
# For expansion, the decoder's features are summarized by their mean and SD over the whole hematoma, all slices together. A
# small layer turns them into 32 *deep features*, from which *descriptors* of the hematoma (density, heterogeneity, margin,
# shape) are predicted. `readout` decides what the expansion logit is a weighted sum of: of the deep features and the log
# volumes (`deep`), as in the paper; of what can be named (`findings`: the volumes, and descriptors that are predicted or
# measured in the network's own segmentation, as radiomics are); or of both. From random weights (`pretrained` is `none`)
# findings are the better choice.
#
# The diagram shows the default encoder, ResNet-18, with the size of each result; larger encoders have more weights in
# their stages.

# %%
caption = "The multitask network: encoder, decoder and read-outs, with the parameters of each block."
SVG(filename=PROJECT / "docs" / "network.svg", metadata={"figure": "network", "alt": caption})

# %% [markdown]
# ## Training
#
# The joint loss adds up:
#
# - **segmentation**: soft Dice per patient, so that a small hematoma counts as much as a large one, plus cross-entropy per
#   pixel; the same for coarse segmentations at the lower resolutions; and all of it, with less weight, for ventricular
#   blood in patients whose reference says where it is;
# - **presence**: cross-entropy per slice;
# - **descriptors**: the error of the predicted descriptors, whose targets are measured inside the reference segmentation;
# - **expansion**: cross-entropy per patient, times `expansion_weight`.
#
# The expansion loss is the paper's way to learn from outcomes: every layer does. Here its weight is 0, and outcomes teach
# the last layer alone, further down. Features that have been shaped by a patient's outcome fit this patient better than
# the next one, and the last layer, fitted to the same patients, trusts them too much: in simulated cohorts the deep
# features are worth less with the loss than without it, and findings no more. A weight of 0.3 brings it back.
#
# Each step sees a few slices of a few patients, newly drawn in each epoch. They are augmented as another scanner and
# another position of the head would change them: flips, rotation, shear and scale; gain, offset, sharpness and noise of
# the HU; slices that hold a part of their neighbours. In the first two thirds of the epochs, parts of some hematomas
# fade towards the density of brain, as blood that has not clotted is: large pale hematomas are rare, and would
# otherwise be underestimated. The network that is kept is a running average of the weights over steps, which varies
# less than the last step.

# %%
settings = TrainingSettings(
    epochs=epochs, patients_per_step=patients_per_step, slices_per_patient=slices_per_patient, learning_rate=learning_rate,
    expansion_weight=expansion_weight, readout=readout, pretrained=pretrained, precision=precision,
    devices=devices, accumulation=accumulation, seed=seed, fold=fold,
)  # fmt: skip
architecture = NetworkSettings(encoder=encoder)

# %% [markdown]
# The next cell does the work: training by gradient, then the two read-outs described below, then the prediction of every
# patient. The state is saved after each epoch; an interrupted run resumes there and ends with the same weights. All random
# draws depend on seed, fold, epoch, patient and step alone.

# %%
checkpoint = run.path("folds", str(fold), "checkpoint.safetensors")
trained = complete_fold(patients, roles, architecture, settings=settings, checkpoint=checkpoint, device=hardware)
predictions = trained.predictions
assert predictions["dl_logit"].notna().all(), "every patient must have a logit, whether a hematoma was detected or not"

# %% [markdown]
# ### Learning curves
#
# Mean loss per epoch in the patients it is trained on. The curves should fall and flatten. A curve that still falls
# steeply at the end asks for more epochs; one that jumps asks for a smaller learning rate. The expansion loss is drawn
# where it has a weight. The curves cannot show overfitting: a network that memorizes its patients has excellent ones.
# Held-out patients are not drawn, so that nobody is tempted to choose by them; they are evaluated in notebook 04.

# %%
history = trained.history.assign(fold=fold)
simulated = run.simulated(cohort["patient_id"])
show(run.folder / "folds" / str(fold), "learning_curves", history.assign(simulated=simulated))

# %% [markdown]
# ### Size
#
# Parameters by part of the network that was trained here. Most belong to the encoder, which all tasks share.

# %%
parts = {name: sum(weights.numel() for weights in part.parameters()) for name, part in trained.network.named_children()}
pd.Series(parts, name="parameters").to_frame().assign(
    share=lambda table: (table["parameters"] / table["parameters"].sum()).round(3)
)

# %% [markdown]
# ## The two read-outs
#
# When the deep features are done, two small linear layers are fitted once more, on the same patients: they have few
# weights, and logistic regression finds the best ones exactly.
#
# - **expansion**: ridge logistic regression of HE on the values that `readout` names. It is fitted on predicted
#   segmentations, because new patients have no others. Its penalty is the strongest whose cross-validated loss is
#   within one standard error of the least (Breiman et al. 1984): with few events a penalty that is too weak costs more than
#   one that is too strong.
# - **presence**: logistic regression of blood on the evidence of a slice and of its neighbours; adjacent slices help to
#   identify the faint ends of a hematoma.
#
# `fitted` is False where there are too few positive cases: without an expansion loss the score then follows the volume of
# the segmentation alone, and slices are classified independently.

# %%
trained.readouts

# %% [markdown]
# ### What the expansion logit is computed from
#
# The weight of each value, and the change of the log odds per standard deviation, which makes values comparable; those
# outside the read-out have no weight and are left out. Ridge regression shares a common signal among correlated values, so
# that several small weights can stand for one strong signal. None of them is an effect: a finding with a large weight need
# not cause growth, and one without a weight may only be represented by its neighbours. Weights that differ between folds
# show how little the data determine them. Deep features have no names and differ from network to network.

# %%
weights = trained.network.expansion.classify.weight.detach().cpu().numpy()[0]
values = pd.DataFrame({"weight": weights, "log_odds_per_sd": weights * predictions[list(READOUTS["both"])].std()})
values.loc[list(READOUTS[readout])].sort_values("log_odds_per_sd", key=abs, ascending=False).round(2)

# %% [markdown]
# ### What the presence of blood is predicted from
#
# Two values of the slice itself and of the slices around it: the logit of the presence head, and the mean of the highest
# segmentation logits. Positive weights of the neighbours mean that blood in an adjacent slice makes blood here more likely.

# %%
pd.DataFrame({"weight": trained.network.context.weight.cpu().numpy()}, index=EVIDENCE).round(2)

# %% [markdown]
# ## Predictions
#
# Every patient is predicted: held-out patients (unbiased), test patients, and the patients it was trained on. The last
# are kept to demonstrate the leak: their logits usually separate the outcomes better than those of the others, and a
# model built on them is too optimistic. The table shows the logits by role and outcome; compare the distance between
# the two outcomes within each role. A hematoma that was not detected still has a logit, from the slices that come
# closest.

# %%
with_outcome = predictions.assign(he=predictions["patient_id"].map(cohort.set_index("patient_id")["he"]))
with_outcome.groupby(["role", "he"])["dl_logit"].describe()[["count", "mean", "std", "min", "max"]].round(2)

# %% [markdown]
# ## Limits
#
# One network of one fold says little; notebook 04 combines them. The score of a held-out patient comes from a read-out that
# was fitted to the outcomes of the other folds, so that the scores of the development set are not independent of each
# other. Which scanner, which hospital and which treatment the network has learned to recognize cannot be seen here.
#
# What remains: the weights, the learning curves and the predictions. The checkpoint is removed, since nothing more is to be
# resumed.

# %%
place = run.folder / "folds" / str(fold)
save_network(trained.network, place / "network.safetensors")
write_table(place / "history.csv", history)
write_table(place / "predictions.csv", predictions)
checkpoint.unlink()
n_training = int((members["role"].eq("in_fold") & members["mask"]).sum())
run.record(n_training=n_training, final_loss=history["loss"].iloc[-1], device=device_words(hardware, precision))
