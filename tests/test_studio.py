"""The studio without a browser: edits, sentences, addresses, steps back and forth, and who draws when."""

import json
import threading
import time
from urllib.parse import quote

import numpy as np
import pytest

from export.studio.examples import examples
from export.studio.pictures import difference, shown_order
from export.studio.scene_editor import MOST_CHARACTERS, SceneEditor, StudioScene
from export.studio.sentences import read_sentences
from export.studio.sessions import Drawn, Session, SessionError, Sessions
from export.studio.turns import BusyError, Turns
from rgan_tf.scene_graph import SceneError, SceneGraph, Vocabulary
from rgan_tf.scene_requests import GeneratedScene

NAMES = Vocabulary.from_names(
    ("sky", "sea", "boat", "sheep", "traffic light", "area 51"), ("above", "left of", "on", "standing on")
)
EDITOR = SceneEditor(NAMES, 4, 3)
SCENE = StudioScene(
    SceneGraph(
        ("sky", "sea", "boat"),
        ((0, "above", 1), (2, "on", 1)),
        boxes=(None, (0.0, 0.5, 1.0, 1.0), None),
        patches=(None, None, 7),
    ),
    seed=3,
)


def test_edits():
    more = EDITOR.add(SCENE, " sheep ")
    assert more.graph.objects == ("sky", "sea", "boat", "sheep") and more.boxes[3] is None and more.seed == 3
    renamed = EDITOR.rename(SCENE, 2, "sheep")
    assert renamed.graph.objects == ("sky", "sea", "sheep") and renamed.graph.patches is None
    assert EDITOR.rename(SCENE, 2, "boat") == SCENE
    # Relations that name it go, the others follow their objects; so do boxes and patches.
    less = EDITOR.remove(SCENE, 0)
    assert less.graph == SceneGraph(
        ("sea", "boat"), ((1, "on", 0),), boxes=((0.0, 0.5, 1.0, 1.0), None), patches=(None, 7)
    )
    assert EDITOR.relate(SCENE, 0, "left of", 2).graph.relationships[-1] == (0, "left of", 2)
    assert EDITOR.relate(SCENE, 0, "above", 1) == SCENE
    assert EDITOR.unrelate(SCENE, 0).graph.relationships == ((2, "on", 1),)
    assert EDITOR.place(SCENE, 0, (0, 0, 1, 0.25)).boxes[0] == (0, 0, 1, 0.25)
    assert EDITOR.place(SCENE, 1, None).graph.boxes is None
    assert EDITOR.pin(SCENE, 0, 5).patches == [5, None, 7] and EDITOR.pin(SCENE, 2, None).graph.patches is None
    assert EDITOR.reseed(SCENE, 9) == StudioScene(SCENE.graph, 9)


@pytest.mark.parametrize(
    "edit, words",
    [
        (lambda: EDITOR.add(SCENE, "unicorn"), "The scene has the unknown name 'unicorn'"),
        (lambda: EDITOR.add(SCENE, None), "it must be a name"),
        (lambda: EDITOR.add(EDITOR.add(SCENE, "sheep"), "sheep"), "has 5 objects; this model takes at most 4"),
        (lambda: EDITOR.rename(SCENE, 0, "skie"), "the nearest known are sky"),
        (lambda: EDITOR.remove(StudioScene(SceneGraph(("sky",))), 0), "has no objects"),
        (lambda: EDITOR.relate(SCENE, 1, "above", 1), "relates object 1 to itself"),
        (lambda: EDITOR.relate(SCENE, 0, "under", 1), "unknown name 'under' as predicate"),
        (lambda: EDITOR.place(SCENE, 0, (0.5, 0, 0.5, 1)), "has the box"),
        (lambda: EDITOR.reseed(SCENE, -1), "The seed is -1"),
        (lambda: EDITOR.reseed(SCENE, None), "The seed is None"),
        (lambda: EDITOR.from_text(""), "tells of nothing"),
        (lambda: EDITOR.from_text("sky over sea"), "unknown name 'sky over sea'"),
        (lambda: EDITOR.from_text("{"), "not valid JSON"),
        (lambda: EDITOR.from_text("[" * 9_000), "not valid JSON"),
        (lambda: EDITOR.from_text('[{"objects": ["sky"]}, {"objects": ["sea"]}]'), "holds 2 scenes"),
        (lambda: EDITOR.from_text("x" * (MOST_CHARACTERS + 1)), f"at most {MOST_CHARACTERS}"),
        (lambda: EDITOR.from_address("#3"), "The address holds no scene"),
        (lambda: EDITOR.from_address("#" + quote('{"objects": ["sky"], "seed": 1.5}')), "The seed is 1.5"),
        (lambda: EDITOR.from_address("#" + quote('{"objects": ["sky"], "file": "/etc/passwd"}')), "unknown key"),
    ],
)
def test_what_makes_no_scene_is_one_sentence(edit, words):
    with pytest.raises(SceneError) as caught:
        edit()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_an_address_brings_the_scene_back():
    for scene in (SCENE, StudioScene(SceneGraph(("sky",))), EDITOR.place(SCENE, 0, (0.1, 0.2, 0.3333, 1))):
        address = EDITOR.to_address(scene)
        assert address.startswith("#") and address.isascii() and not set('"<> ') & set(address)
        again = EDITOR.from_address(address)
        assert again.to_dict() == scene.to_dict() and again.seed == scene.seed
        assert EDITOR.to_address(again) == address


