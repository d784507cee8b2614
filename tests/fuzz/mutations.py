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
        chance.choice(BYTE_DAMAGES)(changed, chance, chance.choice(others or (data,)))
    return bytes(changed)


def damaged_text(text: str, chance: random.Random, separator: str = ",") -> bytes:
    """One to three damages to the lines and cells of a text, now and then to its bytes or its encoding."""
    lines = text.split("\n")
    for _ in range(chance.choice((1, 1, 2, 3))):
        lines = chance.choice(TEXT_DAMAGES)(lines, chance, separator)
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
    if chance.random() < 0.1:
        text = _twin_key(text, chance)
    return _as_bytes(text, chance) if chance.random() < 0.2 else text.encode("utf-8", "surrogatepass")


def as_json(tree: object) -> str:
    """A tree as JSON."""
    return json.dumps(tree, indent=1, ensure_ascii=False)


def as_yaml(tree: object) -> str:
    """A tree as YAML."""
    return yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)


def _flip(data: bytearray, chance: random.Random, _: bytes) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _byte(data: bytearray, chance: random.Random, _: bytes) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice(BYTES)


def _number(data: bytearray, chance: random.Random, _: bytes) -> None:
    """A number that programs stumble over, in place of what was there."""
    size, value = chance.choice((2, 4, 8)), chance.choice(HUGE) * chance.choice((1, -1))
    place = chance.randrange(len(data) + 1) // 2 * 2
    if place + size <= len(data):
        data[place : place + size] = (value % 2 ** (8 * size)).to_bytes(size, chance.choice(("little", "big")))


def _truncate(data: bytearray, chance: random.Random, _: bytes) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _append(data: bytearray, chance: random.Random, other: bytes) -> None:
    count = chance.randrange(1, 600)
    data.extend(chance.choice((bytes(count), chance.randbytes(count), other[-count:])))


def _cut(data: bytearray, chance: random.Random, _: bytes) -> None:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.randrange(1, 64)]


def _insert(data: bytearray, chance: random.Random, _: bytes) -> None:
    start = chance.randrange(len(data) + 1)
    data[start:start] = chance.randbytes(chance.randrange(1, 9))


def _repeat(data: bytearray, chance: random.Random, _: bytes) -> None:
    start = chance.randrange(len(data) + 1)
    data[start:start] = data[start : start + chance.randrange(1, 64)]


def _splice(data: bytearray, chance: random.Random, other: bytes) -> None:
    """A part of another file over a part of this one."""
    start, count = chance.randrange(len(other) + 1), chance.randrange(1, 200)
    place = chance.randrange(len(data) + 1)
    data[place : place + count] = other[start : start + count]


BYTE_DAMAGES = (_flip, _flip, _byte, _byte, _number, _number, _truncate, _append, _cut, _insert, _repeat, _splice)


def _as_bytes(text: str, chance: random.Random) -> bytes:
    encoding = chance.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1"))
    errors = "surrogatepass" if encoding.startswith("utf") else "replace"
    data = text.encode(encoding, errors)
    return damaged_bytes(data, chance) if chance.random() < 0.15 else data


def _value(chance: random.Random) -> str:
    return chance.choice(NUMBERS if chance.random() < 0.5 else WORDS)


def _swapped_lines(lines: list[str], chance: random.Random, _: str) -> list[str]:
    a, b = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return lines


def _repeated_line(lines: list[str], chance: random.Random, _: str) -> list[str]:
    place, count = chance.randrange(len(lines)), chance.choice((2, 2, 2, 3, 200))
    return [*lines[:place], *[lines[place]] * count, *lines[place + 1 :]]


def _lost_line(lines: list[str], chance: random.Random, _: str) -> list[str]:
    place = chance.randrange(len(lines))
    return [*lines[:place], *lines[place + 1 :]] or [""]


def _changed_cell(lines: list[str], chance: random.Random, separator: str) -> list[str]:
    """Another value, quoted as a table would, quoted wrongly or not at all."""
    place = chance.randrange(len(lines))
    cells = lines[place].split(separator)
    value = _value(chance)
    quoted = io.StringIO()
    csv.writer(quoted).writerow([value])
    cells[chance.randrange(len(cells))] = chance.choice((value, value, quoted.getvalue().strip(), f'"{value}'))
    lines[place] = separator.join(cells)
    return lines


def _swapped_cells(lines: list[str], chance: random.Random, separator: str) -> list[str]:
    place = chance.randrange(len(lines))
    cells = lines[place].split(separator)
    chance.shuffle(cells)
    lines[place] = separator.join(cells[: chance.choice((len(cells), len(cells) - 1))])
    return lines


def _swapped_columns(lines: list[str], chance: random.Random, separator: str) -> list[str]:
    """The same two cells swapped, or one doubled, in every line."""
    width = max(1, lines[0].count(separator) + 1)
    a, b, twice = chance.randrange(width), chance.randrange(width), chance.random() < 0.3
    changed = []
    for line in lines:
        cells = line.split(separator)
        if max(a, b) < len(cells):
            cells[a], cells[b] = cells[b], cells[b] if twice else cells[a]
        changed.append(separator.join(cells))
    return changed


def _changed_column(lines: list[str], chance: random.Random, separator: str) -> list[str]:
    """One value in a whole column, its name left."""
    place, value = chance.randrange(max(1, lines[0].count(separator) + 1)), _value(chance)
    split = [line.split(separator) for line in lines]
    return [lines[0]] + [
        separator.join([*cells[:place], value, *cells[place + 1 :]]) if place < len(cells) else separator.join(cells)
        for cells in split[1:]
    ]


def _character(lines: list[str], chance: random.Random, _: str) -> list[str]:
    place = chance.randrange(len(lines))
    line, at = lines[place], chance.randrange(len(lines[place]) + 1)
    lines[place] = chance.choice((f"{line[:at]}{line[at + 1 :]}", f"{line[:at]}{_value(chance)}{line[at:]}"))
    return lines


def _separators(lines: list[str], chance: random.Random, separator: str) -> list[str]:
    other = chance.choice((";", "\t", "|", ":", " ", ",,"))
    return [line.replace(separator, other) for line in lines] if chance.random() < 0.5 else [f"sep={other}", *lines]


def _line_ends(lines: list[str], chance: random.Random, _: str) -> list[str]:
    end = chance.choice(("\r", "\r\r", "\x85", "\u2028", "\x00", " "))
    return [f"{line}{end}" for line in lines]


TEXT_DAMAGES = (
    *(_swapped_lines, _repeated_line, _lost_line, _changed_cell, _changed_cell, _changed_cell, _changed_cell),
    *(_swapped_cells, _swapped_columns, _changed_column, _changed_column, _character, _character),
    *(_separators, _line_ends),
)


def _twin_key(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    place = chance.randrange(len(lines))
    return "\n".join([*lines[:place], lines[place], *lines[place:]])


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
