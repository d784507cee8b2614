"""Pictures of the site: file, caption, and the words for those who do not see them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

CAPTIONS = {
    "flow": "Patients: from the manifest to development and test set.",
    "cohort": "The bedside variables in patients with and without expansion.",
    "truth": "The law behind the simulation, and what could be known at best.",
    "quality": "Quality of the scans.",
    "montage": "What the network sees: slices, brain mask and reference outline.",
    "outlines": "Reference and predicted outlines.",
    "overview": "One patient: slices, outline and answer.",
    "attention": "What the DL score looked at.",
    "learning_curves": "Learning curves of the folds.",
    "bland_altman": "Predicted against reference volumes (Bland-Altman).",
    "dl_score": "The DL score by outcome.",
    "odds_ratios_clinical": "Odds ratios of the clinical model, before shrinkage.",
    "odds_ratios_integrated": "Odds ratios of the integrated model, before shrinkage.",
    "inclusion_frequency": "How often each candidate was chosen in bootstrap resamples.",
    "roc": "ROC curves with 95 % bands and operating points.",
    "calibration": "Calibration of the models, with 95 % bands.",
    "decision_curve": "Net benefit by threshold probability (decision curves).",
    "nomogram": "The integrated model as a nomogram.",
    "reclassification": "How the DL score moves patients between classes of risk.",
    "subgroups": "The models in subgroups of patients.",
    "power": "How often a test set of each size would find a difference.",
    "network": "The network, from its own layers.",
    "oracle": "Each model beside the best that could be known of these patients.",
}

# Figures are lettered for print; on a screen they need half as much again, and twice the pixels for a sharp one.
_SCREEN_PER_PRINT = 1.5
_PIXELS_PER_CSS = 2
_CSS_PER_INCH = 96
_INLINE_DPI = 100  # of a plot in a notebook that does not say


@dataclass(frozen=True)
class Picture:
    """One picture: its label's stem, caption, alternative text, bytes (PNG) and width on the page."""

    name: str
    caption: str
    alternative: str
    png: bytes
    width_px: int

    @property
    def label(self) -> str:
        """The target of references."""
        return f"fig-{self.name.replace('_', '-').lower()}"

    @property
    def file(self) -> str:
        """Path below the site's source."""
        return f"figures/{self.name}.png"

    @property
    def directive(self) -> str:
        """The picture as a numbered figure in MyST."""
        quoted = json.dumps(self.alternative, ensure_ascii=False)  # an option's value: # would begin a comment
        return (
            f"```{{figure}} {self.file}\n:name: {self.label}\n:alt: {quoted}\n:width: {self.width_px}px\n\n"
            f"{self.caption}\n```"
        )


def for_screen(png: bytes, *, name: str, caption: str, alternative: str) -> Picture:
    """A picture as wide as its printed size asks for, with no more pixels than a sharp screen shows."""
    with Image.open(BytesIO(png)) as image:
        dpi = image.info.get("dpi", (_INLINE_DPI,))[0]
        width = round(image.width / dpi * _CSS_PER_INCH * _SCREEN_PER_PRINT)
        if image.width > 1.5 * _PIXELS_PER_CSS * width:  # print has four times the points of a screen
            height = round(image.height * _PIXELS_PER_CSS * width / image.width)
            smaller = BytesIO()
            image.resize((_PIXELS_PER_CSS * width, height), Image.Resampling.LANCZOS).save(smaller, "PNG")
            png = smaller.getvalue()
    return Picture(name, caption, " ".join(alternative.split()), png, width)


def saved_picture(path: Path, name: str, *, new_patients: bool = False) -> Picture:
    """A figure that the study saved; its alternative text stands beside it in ``NAME.txt``, where it was written.

    Parameters
    ----------
    path : Path
        The PNG.
    name : str
        Its name in the catalogue.
    new_patients : bool
        Of patients that the study has never seen.
    """
    caption = CAPTIONS.get(name, f"{name.replace('_', ' ').capitalize()}.")
    words = path.with_suffix(".txt")
    alternative = words.read_text(encoding="utf-8") if words.is_file() else f"Figure: {caption}"
    if new_patients:
        caption = f"New patients. {caption}"
        name = f"new_{name}"
    return for_screen(path.read_bytes(), name=name, caption=caption, alternative=alternative)