def test_a_scene_is_saved_as_generate_takes_it(tmp_path):
    from rgan_tf.scene_graph import load_scenes

    (tmp_path / "scene.json").write_text(json.dumps(SCENE.to_dict()))
    assert load_scenes(tmp_path / "scene.json", NAMES, 4, 3) == [SCENE.graph]
    assert EDITOR.from_text(json.dumps(SCENE.to_dict()), 3) == SCENE


@pytest.mark.parametrize(
    "text, objects, triples",
    [
        ("sky above sea, boat on sea", ("sky", "sea", "boat"), ((0, "above", 1), (2, "on", 1))),
        # The longer predicate, names of several words, spaces, other marks, a repetition, an object alone.
        (
            "sheep  standing on area 51;traffic light left of sheep.\nsheep standing on area 51\nsky",
            ("sheep", "area 51", "traffic light", "sky"),
            ((0, "standing on", 1), (2, "left of", 0)),
        ),
        ("sheep 1 left of sheep 2, sheep 1 above sea", ("sheep", "sheep", "sea"), ((0, "left of", 1), (0, "above", 2))),
    ],
)
def test_sentences(text, objects, triples):
    assert read_sentences(text, NAMES) == SceneGraph(objects, triples)


def test_sentences_without_a_vocabulary():
    assert read_sentences("big dog left of cat", None) == SceneGraph(("big dog", "cat"), ((0, "left of", 1),))
    with pytest.raises(SceneError, match='number them: "sheep 1"'):
        read_sentences("sheep left of sheep", None)


def test_what_a_scene_tells_is_read_back():
    for scene in examples(None, 30, 30):
        text = ", ".join(scene.phrases())
        read = read_sentences(text, None)
        if {predicate for _, predicate, _ in scene.relationships} <= {
            "above",
            "inside",
            "left of",
            "right of",
            "below",
        }:
            assert sorted(read.phrases()) == sorted(scene.phrases())


def test_examples_are_those_that_the_model_knows():
    assert [scene.objects for scene in examples(NAMES, 9, 9)] == [("sky",)]
    known = Vocabulary.from_names(("sky", "sea", "boat", "sun"), ("above", "inside"))
    assert examples(known, 9, 9)[0].objects == ("sky", "sea", "boat", "sun")
    assert examples(known, 3, 9) == [SceneGraph(("sky",))]
    assert len(examples(None, 9, 9)) > 5


def test_undo_and_redo():
    session = Session(SCENE)
    assert not session.undo() and not session.redo() and session.can == (False, False)
    for seed in (4, 5, 6):
        assert session.edit(lambda scene, seed=seed: EDITOR.reseed(scene, seed))
    assert not session.edit(lambda scene: scene)
    with pytest.raises(SceneError):
        session.edit(lambda scene: EDITOR.add(scene, "unicorn"))
    assert session.undo() and session.undo() and session.present == (5, StudioScene(SCENE.graph, 4))
    assert session.redo() and session.present[1].seed == 5 and session.can == (True, True)
    session.edit(lambda scene: EDITOR.reseed(scene, 9))
    assert session.can == (True, False) and not session.redo()
    for seed in range(1000):
        session.edit(lambda scene, seed=seed: EDITOR.reseed(scene, seed))
    steps = 0
    while session.undo():
        steps += 1
    assert steps == 200, "the oldest steps are forgotten"


