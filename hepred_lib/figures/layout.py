"""Small conventions that all figures share: panels, legends with sample sizes, and what stands where nothing can."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.font_manager import findfont, get_font

from hepred_lib.figures.style import GREY, SHEET, VERMILLION, LineStyle, line_styles
from hepred_lib.literal import shortened

OUTCOMES = {
    0: LineStyle("no HE", "#3A8FC4", "--", "o"),  # sky blue, darkened until a thin line stands out on white
    1: LineStyle("HE", VERMILLION, "-", "^"),
}


# Signs a line of what is drawn: names of predictors and places must leave room for the figure.
LONGEST = {"group": 36, "split": 36, "label": 64, "unit": 36, "text": 200, "variable": 36}
NO_GLYPH = "□"


def printable(data: pd.DataFrame | Mapping[str, np.ndarray]) -> pd.DataFrame | Mapping[str, np.ndarray]:
    """Return a figure's data with text that the font has and the page holds; everything else is as it was."""
    if not isinstance(data, pd.DataFrame):
        return {key: _printable_array(np.asarray(values)) for key, values in data.items()}
    words = {name: data[name].map(_drawn(LONGEST.get(name, 200)), na_action="ignore") for name in _text_columns(data)}
    return data.assign(**words) if words else data


def panels(figure: FigureBase, count: int, *, columns: int, **shared: bool) -> list[Axes]:
    """Return `count` axes in rows of at most `columns`; places left over in the last row stay empty."""
    width = min(columns, count)
    grid = figure.subplots(ceil(count / width), width, squeeze=False, **shared)
    for spare in grid.flat[count:]:
        spare.set_axis_off()
    return list(grid.flat[:count])


def no_data(figure: FigureBase) -> list[Axes]:
    """Return one pair of axes that says "no data"."""
    axes = figure.subplots()
    say_no_data(axes)
    axes.set_yticks([])
    return [axes]


def say_no_data(axes: Axes) -> None:
    """Write "no data" where a curve would be."""
    axes.set_xticks([])
    axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", color=GREY)


def by_model(table: pd.DataFrame) -> Iterator[tuple[LineStyle, pd.DataFrame]]:
    """Yield each model's style and rows, in the fixed order of the models."""
    for model, style in line_styles(table["model"]).items():
        yield style, table[table["model"] == model]


def sample_size(table: pd.DataFrame) -> str | None:
    """Return "n = 60, 12 with HE" where all rows agree on `n` and `events`, otherwise None."""
    sizes = table[["n", "events"]].dropna().drop_duplicates()
    return "n = {:.0f}, {:.0f} with HE".format(*sizes.iloc[0]) if len(sizes) == 1 else None


def legend_title(table: pd.DataFrame, *, interval: str) -> str:
    """Return "n = 60, 12 with HE; bands: 95 % CI": the size that all models share, and how intervals are drawn."""
    drawn = f"{interval}: 95 % CI" if table["low"].notna().any() else None
    return "; ".join(filter(None, (sample_size(table), drawn)))


def model_label(rows: pd.DataFrame, *, common_size: str | None) -> str:
    """Return a model's label; its own sample size is added where the models do not share one."""
    label, own_size = typeset(str(rows["label"].iloc[0])), sample_size(rows)
    between = "\n" if "\n" in label else "; "
    return label if common_size or not own_size else f"{label}{between}{own_size}"


def band(axes: Axes, x: pd.Series, rows: pd.DataFrame, style: LineStyle) -> None:
    """Shade between `low` and `high`; thin edges in the model's own line keep overlapping bands apart in grey."""
    if rows["low"].isna().all():
        return
    axes.fill_between(x, rows["low"], rows["high"], color=style.color, alpha=0.13, linewidth=0)
    for edge in ("low", "high"):
        axes.plot(x, rows[edge], color=style.color, linestyle=style.line, linewidth=0.4, alpha=0.8)


def typeset(text: str) -> str:
    """Return text with typographic ranges and minus signs.

    Examples
    --------
    >>> typeset("AUC 0.73 (0.54-0.86), in the large -0.16")
    'AUC 0.73 (0.54–0.86), in the large −0.16'
    """
    return re.sub(r"(?<![\w.])-(?=\d)", "−", re.sub(r"(?<=\d)-(?=[\d.−-])", "–", text))


def legend_below(figure: FigureBase, handles: list[Artist], *, title: str | None = None, columns: int = 1) -> None:
    """Put one legend under the axes, where it can hide no curve."""
    figure.legend(handles=handles, title=title, ncols=columns, loc="outside lower center")


def decimal(value: float, digits: int = 1) -> str:
    """Return a number with a typographic minus sign, as the axes print it."""
    return f"{value:.{digits}f}".replace("-", "−")


def ratio_text(value: float) -> str:
    """Return a ratio with two decimals below 10, one below 100, none above."""
    return f"{value:.{2 - (value >= 10) - (value >= 100)}f}"


def finite(values: pd.Series) -> np.ndarray:
    """Return the finite values as an array of float."""
    array = values.to_numpy(dtype=float)
    return array[np.isfinite(array)]


def _text_columns(table: pd.DataFrame) -> list[str]:
    return [name for name in table if pd.api.types.infer_dtype(table[name], skipna=True) == "string"]


def _printable_array(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "U" or not values.size:
        return values
    return np.array([_drawn(200)(text) for text in values.ravel().tolist()]).reshape(values.shape)


def _drawn(longest: int) -> Callable[[str], str]:
    """Return what makes a text printable: visible signs of the font, in lines that are not too long."""

    def plain(text: str) -> str:
        known, spaced = _glyphs(), re.sub(r"[^\S\n]", " ", text)
        signs = (sign for sign in spaced if sign == "\n" or sign.isprintable())
        return shortened("".join(sign if sign in " \n" or ord(sign) in known else NO_GLYPH for sign in signs), longest)

    return plain


@cache
def _glyphs() -> frozenset[int]:
    """Return the numbers of all signs that the figures' font has."""
    return frozenset(get_font(findfont(SHEET["font.family"])).get_charmap())
