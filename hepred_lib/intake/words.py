"""What the words of a DICOM header say of contrast, part of the body and kind of series: the languages of words.yaml.

A text is folded before it is read: case, accents, Unicode form, dots, hyphens and underscores do not count. A Latin
word is matched whole, a word of a script without blanks anywhere; of two words that begin at one place the longer one
counts, so that "without contrast" is not read as "contrast".
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import yaml

from hepred_lib.errors import ManifestError
from hepred_lib.intake.spreadsheet import plain_yaml
from hepred_lib.literal import shown

WORDS = Path(__file__).with_name("words.yaml")
# Words that name something, by what is read together: within a group, a stretch of text is read once.
_GROUPS = (("contrast", "native", "both"), ("head", "elsewhere"), ("overview",), ("rendering",), ("sharp", "soft"))
PARTS = ("with", "without", "after", "before", "and", "lacking", "fill", "agent", "short")  # of phrases about contrast
_IN_PHRASES = (*PARTS, "neutral")
_WHOLE = ("not_given", "not_known", "nobody")
SECTIONS = (*(name for group in _GROUPS for name in group), *PARTS, *_WHOLE, "neutral")
_LATIN_SINGLE = (*PARTS, *_WHOLE)  # where a word of one letter is allowed: "o. KM", "s/c"
MINUS, GIVEN, NOT, EITHER = "\u2212", "\u2295", "\u2205", "\u00b1"  # "IV-", "KM (+)", "KM (-)", "KM +/-"
# Scripts whose words are not set apart.
_UNBLANKED = "\u1100-\u11ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_LETTER = rf"[^\W\d_{_UNBLANKED}]"
_SINGLE = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "\u2212": "-"})
_RUN_TOGETHER = re.compile(r"(?<=[^\W\d_])(?=[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ])|(?<=[a-zß-öø-ÿ]{2})(?=[A-ZÀ-ÖØ-Þ])")
MOST_PARTS = 6  # of a word, which is entered in each of its forms: "non con", "noncon"
_LONGEST_TEXT = 400  # three descriptions of 64 characters
# Texts whose header does not say how they are written come as if written in ISO 8859-1.
_CHARSETS = ("gb18030", "big5", "shift_jis", "euc_kr", "iso8859_2", "iso8859_9")


class Hit(NamedTuple):
    """A word of the data file (its language, its section, as it is written there) at a place of a folded text."""

    start: int
    end: int
    language: str
    section: str
    word: str


# --- phrases about contrast: "mit KM", "sans injection de produit de contraste", "造影なし", "IV-", "w/o"


def _sign(sections: Iterable[str]) -> str:
    """One character for a set of sections; a word may be in several: "non" in French."""
    return chr(0xE000 + sum(1 << _IN_PHRASES.index(section) for section in set(sections)))


def _any_of(*sections: str) -> str:
    """A pattern for the signs of all sets that have one of these sections."""
    bits = sum(1 << _IN_PHRASES.index(section) for section in sections)
    return "[" + "".join(chr(0xE000 + number) for number in range(1, 1 << len(_IN_PHRASES)) if number & bits) + "]"


_WITH, _WITHOUT = _any_of("with"), _any_of("without")
_GIVEN, _LACKING = _any_of("with", "after"), _any_of("without", "before")
_AGENT, _SHORT, _FILL = _any_of("agent"), _any_of("short"), _any_of("fill")
_TAKEN = f"{_FILL}{{0,2}}{_any_of('agent', 'short')}"
_AND = rf"(?:{_any_of('and')}|[/+])?"
_PATTERNS = tuple(
    (section, re.compile(pattern))
    for section, pattern in (
        ("neutral", rf"(?:{_any_of('with', 'after', 'without', 'before')}/?|[+{MINUS}/]){{0,2}}{_any_of('neutral')}"),
        ("both", rf"(?:{_GIVEN}{_AND}{_LACKING}|{_LACKING}{_AND}{_GIVEN})(?:{_TAKEN})+"),
        ("both", rf"{_WITH}{_AND}{_WITHOUT}|{_WITHOUT}{_AND}{_WITH}"),
        ("both", rf"{_any_of('agent', 'short')}{EITHER}|{EITHER}{_any_of('agent', 'short')}"),
        ("native", rf"{_LACKING}(?:{_TAKEN})+"),
        ("native", rf"{_AGENT}(?:{NOT}|{_any_of('lacking')}|{MINUS}(?=[d/+]|$))"),  # not in "contrast- enhanced"
        ("native", rf"{_SHORT}[{NOT}{MINUS}]|{MINUS}{_SHORT}"),
        ("contrast", rf"{_GIVEN}{_TAKEN}|{_SHORT}[+{GIVEN}]|\+{_SHORT}"),
    )
)


def phrases(text: str, hits: Iterable[Hit], language: str) -> Iterator[Hit]:
    """Phrases of one language in a folded text: hits of the sections native, contrast, both and neutral.

    Parameters
    ----------
    text : str
        As ``fold`` gives it.
    hits : iterable of Hit
        Its words; those of other languages are passed over.
    language : str
    """
    known: dict[int, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for hit in hits:
        if hit.language in (language, "all") and hit.section in _IN_PHRASES:
            known[hit.start][hit.end].add(hit.section)
    # A sign for each word, from left to right the longest; d for digits, x for a word of no meaning.
    signs, places, place = "", [], 0
    while place < len(text):
        start = place
        if place in known:
            place = max(known[start])
            sign = _sign(known[start][place])
        else:
            run = next(re.finditer(r"\d+|[^\W\d]|\W", text[place:])).group()
            place += len(run)
            sign = "d" if run.isdigit() else "x" if run.isalpha() else run.strip(" ")
        signs += sign
        places += [(start, place)] * len(sign)
    for section, pattern in _PATTERNS:
        for match in pattern.finditer(signs):
            start, end = places[match.start()][0], places[match.end() - 1][1]
            if section != "both" or not re.fullmatch(r"\W*\w\W+\w\W*", text[start:end]):
                # "s/c" is "sin contraste", not "senza" and "con"
                yield Hit(start, end, language, section, text[start:end])


# --- words


class Said(NamedTuple):
    """The first word that a text has of each kind; empty where it has none. ``both`` fills contrast and native."""

    contrast: str = ""
    native: str = ""
    head: str = ""
    elsewhere: str = ""
    overview: str = ""
    rendering: str = ""
    sharp: str = ""
    soft: str = ""


class Words:
    """The words of a data file, ready to read texts.

    Parameters
    ----------
    languages : mapping of str to mapping of str to sequence of str
        The form of ``words.yaml``: language, section, words. ``all`` counts for every language.
    """

    def __init__(self, languages: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        self.languages = languages
        self._whole = {name: {fold(word) for word in self._of(name)} for name in _WHOLE}
        self._nobody = set(map(_bare, self._of("nobody")))
        self._entries: dict[str, list[tuple[str, str, str]]] = defaultdict(list)  # language, section, word
        for language, sections in self.languages.items():
            for section in set(sections) - set(_WHOLE):
                for word in sections[section]:
                    self._add(word, (language, section, word))
            self._add_glued(language)
        self._longest = max(map(len, self._entries), default=0)
        self._read = lru_cache(maxsize=4096)(self._read_once)

    def read(self, text: str) -> Said:
        """What a text says, whatever its language.

        Examples
        --------
        >>> said = load_words().read("CRANEO SIN CONTRASTE")
        >>> said.native, said.contrast
        ('sin contraste', '')
        """
        return self._read(text[:_LONGEST_TEXT])

    def agent_given(self, agent: str) -> bool | None:
        """Whether ContrastBolusAgent says that an agent was given; None where it says nothing."""
        text = fold(agent)
        if not agent.strip() or text in self._whole["not_known"] - self._whole["not_given"]:
            return None
        said = self.read(agent)
        if said.contrast:
            return True
        number = re.match(r"[\d ]+", text)
        nothing = not re.search(r"\w", text) or (number and not number.group().strip("0 "))
        return not (nothing or text in self._whole["not_given"] or said.native)

    def says_no_part(self, body_part: str) -> bool:
        """Whether BodyPartExamined names no part of the body, as ``UNKNOWN`` and the empty text do."""
        return not re.search(r"\w", body_part) or fold(body_part) in self._whole["not_known"]

    def is_nobody(self, text: str) -> bool:
        """Whether a PatientID or PatientName stands for no person: such a word, zeros, 9999, 123456."""
        bare = _bare(text)
        in_order = len(bare) > 5 and any(digits.startswith(bare) for digits in ("1234567890", "0123456789"))
        return bare in self._nobody or in_order or bool(re.fullmatch(r"0*|9{4,}|x+", bare))

    def _of(self, section: str) -> list[str]:
        return [word for sections in self.languages.values() for word in sections.get(section, ())]

    def _add(self, word: str, entry: tuple[str, str, str]) -> None:
        """Enter a word, and its forms in which parts are written together: "non con", "noncon"."""
        first, *parts = fold(word.rstrip("*")).split(" ")
        for joints in product(("", " "), repeat=len(parts)):
            self._entries[first + "".join(j + part for j, part in zip(joints, parts, strict=True))].append(entry)

    def _add_glued(self, language: str) -> None:
        """Enter "ohneKM" and "cmdc", whose words are whole words only apart."""
        sections = self.languages[language]
        for kind, names in (("contrast", ("with", "after")), ("native", ("without", "before"))):
            for first in (word for name in names for word in sections.get(name, ())):
                for agent in sections.get("agent", ()):
                    self._add(f"{fold(first)}{fold(agent)}", (language, kind, f"{first} {agent}"))

    def _read_once(self, text: str) -> Said:
        found: dict[str, str] = {}
        silent, before = list(_GROUPS), ""
        for readings in _readings(text):
            for reading in readings:
                hits = self._hits(reading)
                for hit in (
                    hit for kinds in silent for hit in _first_and_longest(self._spans(reading, hits, kinds), kinds)
                ):
                    word = reading[hit.start : hit.end]
                    if before and word in before:
                        continue  # part of a longer word of the text as it is
                    for kind in ("contrast", "native") if hit.section == "both" else (hit.section,):
                        found.setdefault(kind, word if hit.word.endswith("*") else hit.word)
            silent = [kinds for kinds in silent if not found.keys() & set(kinds)]
            before += f"{' '.join(readings)} "
        return Said(**found)

    def _spans(self, text: str, hits: list[Hit], kinds: tuple[str, ...]) -> list[Hit]:
        """What a folded text says of one group of kinds."""
        wanted = kinds if "head" in kinds else (*kinds, "neutral")
        spans = [hit for hit in hits if hit.section in wanted]
        if "contrast" in kinds:
            spans += [hit._replace(section="contrast") for hit in hits if hit.section == "agent"]
            spans += [span for language in self.languages for span in phrases(text, hits, language)]
        return spans

    def _hits(self, text: str) -> list[Hit]:
        """Every word of the data file in a folded text, wherever it is a whole word."""
        hits = []
        for start in range(len(text)):
            for end in range(start + 1, min(start + self._longest, len(text)) + 1):
                for language, section, word in self._entries.get(text[start:end], ()):
                    stop = end + next(re.finditer(rf"{_LETTER}*", text[end:])).end() if word.endswith("*") else end
                    if not (_joined(text, start) or _joined(text, stop)):
                        hits.append(Hit(start, stop, language, section, word))
        return hits


def _bare(text: str) -> str:
    """Letters and digits alone."""
    return re.sub(r"\W|_", "", fold(text))


def _joined(text: str, place: int) -> bool:
    """Whether the characters before and behind a place are of one word or of one number."""
    pair = text[place - 1 : place + 1] if place else ""
    return bool(re.fullmatch(rf"{_LETTER}{{2}}|\d{{2}}", pair))


def _first_and_longest(spans: list[Hit], kinds: tuple[str, ...]) -> Iterator[Hit]:
    """From left to right, the longest of those that begin at a place, and none that overlaps one before.

    Of two equally long ones the one with more letters before its star counts.
    """
    order = ("neutral", "native", "both", "contrast") if "contrast" in kinds else ("neutral", *kinds)
    place = 0

    def rank(span: Hit) -> tuple:
        star = len(span.word) if span.word.endswith("*") else 1000
        return span.start, -span.end, -star, order.index(span.section)

    for span in sorted(spans, key=rank):
        if span.start >= place:
            place = span.end
            if span.section != "neutral":
                yield span


@lru_cache(maxsize=16384)
def fold(text: str) -> str:
    """A text without case, accents, dots, hyphens and underscores; a sign behind a word is kept: "IV-", "C+".

    Examples
    --------
    >>> fold("SCHÄDEL_o. KM 5,0")
    'schadel o km 5 0'
    >>> fold("Crâne IV- / IV+") == fold("crane iv-/iv+")
    True
    """
    text = unicodedata.normalize("NFKC", text).casefold().translate(_SINGLE)
    bare = "".join(sign for sign in unicodedata.normalize("NFD", text) if not "\u0300" <= sign <= "\u036f")
    text = re.sub(r"[\u2010-\u2015]", "-", unicodedata.normalize("NFC", bare))
    text = re.sub(r"\+ ?/ ?-|- ?/ ?\+", EITHER, text)
    text = re.sub(r"[(\[] ?(?:-|neg\.?) ?[)\]]", NOT, re.sub(r"[(\[] ?(?:\+|pos\.?) ?[)\]]", GIVEN, text))
    text = re.sub(r"(?<=[^\W_])-(?![^\W_])|(?<![^\W_])-(?=[^\W\d_])", MINUS, text)
    text = re.sub(rf"[^\w+/{MINUS}{GIVEN}{NOT}{EITHER}]|_", " ", text)
    return re.sub(" ?/ ?", "/", " ".join(text.split()))


def _readings(text: str) -> list[list[str]]:
    """A text folded as it is and with "HeadNative" taken apart; then in the character sets that may have been meant.

    The later ones are for what the earlier ones say nothing of.
    """
    meant = [text]
    if any("\x80" <= sign <= "\xff" for sign in text) and all(sign <= "\xff" for sign in text):
        content, meant = text.encode("latin-1"), []
        for charset in ("utf-8", "latin-1", *_CHARSETS):
            try:
                meant.append(content.decode(charset))
            except UnicodeDecodeError:
                continue
    return [list(dict.fromkeys((fold(one), fold(_RUN_TOGETHER.sub(" ", one))))) for one in meant]


@cache
def load_words(path: Path | None = None) -> Words:
    """The words of the package, and those of a user's own file of the same form.

    Parameters
    ----------
    path : Path, optional
        YAML: a language, its sections, and the words of each. A word in it is taken out of the package's other
        sections.

    Raises
    ------
    ManifestError
        A file that cannot be read, or is not of that form.
    """
    if path is None:
        return Words(_package_words())
    own = _own_words(path)
    languages = {name: dict(sections) for name, sections in _package_words().items()}
    for sections in own.values():
        for section, words in sections.items():
            taken = set(map(fold, words))
            for there in languages.values():
                for other in set(there) & set(_rivals(section)) - {section}:
                    there[other] = [word for word in there[other] if fold(word) not in taken]
    for name, sections in own.items():
        there = languages.setdefault(name, {})
        for section, words in sections.items():
            there[section] = [*there.get(section, ()), *words]
    return Words(languages)


@cache
def _package_words() -> Mapping[str, Mapping[str, list[str]]]:
    return yaml.load(WORDS.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def _rivals(section: str) -> tuple[str, ...]:
    """Sections that cannot have a word which this section has."""
    group = next((group for group in _GROUPS if section in group), ())
    return (*group, "agent", "neutral") if "contrast" in group else (*group, "neutral") if group else _GROUPS[0]


def _own_words(path: Path) -> dict[str, dict[str, list[str]]]:
    form = "map languages to sections, as 'de: {native: [blank], contrast: [mit KM]}'"
    languages = plain_yaml(path, form)
    if not isinstance(languages, dict) or not languages:
        kind = {list: "a list", str: "a text"}.get(type(languages), "nothing") if languages else "nothing"
        raise ManifestError(f"--words {path.name} must {form}, got {kind}.")
    for language, sections in languages.items():
        if not isinstance(sections, dict) or language in SECTIONS:
            got = f"{shown(language, 40)!r} must be a language with its sections"
            raise ManifestError(f"--words {path.name} must {form}: {got}.")
        for section, words in sections.items():
            _check_words(section, words, f"--words {path.name}, {shown(language, 40)}")
    return languages


def _check_words(section: str, words: object, where: str) -> None:
    """Refuse a section that is none, and what is no word."""
    if section not in SECTIONS:
        raise ManifestError(f"{where}: unknown section {shown(section, 40)!r}; sections are {', '.join(SECTIONS)}.")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ManifestError(f"{where}, {section}: must be a list of words, got {shown(words, 40)!r}.")
    for word in words:
        text = fold(word[:101].rstrip("*"))
        short = len(text) == 1 and re.match(_LETTER, text) and (section not in _LATIN_SINGLE or word.endswith("*"))
        if (section not in _WHOLE and not re.search(r"\w", text)) or short or len(word) > 100:
            raise ManifestError(f"{where}, {section}: a word must have 2 to 100 letters, got {shown(word, 40)!r}.")
        if text.count(" ") >= MOST_PARTS:
            raise ManifestError(f"{where}, {section}: at most {MOST_PARTS} words in one, got {shown(word, 40)!r}.")