def test_clicks_that_a_page_merged_are_counted():
    session = Session(SCENE)
    assert [session.clicks("undo", count) for count in (1, 2, 5, 5, 4, 6)] == [1, 1, 3, 0, 0, 1]
    assert session.clicks("redo", 2) == 2


def test_graphs_that_a_page_may_still_show():
    session = Session(SCENE)
    for seed in range(60):
        session.edit(lambda scene, seed=seed: EDITOR.reseed(scene, 100 + seed))
    session.edit(lambda scene: EDITOR.remove(scene, 0))
    assert session.graph_at(61).objects == ("sea", "boat") and session.graph_at(60) == SCENE.graph
    assert session.graph_at(0) is None and session.graph_at(99) is None


def test_pages_are_apart_and_the_oldest_goes():
    sessions = Sessions(most=2)
    first, second = (sessions.create(SCENE) for _ in range(2))
    sessions.get(first).edit(lambda scene: EDITOR.reseed(scene, 8))
    assert sessions.get(second).present == (0, SCENE) and len(first) > 20
    sessions.get(first)
    sessions.create(SCENE)
    assert sessions.get(first).present[1].seed == 8
    with pytest.raises(SessionError, match="reload the page"):
        sessions.get(second)


def drawn(revision, scene, shade=0):
    image = np.full((4, 4, 3), shade, np.uint8)
    return Drawn(revision, scene, GeneratedScene(image, np.zeros((3, 4), np.float32)), None)


def test_changes_while_a_picture_is_drawn_are_merged():
    session, turns, made, answers = Session(SCENE), Turns(2), [], {}
    begun, go_on = threading.Event(), threading.Event()

    def make(revision, scene):
        made.append(revision)
        begun.set()
        assert go_on.wait(20)
        return drawn(revision, scene, revision)

    def ask(number):
        answers[number] = turns.draw(session, make)

    threads = [threading.Thread(target=ask, args=(0,))]
    threads[0].start()
    assert begun.wait(20)
    for number in range(1, 21):
        session.edit(lambda scene, number=number: EDITOR.reseed(scene, 100 + number))
        threads.append(threading.Thread(target=ask, args=(number,)))
        threads[-1].start()
        # Each waits before the next one comes.
        while session.ticket != number + 1:
            time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert made == [0, 20], "the first, and the newest in the place of all that came meanwhile"
    assert [n for n in range(21) if answers[n] is not None] == [0, 20]
    assert answers[20].revision == 20 and session.drawn is answers[20] and session.before.revision == 0
    # Nothing changed: nothing is drawn again.
    assert turns.draw(session, make) is session.drawn and made == [0, 20]


def test_a_refusal_leaves_the_page_able_to_draw():
    session, turns = Session(SCENE), Turns(1)

    def refuse(revision, scene):
        raise SceneError("no")

    for _ in range(3):
        with pytest.raises(SceneError):
            turns.draw(session, refuse)
    assert turns.draw(session, drawn).revision == 0


def test_pages_share_the_places():
    turns, most, now, lock = Turns(2), [0], [0], threading.Lock()

    def make(revision, scene):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return drawn(revision, scene)

    threads = [threading.Thread(target=turns.draw, args=(Session(SCENE), make)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most[0] == 2
    with turns.place(), turns.place(), pytest.raises(BusyError, match="no place became free"):
        with turns.place(patience=0.05):
            raise AssertionError("a third place")


def test_small_boxes_lie_on_top():
    boxes = np.array([[0, 0, 1, 1], [0.2, 0.2, 0.3, 0.3], [0, 0.5, 1, 1]], np.float32)
    assert shown_order(boxes) == [0, 2, 1]


def test_what_changed():
    before = np.zeros((4, 4, 3), np.uint8)
    after = before.copy()
    after[0, 0, 1], after[1, 1, 2] = 200, 10
    shown, share = difference(before, after)
    assert share == 1 / 16 and shown[0, 0].tolist() == [255] * 3 and shown[1, 1].tolist() == [12] * 3
    assert difference(after, after)[1] == 0 and difference(after, after)[0].max() == 0
