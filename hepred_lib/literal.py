"""Text of a table (a site, a column's name) as literal text, whatever reads it: LaTeX, Markdown with HTML, a formula.

Figures read no markup at all (see :mod:`hepred_lib.figures.style`).
"""

from __future__ import annotations

import re
import unicodedata

# What LaTeX would read as a command, and signs that it cannot set without one.
LATEX = {character: f"\\{character}" for character in "&%_#${}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "→": r"$\to$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "χ": r"$\chi$",
    "²": "$^2$",
    "³": "$^3$",
    "⁹": "$^9$",
    "°": r"$^\circ$",
    "\n": " ",
    "\u00a0": "~",
    "\u200b": r"\hspace{0pt}",  # where a long word may be broken
}
_LAST_LATIN = "\u017f"  # Latin-1 and Latin Extended-A: letters that every LaTeX with UTF-8 input knows
# Within a word an underscore is no markup.
_MARKDOWN = re.compile(r"([\\`*{}\[\]#|$~^!]|(?<!\w)_|_(?!\w))")


def for_latex(text: str) -> str:
    r"""Text that LaTeX sets as it stands; a sign beyond its letters becomes a box with the sign's number.

    Examples
    --------
    >>> print(for_latex("50 % of $a_b"))
    50 \% of \$a\_b
    """
    return "".join(LATEX.get(character) or _latex_letter(character) for character in text)


def for_markdown(text: str) -> str:
    r"""Text that Markdown shows as it stands: no markup, no formula, no HTML, one line.

    Examples
    --------
    >>> print(for_markdown("*a* <b>"))
    \*a\* &lt;b&gt;
    """
    line = " ".join(visible(text).split())
    return _MARKDOWN.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def for_formula(text: str) -> str:
    r"""Text inside ``\mathrm{}`` of a formula; what a formula would read is left out.

    Examples
    --------
    >>> print(for_formula("Onset_to $CT}"))
    Onset\_to\ CT
    """
    kept = re.sub(r"[\\${}^~#&%<>\"']", "", visible(text))
    return kept.replace("_", r"\_").replace(" ", r"\ ")


def without_html(text: str) -> str:
    """Markdown of our own in which a name that looks like HTML stays text.

    Examples
    --------
    >>> without_html("**p < 0.05** for a<script>")
    '**p < 0.05** for a&lt;script>'
    """
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def shown(value: object, most: int = 80) -> str:
    r"""A value as a refusal cites it: one line of at most so many signs, in which nothing is invisible.

    Examples
    --------
    >>> print(shown("71\n\x00 years"), shown("a" * 9, 5))
    71 \x00 years aaaa…
    """
    try:
        text = str(value)
    except ValueError:  # Python converts no whole number of thousands of digits
        text = "a number of thousands of digits"
    line = " ".join(text[: 10 * most].split())
    line = line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def shortened(text: str, most: int) -> str:
    """Text of at most so many signs a line, one word of it no longer than half of that.

    Examples
    --------
    >>> shortened("a very long name", 10), shortened("aaaaaaaaaaaaaaa", 10)
    ('a very lo…', 'aaaa…')
    """
    longest = max(most // 2, 1)
    lines = [
        " ".join(word if len(word) <= longest else f"{word[: longest - 1]}…" for word in line.split(" "))
        for line in text.split("\n")
    ]
    return "\n".join(line if len(line) <= most else f"{line[: most - 1]}…" for line in lines)


def visible(text: str) -> str:
    """Text without control characters and invisible marks; spaces of any kind become plain ones."""
    plain = (" " if character.isspace() else character for character in text)
    return "".join(character for character in plain if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co"))


def _latex_letter(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cf", "Cs"):
        return ""
    if character.isspace():
        return " "
    return character if character <= _LAST_LATIN else rf"\fbox{{\tiny {ord(character):X}}}"
