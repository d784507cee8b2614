"""Ways to damage a file: its bytes, its lines and cells, its keys and values. Each takes and gives the whole file."""

import csv
import io
import json
import random
from collections.abc import Callable

import yaml

NUMBERS = (
    *("NaN", "1e999", "-1e999", "-0", "0", "1", "-1", "2", "0.5", "1e-320", "1e308", "9" * 400, "-" + "9" * 5000),
    *("4294967296", "9007199254740993", "18446744073709551616", "1_000", "0x1F", "1,5", "1.5.2", "Infinity", "٣", "²"),
)
WORDS = (
    *("", " ", "null", "~", "true", "no", "None", "NA", "-", "999", "2024-03-01", "0000-00-00", "12:60:61", "=1+1"),
    *("\u200bage", "ａｇｅ", "age\u0301", "\ud83e\udde0".encode("utf-16", "surrogatepass").decode("utf-16")),
    *("\x00", "\x1b[31m", "\r", "line\nbreak", "\u2028", "\u202eegа", "\ufeff", "a" * 70_000, "é" * 300, "%s%n{0}"),
    *("../../etc/passwd", "/dev/zero", "con", "<b>&amp;", "$x^2$", "\\", "'", '"', '""', "!!python/object:os.system"),
    *("&a [*a]", "<<", "? a", "- - -", "{", "[" * 3000, "{a: " * 60, "#", ";", "\t", "|", ">", "@", "`", "%YAML 9.9"),
)
BYTES = (0, 1, 9, 10, 13, 26, 27, 31, 34, 44, 59, 92, 127, 128, 159, 192, 237, 254, 255)
HUGE = (0, 1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def damaged_bytes(data: bytes, chance: random.Random, others: tuple[bytes, ...] = ()) -> bytes:
    """One to four damages to bytes; ``others`` are files that parts may be taken from."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        start = chance.randrange(len(changed) + 1)
        count = chance.choice((0, 0, 1, 1, 1, 2, 4, 8, chance.randrange(64), len(changed)))
        part, other = changed[start : start + count], chance.choice(others or (data,))
        size, number = chance.choice((2, 4, 8)), chance.choice(HUGE) * chance.choice((1, -1))
        place = chance.randrange(len(other) + 1)
        changed[start : start + count] = chance.choice(
            (
                bytes(byte ^ 1 << chance.randrange(8) for byte in part[:1]) + part[1:],  # a bit
                bytes([chance.choice(BYTES)]) + part[1:],
                (number % 2 ** (8 * size)).to_bytes(size, chance.choice(("little", "big"))),
                b"",  # cut, or truncated
                part + part,
                chance.randbytes(chance.randrange(1, 9)),
                chance.choice((bytes, chance.randbytes))(chance.randrange(1, 600)),
                other[place : place + chance.randrange(1, 200)],
            )
        )
    return bytes(changed)


def damaged_text(text: str, chance: random.Random, separator: str = ",") -> bytes:
    """One to three damages to the lines and cells of a text, now and then to its bytes or its encoding."""
    lines = text.split("\n")
    for _ in range(chance.choice((1, 1, 2, 3))):
        damage = chance.choice((_lines, _one_line, _one_line, _one_line, _column, _separators))
        lines = damage(lines, chance, separator) or [""]
    return _as_bytes("\n".join(lines), chance)


def damaged_tree(tree: object, chance: random.Random, dump: Callable[[object], str]) -> bytes:
    """One to three damages to a tree of mappings, lists and values, written by ``dump``, or to its text."""
    if chance.random() < 0.2:
        return damaged_text(dump(tree), chance, chance.choice((":", ",", " ")))
    tree = json.loads(json.dumps(tree))
    bare: list[str] = []
    for _ in range(chance.choice((1, 1, 2, 3))):
        tree = _with_damage(tree, chance, bare)
    text = dump(tree)
    for number, word in enumerate(bare):  # values that the language has, and dump cannot write
        text = text.replace(f'"@{number}@"', word).replace(f"'@{number}@'", word)
    if chance.random() < 0.1:  # a key twice
        place = chance.randrange(len(lines := text.split("\n")))
        text = "\n".join([*lines[: place + 1], *lines[place:]])
    return _as_bytes(text, chance) if chance.random() < 0.2 else text.encode("utf-8", "surrogatepass")


def as_json(tree: object) -> str:
    """A tree as JSON."""
    return json.dumps(tree, indent=1, ensure_ascii=False)


def as_yaml(tree: object) -> str:
    """A tree as YAML."""
    return yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)


def _as_bytes(text: str, chance: random.Random) -> bytes:
    encoding = chance.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1"))
    errors = "surrogatepass" if encoding.startswith("utf") else "replace"
    data = text.encode(encoding, errors)
    return damaged_bytes(data, chance) if chance.random() < 0.15 else data


def _value(chance: random.Random) -> str:
    return chance.choice(NUMBERS if chance.random() < 0.5 else WORDS)


def _moved(parts: list[str], chance: random.Random, a: int, b: int) -> list[str]:
    """Parts of which one, a, is gone, repeated, or exchanged with another, b."""
    if max(a, b) >= len(parts):
        return parts
    swapped = [parts[b] if k == a else parts[a] if k == b else part for k, part in enumerate(parts)]
    twice = [*parts[:a], *[parts[a]] * chance.choice((2, 2, 3, 200)), *parts[a + 1 :]]
    return chance.choice((swapped, swapped, twice, parts[:a] + parts[a + 1 :]))


def _lines(lines: list[str], chance: random.Random, _: str) -> list[str]:
    """Lines that are gone, repeated, exchanged, or end in another way."""
    end = chance.choice(("\r", "\r\r", "\x85", "\u2028", "\x00", " "))
    places = [chance.randrange(len(lines)) for _ in "ab"]
    return [f"{line}{end}" for line in lines] if chance.random() < 0.2 else _moved(lines, chance, *places)


def _one_line(lines: list[str], chance: random.Random, separator: str) -> list[str]:
    """One line with another value, quoted as a table would, wrongly or not at all; or with other cells or signs."""
    place, value, quoted = chance.randrange(len(lines)), _value(chance), io.StringIO()
    csv.writer(quoted).writerow([value])
    line, cells = lines[place], lines[place].split(separator)
    at, cell = chance.randrange(len(line) + 1), chance.randrange(len(cells))
    other = [*cells[:cell], chance.choice((value, value, quoted.getvalue().strip(), f'"{value}')), *cells[cell + 1 :]]
    moved = _moved(cells, chance, cell, chance.randrange(len(cells)))
    signs = (f"{line[:at]}{line[at + 1 :]}", f"{line[:at]}{value}{line[at:]}")
    return [
        *lines[:place],
        chance.choice((*[separator.join(other)] * 4, separator.join(moved), *signs)),
        *lines[place + 1 :],
    ]


def _column(lines: list[str], chance: random.Random, separator: str) -> list[str]:
    """The same in every line: two cells exchanged, one doubled or gone, or another value under an old name."""
    width, value = max(1, lines[0].count(separator) + 1), _value(chance)
    a, b, again, state = chance.randrange(width), chance.randrange(width), chance.random() < 0.5, chance.getstate()
    changed = []
    for number, line in enumerate(lines):
        cells = line.split(separator)
        if not again:
            chance.setstate(state)
            cells = _moved(cells, chance, a, b)
        elif number and a < len(cells):
            cells[a] = value
        changed.append(separator.join(cells))
    return changed


def _separators(lines: list[str], chance: random.Random, separator: str) -> list[str]:
    other = chance.choice((";", "\t", "|", ":", " ", ",,"))
    return [line.replace(separator, other) for line in lines] if chance.random() < 0.5 else [f"sep={other}", *lines]


def _with_damage(tree: object, chance: random.Random, bare: list[str]) -> object:
    """A tree in which one part, at any depth, is another."""
    if isinstance(tree, dict) and tree and chance.random() < 0.85:
        key = chance.choice(list(tree))
        if chance.random() < 0.2:
            return _with_other_key(tree, key, chance)
        return {**tree, key: _with_damage(tree[key], chance, bare)}
    if isinstance(tree, list) and tree and chance.random() < 0.85:
        place = chance.randrange(len(tree))
        if chance.random() < 0.2:
            return chance.choice(([*tree, tree[place]], tree[:place], tree[::-1], [*tree[:place], *tree[place + 1 :]]))
        return [*tree[:place], _with_damage(tree[place], chance, bare), *tree[place + 1 :]]
    return _other_value(tree, chance, bare)


def _with_other_key(tree: dict, key: str, chance: random.Random) -> dict:
    other, kept = chance.choice(list(tree)), {name: value for name, value in tree.items() if name != key}
    return chance.choice(
        (
            kept,
            {**kept, _value(chance): tree[key]},
            {**kept, key.upper(): tree[key]},
            {**tree, f"{key}_": tree[key]},
            {**tree, key: tree[other], other: tree[key]},
            {**tree, key: tree},
        )
    )


def _other_value(value: object, chance: random.Random, bare: list[str]) -> object:
    """A value of another kind or size."""
    if isinstance(value, int | float) and not isinstance(value, bool) and chance.random() < 0.4:
        return chance.choice(
            (-value, value * 10, value / 7, value + 1, int(value), str(value), 0, 1e12, 1e300, -1e-300)
        )
    if chance.random() < 0.4:
        bare.append(_value(chance))
        return f"@{len(bare) - 1}@"
    nested: object = value
    for _ in range(chance.choice((1, 2, 100))):
        nested = [nested] if chance.random() < 0.5 else {"a": nested}
    many = [value] * (3 if isinstance(value, dict | list) else 1000)
    return chance.choice((None, True, False, [], {}, "", [value], {"a": value}, nested, _value(chance), many))
