"""Scene graphs: sg2im's JSON, padding, and every way to get it wrong."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgan_tf.scene_graph import SceneError, SceneGraph, Vocabulary, load_scenes, pad_scenes, parse_scenes, unpad_scene

NAMES = Vocabulary.from_names(["sky", "grass", "sheep"], ["above", "standing on"])
SCENE = {"objects": ["sky", "grass", "sheep"], "relationships": [[0, "above", 1], [2, "standing on", 1]]}


def parse(content):
    return parse_scenes(content, NAMES, max_objects=4, max_triples=3)


def test_reserved_ids_come_first_and_vocabulary_reads_back(tmp_path):
    assert NAMES.objects[0] == "__image__" and NAMES.predicates[0] == "__in_image__"
    assert (NAMES.num_objects, NAMES.num_predicates) == (4, 3)
    NAMES.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json") == NAMES


def test_vocabulary_refuses_repeated_names():
    with pytest.raises(ValueError, match="sky"):
        Vocabulary.from_names(["sky", "sky"], ["above"])


def test_scene_or_list_of_scenes():
    assert parse(SCENE) == parse([SCENE])
    assert parse(SCENE)[0].in_words() == "sky above grass, sheep standing on grass"
    assert parse({"objects": ["sky", "grass"]})[0].in_words() == "sky, grass"


def test_boxes_and_patches_may_be_left_open():
    scene = parse({**SCENE, "boxes": [[0, 0, 1, 0.5], None, None], "patches": [None, 7, None]})[0]
    assert scene.boxes == ((0.0, 0.0, 1.0, 0.5), None, None)
    assert scene.patches == (None, 7, None)
    assert parse(scene.to_dict())[0] == scene


def test_padding_worked_out_by_hand():
    padded = pad_scenes(parse({**SCENE, "boxes": [None, [0, 0.5, 1, 1], None]}), NAMES, 4, 3)
    np.testing.assert_array_equal(padded["objects"], [[1, 2, 3, 0]])
    np.testing.assert_array_equal(padded["object_mask"], [[True, True, True, False]])
    np.testing.assert_array_equal(padded["triples"], [[[0, 1, 1], [2, 2, 1], [0, 0, 0]]])
    np.testing.assert_array_equal(padded["triple_mask"], [[True, True, False]])
    np.testing.assert_array_equal(padded["box_given"], [[False, True, False, False]])
    np.testing.assert_array_equal(padded["boxes"][0, 1], [0, 0.5, 1, 1])


@given(st.data())
def test_padding_reads_back(data):
    objects = data.draw(st.lists(st.sampled_from(NAMES.objects[1:]), min_size=2, max_size=4))
    pairs = st.tuples(st.integers(0, len(objects) - 1), st.integers(0, len(objects) - 1)).filter(lambda p: p[0] != p[1])
    triple = st.tuples(pairs, st.sampled_from(NAMES.predicates[1:])).map(lambda t: (t[0][0], t[1], t[0][1]))
    scene = SceneGraph(tuple(objects), tuple(data.draw(st.lists(triple, max_size=3))))
    padded = pad_scenes([scene], NAMES, 4, 3)
    rows = (padded[name][0] for name in ("objects", "object_mask", "triples", "triple_mask"))
    assert unpad_scene(*rows, NAMES) == scene


@pytest.mark.parametrize(
    "change, words",
    [
        ({"objects": ["sky", "gras", "sheep"]}, ["'gras'", "object 1", "grass"]),
        ({"objects": []}, ["no objects"]),
        ({"objects": "sky"}, ['"objects"']),
        ({"objects": ["sky"] * 5}, ["5 objects", "at most 4"]),
        ({"objects": ["sky", 3, "sheep"]}, ["3", "object 1"]),
        ({"objects": ["__image__", "grass", "sheep"]}, ["__image__"]),
        ({"relationships": [[0, "abov", 1]]}, ["'abov'", "above"]),
        ({"relationships": [[0, "above", 3]]}, ["3", "from 0 to 2"]),
        ({"relationships": [[0, "above", -1]]}, ["-1"]),
        ({"relationships": [[True, "above", 1]]}, ["True"]),
        ({"relationships": [[1, "above", 1]]}, ["itself"]),
        ({"relationships": [[0, "above"]]}, ["relationship 0"]),
        ({"relationships": [[0, "above", 1]] * 4}, ["4 relationships", "at most 3"]),
        ({"relationships": {}}, ["not a list"]),
        ({"boxes": [[0, 0, 1, 1]]}, ["boxes", "3"]),
        ({"boxes": [[0, 0, 1.2, 1], None, None]}, ["1.2", "object 0"]),
        ({"boxes": [[0.5, 0, 0.5, 1], None, None]}, ["x0 < x1"]),
        ({"boxes": [[0, 0, float("nan"), 1], None, None]}, ["nan"]),
        ({"patches": [1.5, None, None]}, ["1.5"]),
        ({"patches": [-1, None, None]}, ["-1"]),
        ({"colour": 1}, ["'colour'"]),
    ],
)
def test_every_fault_is_one_sentence_naming_the_value(change, words):
    with pytest.raises(SceneError) as caught:
        parse([SCENE, {**SCENE, **change}])
    message = str(caught.value)
    assert message.startswith("Scene 1 ") and "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("text", ["", "{", '{"objects": ["sky"]', "\x00", "[]", "3", '"sky"', "null"])
def test_malformed_files_are_refused(tmp_path, text):
    (tmp_path / "scene.json").write_text(text)
    with pytest.raises(SceneError):
        load_scenes(tmp_path / "scene.json", NAMES, 4, 3)


def test_missing_and_binary_files_are_named(tmp_path):
    (tmp_path / "noise.json").write_bytes(bytes(range(256)))
    for name in ("nowhere.json", "noise.json"):
        with pytest.raises(SceneError, match=name):
            load_scenes(tmp_path / name, NAMES, 4, 3)


def test_file_reads_like_its_content(tmp_path):
    (tmp_path / "scene.json").write_text(json.dumps(SCENE))
    assert load_scenes(tmp_path / "scene.json", NAMES, 4, 3) == parse(SCENE)


def test_without_a_vocabulary_any_name_will_do_and_all_else_is_checked():
    scene = {"objects": ["unicorn", "rainbow's end"], "relationships": [[0, "beyond", 1]]}
    assert parse_scenes(scene, None, 4, 3)[0].to_dict() == scene
    changes = [
        ({"objects": ["unicorn", ""]}, "''"),
        ({"objects": ["unicorn", "\ud800"]}, "ud800"),
        ({"objects": ["a\nb", "c"]}, r"a\\nb"),
        ({"objects": ["unicorn"] * 5}, "at most 4"),
        ({"relationships": [[0, "beyond", 2]]}, "from 0 to 1"),
        ({"relationships": [[0, 3, 1]]}, "3"),
        ({"patches": [2**63, None]}, str(2**63)),
    ]
    for change, words in changes:
        with pytest.raises(SceneError, match=words):
            parse_scenes({**scene, **change}, None, 4, 3)
