"""Label files of each kind -> ((class_id, label), …), and back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyspark_vision.bundles.labels import Labels, dump_labels, parse_labels, read_labels
from pyspark_vision.errors import InvalidModelError


def test_plain_text_counts_lines_from_zero() -> None:
    assert parse_labels("cat\ndog\n", "labels.txt") == ((0, "cat"), (1, "dog"))


@pytest.mark.parametrize("name", ["labels.txt", "labels.names", "labels"])
def test_any_other_suffix_is_plain_text(name: str) -> None:
    assert parse_labels("cat\n", name) == ((0, "cat"),)


@pytest.mark.parametrize("hole", ["", "n/a", "???", "  "])
def test_hole_in_plain_text_is_an_id_without_label(hole: str) -> None:
    assert parse_labels(f"cat\n{hole}\ndog\n", "labels.txt") == ((0, "cat"), (2, "dog"))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("  tench, Tinca tinca \r\n", "tench, Tinca tinca"),
        ("crème brûlée", "crème brûlée"),
        ("# 1", "# 1"),
    ],
)
def test_plain_text_label_loses_outer_spaces_only(text: str, label: str) -> None:
    assert parse_labels(text, "labels.txt") == ((0, label),)


@pytest.mark.parametrize(
    ("item", "label"),
    [
        ('id: 3 name: "dog"', "dog"),
        ("id: 3 name: 'dog'", "dog"),
        ('name: "/m/0bt9lr" id: 3 display_name: "dog"', "dog"),
        ('display_name: "dog"\n id: 3\n name: "/m/0bt9lr"', "dog"),
        ('id:3,name:"dog"', "dog"),
        ('id: 3 name: "dog { small }"', "dog { small }"),
        ("id: 3 name: 'dog }'", "dog }"),
        ('id: 3 name: "dog\'s bowl"', "dog's bowl"),
        ("id: 3 name: 'the \"dog\"'", 'the "dog"'),
        ('id: 3 name: "id: 9"', "id: 9"),
        (r'id: 3 name: "5\" disk"', '5" disk'),
        (r"id: 3 name: 'dog\'s } bowl'", "dog's } bowl"),
        ('id: 3 name: "dog" keypoints { id: 9 name: "nose" }', "dog"),
        ('id: 3 # the "}" of a comment\n name: "dog"', "dog"),
        (r'id: 3 name: "cr\303\250me"', "crème"),
        (r'id: 3 name: "back\\slash"', "back\\slash"),
    ],
)
def test_pbtxt_item_gives_its_display_name_or_name(item: str, label: str) -> None:
    text = f'item {{ id: 1 name: "cat" }}\nitem {{ {item} }}\nitem {{ id: 5 name: "eel" }}\n'
    assert parse_labels(text, "map.pbtxt") == ((1, "cat"), (3, label), (5, "eel"))


def test_pbtxt_labels_are_sorted_by_id() -> None:
    text = "item{id:2 name:'b'}item{id:1 name:'a'}"
    assert parse_labels(text, "map.PBTXT") == ((1, "a"), (2, "b"))


def test_pbtxt_hole_is_an_id_without_label() -> None:
    text = "item{id:1 name:'???'} item{id:2 name:'b'}"
    assert parse_labels(text, "map.pbtxt") == ((2, "b"),)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{"7": "dog", "1": "cat"}', ((1, "cat"), (7, "dog"))),
        ('{"10": "b", "9": "a"}', ((9, "a"), (10, "b"))),
        ('["cat", "dog"]', ((0, "cat"), (1, "dog"))),
        ('["cat", "n/a", "dog"]', ((0, "cat"), (2, "dog"))),
        ('["cat", null, "dog"]', ((0, "cat"), (2, "dog"))),
        ('{"0": ["n01440764", "tench"], "1": ["n1", "eel"]}', ((0, "tench"), (1, "eel"))),
    ],
    ids=["object", "numeric order", "list", "hole", "null", "Keras class index"],
)
def test_json_labels(text: str, labels: Labels) -> None:
    assert parse_labels(text, "labels.json") == labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.json", "{"),
        ("labels.json", '"cat"'),
        ("labels.json", "7"),
        ("labels.json", '{"cat": "0"}'),
        ("labels.json", '{"0": ["n01440764"]}'),
        ("map.pbtxt", 'item { name: "cat" }'),
        ("map.pbtxt", "item { id: 1 }"),
    ],
)
def test_label_file_that_makes_no_sense_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidModelError, match=f"^label file {name} cannot be read: "):
        parse_labels(text, name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", ""),
        ("labels.txt", "\nn/a\n???\n"),
        ("labels.json", "{}"),
        ("labels.json", "[]"),
        ("map.pbtxt", ""),
        ("map.pbtxt", "cat\ndog\n"),
    ],
)
def test_file_without_any_label_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidModelError, match=f"^label file {name} holds no label$"):
        parse_labels(text, name)


@pytest.mark.parametrize(
    ("name", "text"),
    [("l.txt", "cat\n"), ("l.json", '["cat"]'), ("l.pbtxt", "item{id:0 name:'cat'}")],
)
def test_byte_order_mark_is_no_part_of_the_first_label(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_labels(tmp_path / name) == ((0, "cat"),)


def test_label_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("crème".encode("latin-1"))
    with pytest.raises(InvalidModelError, match=f"{re.escape(str(file))} is not UTF-8 text"):
        read_labels(file)


def test_missing_label_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=re.escape(f"no label file at {tmp_path}/x.txt")):
        read_labels(tmp_path / "x.txt")


@pytest.mark.parametrize(
    ("labels", "name", "text"),
    [
        (((0, "cat"), (1, "dog")), "labels.txt", "cat\ndog\n"),
        (((1, "cat"), (7, "dog")), "labels.json", '{\n "1": "cat",\n "7": "dog"\n}\n'),
    ],
)
def test_dense_labels_are_dumped_as_text_and_sparse_as_json(
    labels: Labels, name: str, text: str
) -> None:
    assert dump_labels(labels) == (name, text)


@pytest.mark.parametrize(
    "labels",
    [
        ((0, "cat"), (1, "dog")),
        ((1, "cat"), (2, "dog")),
        ((0, "cat"), (7, "dog")),
        ((0, "crème brûlée"), (1, "猫 🐈")),
        ((0, " outer space "),),
        ((0, "two\nlines"),),
        ((0, "carriage\rreturn"), (1, "dog")),
        ((0, "line\u2028separator"), (1, "next\x85line"), (2, "form\x0cfeed")),
        ((0, "\"quoted\" \\ 'label'"), (3, "{brace}")),
        ((0, "tab\tinside"),),
    ],
)
def test_labels_survive_dump_and_read(labels: Labels, tmp_path: Path) -> None:
    name, text = dump_labels(labels)
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / name) == labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.txt", "cat\ndog\n"),
        ("numbered.txt", "0 cat\n1 dog\n"),
        ("colons.txt", "1: dog\n0: cat\n"),
        ("class_indices.json", '{"cat": 0, "dog": 1}'),
        ("turned.json", '{"0": "cat", "1": "dog"}'),
        ("config.json", '{"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}}'),
        ("data.yaml", "path: x\nnc: 2\nnames: [cat, dog]\n"),
        ("data.yml", "names:\n  0: cat\n  1: dog\n"),
        ("labels.csv", "cat\ndog\n"),
        ("header.csv", "label\ncat\ndog\n"),
        ("ids.csv", "id,name\n1,dog\n0,cat\n"),
        ("names_first.csv", 'name,id\n"cat",0\n"dog",1\n'),
        ("no_header.csv", "0,cat\n1,dog\n"),
    ],
)
def test_label_files_as_people_have_them_give_the_same_labels(name: str, text: str) -> None:
    labels = dict(parse_labels(text, name))

    # A line `1: dog` before `0: cat` is of ids, too, where one of them is 0 or 1.
    assert labels == {0: "cat", 1: "dog"}


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        # Labels that begin with numbers are labels: those ids stand twice, or begin elsewhere.
        ("signs.txt", "30 km/h\n50 km/h\n", {0: "30 km/h", 1: "50 km/h"}),
        ("twice.txt", "1 euro\n1 dollar\n", {0: "1 euro", 1: "1 dollar"}),
        ("numbers.txt", "0\n1\n2\n", {0: "0", 1: "1", 2: "2"}),
        ("digits.json", '{"0": 0, "1": 1}', {0: "0", 1: "1"}),
        ("words.txt", "n01440764 tench\n", {0: "n01440764 tench"}),
    ],
)
def test_labels_that_look_like_ids_stay_labels(
    name: str, text: str, labels: dict[int, str]
) -> None:
    assert dict(parse_labels(text, name)) == labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("twice.csv", "id,name\n0,cat\n0,dog\n"),
        ("ids.csv", "0\n1\n"),
        ("twice.json", '{"cat": 0, "dog": 0}'),
        ("broken.yaml", "names: [cat"),
        ("no_names.yaml", "nc: 2\n"),
        ("empty.csv", ""),
    ],
)
def test_label_file_that_cannot_be_read_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidModelError, match=f"label file {name}"):
        parse_labels(text, name)
