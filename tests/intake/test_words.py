"""What hospitals write into the header of a series is understood, in twelve languages and a user's own words."""

from pathlib import Path

import pytest
import yaml

from hepred_lib.errors import ManifestError
from hepred_lib.intake.words import WORDS, Said, fold, load_words

LANGUAGES = {"en", "de", "fr", "es", "it", "pt", "zh", "ja", "ko", "nl", "tr", "pl"}
LISTED = [
    (language, section, word)
    for language, sections in yaml.safe_load(WORDS.read_text(encoding="utf-8")).items()
    for section, words in sections.items()
    for word in words
]
DESCRIPTIONS = [
    (kind, text)
    for sections in yaml.safe_load(Path(__file__).with_name("descriptions.yaml").read_text(encoding="utf-8")).values()
    for kind, texts in sections.items()
    for text in texts
]
NO_AGENT = (
    "NONE|none|NO|N|n/a|0|0.0|0 ml|-|--|?|without|w/o|No contrast|UNENHANCED|NATIV|ohne|keine|Keines|ohne KM|sans|"
    "aucun|ninguno|Sin contraste|nessuno|nenhum|无|無し|なし|없음|geen|yok|brak|bez kontrastu|Contrast: none"
)
AGENT = "IOMERON 400|Omnipaque 350|80 ml|IV|YES|KM|CE|1|碘海醇|Ultravist-370|APPLIED"
ELSEWHERE = (
    "C-SPINE 2.0|femoral head|HWS nativ|Kopfgelenk|Gesichtsschädel|Rocher droit|Cabeza femoral|Massiccio facciale|"
    "Seios da face|颈椎平扫|股骨头|대퇴골두|CWK|Servikal|Twarzoczaszka"
)


def kind_of(said: Said) -> str:
    """The words of ``descriptions.yaml`` for what was understood."""
    if said.overview or said.rendering:
        return "overview" if said.overview else "rendering"
    return {(1, 1): "both", (1, 0): "contrast", (0, 1): "native"}.get(
        (bool(said.contrast), bool(said.native)), "silent"
    )


def understood(word: str, section: str) -> bool:
    """Whether a word of the data file, alone, is what its section says and nothing that contradicts it."""
    words = load_words()
    said = words.read(word)
    return {
        "agent": bool(said.contrast and not said.native),
        "contrast": bool(said.contrast and not said.native),
        "native": bool(said.native and not said.contrast),
        "both": bool(said.native and said.contrast),
        "head": bool(said.head and not said.elsewhere),
        "elsewhere": bool(said.elsewhere and not said.head),
        "overview": bool(said.overview),
        "rendering": bool(said.rendering),
        "sharp": bool(said.sharp),
        "soft": bool(said.soft),
        "neutral": not (said.contrast or said.native or said.overview),
        "not_given": words.agent_given(word) is False,
        "not_known": words.agent_given(word) is not True and words.says_no_part(word),
        "nobody": words.is_nobody(word),
    }.get(section, True)


def test_twelve_languages_have_words_of_every_kind():
    languages = load_words().languages
    assert set(languages) - {"all"} == LANGUAGES
    wanted = {"agent", "native", "contrast", "without", "overview", "head", "elsewhere", "sharp", "soft"}
    assert {name: wanted - set(languages[name]) for name in LANGUAGES} == {name: set() for name in LANGUAGES}


@pytest.mark.parametrize("section", sorted({section for _, section, _ in LISTED}))
@pytest.mark.parametrize("language", ["all", *sorted(LANGUAGES)])
def test_each_word_is_understood_alone_and_in_capitals(language, section):
    words = [word.rstrip("*") for of, name, word in LISTED if (of, name) == (language, section)]
    assert [word for word in words if not understood(word, section)] == []
    assert [word for word in words if not understood(word.replace("ß", "ss").upper(), section)] == []


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_each_agent_without_it_is_native_and_with_it_is_contrast(language):
    sections = load_words().languages[language]
    blank = "" if language in ("zh", "ja", "ko") else " "
    for agent in sections["agent"]:
        for without in sections["without"]:
            said = load_words().read(f"x {without}{blank}{agent}")
            assert (bool(said.native), said.contrast) == (True, ""), f"{without}{blank}{agent}"
        for given in sections["with"]:
            said = load_words().read(f"x {given}{blank}{agent}")
            assert (said.native, bool(said.contrast)) == ("", True), f"{given}{blank}{agent}"


@pytest.mark.parametrize(("kind", "text"), DESCRIPTIONS)
def test_a_description_is_understood_however_it_is_written(kind, text):
    for form in (text, text.upper(), text.replace(" ", "_"), text.replace(" ", "  ")):
        assert kind_of(load_words().read(form)) == kind, form


