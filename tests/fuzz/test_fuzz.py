"""Damaged files are read, or refused in one line that names them: a few of each kind; ``fuzz.py`` tries many."""

import json
import random

import pytest

from hepred_lib.errors import StudyError
from hepred_lib.study.deployment import load_frozen, predict_table
from tests.fuzz.fuzz import READERS, fuzz, reader_of
from tests.fuzz.mutations import as_json, as_yaml, damaged_bytes, damaged_text, damaged_tree
from tests.fuzz.runs import Models

COUNTS = {"manifest": 120, "dicom": 120, "model": 60, "results": 100, "words": 60}


@pytest.mark.parametrize("name", READERS)
def test_no_damage_to_a_file_escapes_as_another_error(tmp_path, name):
    tally = fuzz(name, COUNTS.get(name, 300), 3, tmp_path)
    assert tally.faults == {}
    assert tally.outcomes["refused"] > 0, "some are refused"
    assert tally.outcomes["read"] > 0, "some are read"


@pytest.mark.parametrize("name", READERS)
def test_a_reader_reads_what_no_damage_was_done_to(tmp_path, name, monkeypatch):
    for damage in ("damaged_bytes", "damaged_text", "damaged_tree"):
        whole = {"damaged_bytes": lambda data, *_: data, "damaged_text": lambda text, *_: text.encode()}
        whole["damaged_tree"] = lambda tree, _, dump: dump(tree).encode()
        for home in ("tables", "images", "runs"):
            monkeypatch.setattr(f"tests.fuzz.{home}.{damage}", whole[damage], raising=False)
    monkeypatch.setattr("tests.fuzz.images._damage", lambda data, chance: None)
    monkeypatch.setattr("tests.fuzz.images._other_element", lambda data, chance: data)
    monkeypatch.setattr("tests.fuzz.tables._with_damaged_part", lambda book, chance: book)
    reader, chance = reader_of(name, tmp_path), random.Random(0)
    for _ in range(10):
        reader.damage(chance)
        reader.read(chance)


def test_the_same_seed_damages_in_the_same_way():
    tree, text = {"age": 71, "sex": ["F", "M"]}, "a,b\n1,2\n"
    for damage in (
        lambda chance: damaged_tree(tree, chance, as_json),
        lambda chance: damaged_tree(tree, chance, as_yaml),
        lambda chance: damaged_text(text, chance),
        lambda chance: damaged_bytes(text.encode(), chance),
    ):
        made = [[damage(random.Random(seed)) for seed in range(200)] for _ in range(2)]
        assert made[0] == made[1]
        assert len(set(made[0])) > 100
    assert tree == json.loads(json.dumps(tree))


@pytest.mark.parametrize("moved", ["gcs", "age"])
def test_a_model_that_takes_one_column_for_another_is_refused_by_its_file(tmp_path, moved):
    models = Models(tmp_path)
    for name in ("clinical_model.json", "imputation.json"):
        path = tmp_path / "clinical" / name
        text = path.read_text(encoding="utf-8").replace('"sex"', '"?"').replace(f'"{moved}"', '"sex"')
        path.write_text(text.replace('"?"', f'"{moved}"'), encoding="utf-8")
    with pytest.raises(StudyError, match=r"clinical_model\.json .*imputation\.json.* does not fit the patients"):
        predict_table(load_frozen(tmp_path / "clinical"), models.patients)