@pytest.mark.parametrize(("text", "kind"), [("HeadAngio", "contrast"), ("SchädelOhneKM", "native")])
def test_words_that_are_written_together_are_taken_apart_at_capitals(text, kind):
    said = load_words().read(text)
    assert (kind_of(said), bool(said.head)) == (kind, True)


NEITHER = (False, False)
PARTS = {"Head/C-Spine": (True, True), "頭蓋骨": (True, False), "headache": NEITHER, "Thoraxkopf": NEITHER}


@pytest.mark.parametrize(("text", "parts"), [*PARTS.items(), *((text, (False, True)) for text in ELSEWHERE.split("|"))])
def test_parts_of_the_body_are_told_from_the_head(text, parts):
    said = load_words().read(text)
    assert (bool(said.head), bool(said.elsewhere)) == parts


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("头颅平扫", "gb18030"),
        ("頭顱平掃", "big5"),
        ("頭部単純", "shift_jis"),
        ("두부 비조영", "euc_kr"),
        ("głowa bez środka kontrastowego", "iso8859_2"),
        ("BEYİN KONTRASTSIZ", "iso8859_9"),
        ("Schädel nativ", "utf-8"),
        ("头颅平扫", "utf-8"),
    ],
)
def test_a_text_whose_header_does_not_say_its_character_set_is_read(text, charset):
    said = load_words().read(text.encode(charset).decode("latin-1"))
    assert bool(said.native and said.head)
    assert not said.contrast


@pytest.mark.parametrize(
    ("agents", "given"), [(NO_AGENT, False), (AGENT, True), ("|  |UNKNOWN|unbekannt", None)], ids=["none", "given", "?"]
)
def test_whether_an_agent_was_given(agents, given):
    wrong = [agent for agent in agents.split("|") if load_words().agent_given(agent) is not given]
    assert wrong == []


def test_form_of_writing_does_not_count():
    one = "sch\u00e4del-nativ"
    assert fold(one) == fold("SCHA\u0308DEL_NATIV") == fold("\uff33\uff43\uff48\u00e4del  nativ")
    assert fold("głowa") == fold("GLOWA")
    assert fold("BEYİN") == fold("beyın") == fold("Beyin")


def test_users_words_are_added_and_win(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("sv: {native: [utan kontrast, blank], head: [skalle]}\nde: {native: [KM]}\n", encoding="utf-8")
    words = load_words(path)
    assert words.read("SKALLE UTAN KONTRAST").native == "utan kontrast"
    assert words.read("Skalle").head == "skalle"
    said = words.read("Schädel KM")
    assert (said.native, said.contrast) == ("KM", "")
    assert load_words().read("Schädel KM").contrast == "KM"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"de: [", "must map languages to sections"),
        ("de: {native: [na\xeff]}".encode("latin-1"), "must be UTF-8 text, got byte 0xef"),
        (b"- nativ\n", "must map languages to sections, .* got a list"),
        (b"", "must map languages to sections, .* got nothing"),
        (b"native: [blank]\n", "'native' must be a language with its sections"),
        (b"de: nativ\n", "'de' must be a language with its sections"),
        (b"de: {nativ: [blank]}\n", "de: unknown section 'nativ'; sections are contrast, native"),
        (b"de: {native: blank}\n", "de, native: must be a list of words, got 'blank'"),
        (b"de: {native: [{a: b}]}\n", "de, native: must be a list of words"),
        (
            b"de: {native: [blank], native: [nativ]}\n",
            "every key must be a text of its own, got native again on line 1",
        ),
        (b"de: {native: [x]}\n", "must have 2 to 100 letters, got 'x'"),
        (b"de: {native: ['*']}\n", "must have 2 to 100 letters"),
        (f"de: {{native: ['{'ab ' * 30}']}}".encode(), "at most 6 words in one"),
    ],
)
def test_a_file_of_words_that_cannot_be_used_is_refused_in_a_line(tmp_path, content, message):
    path = tmp_path / "words.yaml"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=message) as refused:
        load_words(path)
    assert "\n" not in str(refused.value)
    assert "words.yaml" in str(refused.value)


def test_words_that_yaml_takes_for_truth_values_or_numbers_are_words(tmp_path):
    (tmp_path / "words.yaml").write_text("xx: {native: [no, 12]}\n", encoding="utf-8")
    words = load_words(tmp_path / "words.yaml")
    assert [words.read(text).native for text in ("Schädel no", "Schädel 12")] == ["no", "12"]
