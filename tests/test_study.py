"""The compatibility study: its page is blind and whole, and its sets are what the two workspaces draw."""

import base64
import hashlib
import html.parser
import io
import json
import re
import shutil
import types

import numpy as np
import pytest
from PIL import Image

from rgan_tf import config as config_lib
from rgan_tf.errors import UserError
from rgan_tf.evaluation.study import __main__ as study
from rgan_tf.evaluation.study import pages as study_pages
from rgan_tf.evaluation.study.pages import PatchSets, write_study
from rgan_tf.scene_graph import SceneGraph
from rgan_tf.scene_requests import GeneratedScene
from rgan_tf.workspace import Workspace

NAMES = ("runs/full_model", "runs/plain_model")
SCENE = SceneGraph(("sky", "sheep", '<b>"R&D"'), ((0, "above", 1),))


def generated(seed, size=8):
    draws = np.random.default_rng(seed)
    patches = draws.integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    ids = draws.integers(10**6, 10**7, 3)
    sources = [f"picture_{number}" for number in ids]
    return GeneratedScene(patches[0], np.zeros((3, 4)), patches, ids, sources, ["CC BY 4.0"] * 3)


def made_sets(count, sizes=(8, 8)):
    return [PatchSets(50 + i, SCENE, tuple(generated([i, j], sizes[j]) for j in (0, 1))) for i in range(count)]


class Reader(html.parser.HTMLParser):
    """Questions as lists of sides, a side as (its name, [(alternative text, picture)]); every attribute of the page."""

    def __init__(self, text):
        super().__init__()
        self.questions, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, pairs):
        attributes = dict(pairs)
        self.attributes.append((tag, attributes))
        if attributes.get("class") == "question":
            self.questions.append([])
        elif attributes.get("class") == "side":
            self.questions[-1].append((attributes["data-side"], []))
        elif tag == "img":
            data = attributes["src"].removeprefix("data:image/png;base64,")
            picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)), formats=["PNG"]))
            self.questions[-1][-1][1].append((attributes["alt"], picture))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def written(tmp_path):
    page = write_study(made_sets(7), NAMES, 3, tmp_path / "study", identical=2)
    return page.read_text(encoding="utf-8"), json.loads((tmp_path / "study" / "key.json").read_text())


def test_page_shows_each_side_what_the_key_says(written):
    page, key = written
    questions = Reader(page).questions
    assert len(questions) == len(key["questions"]) == 7
    for shown, entry, item in zip(questions, key["questions"], made_sets(7)):
        assert [side for side, _ in shown] == ["left", "right"] and entry["scene"] == item.number
        assert {entry[side]["workspace"] for side in ("left", "right")} == set(NAMES)
        for side, patches in shown:
            answer = item.drawn[NAMES.index(entry[side]["workspace"])]
            assert [name for name, _ in patches] == list(SCENE.objects)
            np.testing.assert_array_equal([picture for _, picture in patches], answer.patches)
            assert entry[side]["patch_ids"] == answer.patch_ids.tolist()
            assert (entry[side]["sources"], entry[side]["licenses"]) == (answer.sources, answer.licenses)
    assert (key["workspaces"], key["seed"], key["identical"]) == (list(NAMES), 3, 2)
    assert key["study"] in page and "sky above sheep, &lt;b&gt;&quot;R&amp;D&quot;" in page and "<b>" not in page


def test_page_tells_nothing_of_whose_the_sides_are(written):
    page, key = written
    told = "".join(Reader(page).text).lower()
    for word in ("full", "plain", "runs/", "key.json", "workspace", "picture_", "seed", "cc by"):
        assert word not in told and word not in page.lower()
    assert not any(str(number) in page for entry in key["questions"] for number in entry["left"]["patch_ids"])
    # With both workspaces exchanged and every side dealt the other way the page is the same, to the byte.
    sets, left = made_sets(7), [1, 0, 0, 1, 1, 0, 1]
    exchanged = [item._replace(drawn=item.drawn[::-1]) for item in sets]
    assert study_pages._page(sets, left) == study_pages._page(exchanged, [1 - which for which in left])


def test_sides_are_dealt_evenly_and_by_chance():
    deals = np.array([study_pages._deal_sides(9, seed) for seed in range(400)])
    assert set(deals.sum(axis=1)) == {4, 5}
    assert (abs(deals.mean(axis=0) - 0.5) < 0.1).all()
    # Neighbours are as independent as an even deal allows: agreement is near 4/9 rather than 0 or 1.
    assert (abs((deals[:, 1:] == deals[:, :-1]).mean(axis=0) - 4 / 9) < 0.1).all()
    assert study_pages._deal_sides(9, 5) == deals[5].tolist()


def test_page_loads_and_runs_nothing_but_itself(written):
    page, _ = written
    reader = Reader(page)
    assert not re.search(r"https?:|//", re.sub('base64,[^"]*"', "", page.split("<script>")[0]))
    for tag, attributes in reader.attributes:
        assert tag not in ("link", "iframe", "object", "base", "a")
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "href")]
        assert attributes.get("src", "data:").startswith("data:")
    policy = next(a["content"] for _, a in reader.attributes if a.get("http-equiv") == "Content-Security-Policy")
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    assert "{{" not in page


def test_study_is_the_same_for_the_same_seed_and_never_overwrites_another(tmp_path):
    first = write_study(made_sets(12), NAMES, 3, tmp_path / "a").read_bytes()
    assert write_study(made_sets(12), NAMES, 3, tmp_path / "a").read_bytes() == first
    other = write_study(made_sets(12), NAMES, 4, tmp_path / "b").read_bytes()
    assert other != first
    for content in ((tmp_path / "b" / "key.json").read_text(), "junk", "[]"):
        (tmp_path / "a" / "key.json").write_text(content)
        with pytest.raises(UserError, match="holds another study .*; give another --output"):
            write_study(made_sets(12), NAMES, 3, tmp_path / "a")
        assert (tmp_path / "a" / "key.json").read_text() == content
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["index.html", "key.json"]


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(UserError, match="8 x 8 pixels, the other of 16 x 16"):
        write_study(made_sets(2, sizes=(8, 16)), NAMES, 0, tmp_path / "study")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written to .*file"):
        write_study(made_sets(2), NAMES, 0, tmp_path / "file" / "study")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def changed_copy(tiny_workspace, tmp_path_factory):
    """A function that copies the tiny workspace and overrides its training's configuration."""

    def copy(overrides=""):
        root = tmp_path_factory.mktemp("changed") / "workspace"
        shutil.copytree(tiny_workspace.root, root)
        path = root / "retrievegan" / "config.yaml"
        with Workspace(root).changing("retrievegan"):
            config_lib.save_config(config_lib.load_config(path, overrides), path)
        return root

    return copy


def test_a_study_shows_what_both_workspaces_draw(tiny_workspace, changed_copy, tmp_path, monkeypatch):
    """With one model in both roles, the second time under another seed: a model takes its time to start."""
    from rgan_tf import scene_generator
    from rgan_tf.evaluation.study.sets import shared_scenes

    roots = [str(tiny_workspace.root), str(changed_copy())]
    generator = scene_generator.load(roots[0])

    def load(root):
        shift = roots.index(str(root))
        return types.SimpleNamespace(draw=lambda scenes, seed: generator.draw(scenes, seed + shift))

    monkeypatch.setattr(scene_generator, "load", load)
    page = study.make(roots, tmp_path, 100, seed=5)
    key = json.loads((tmp_path / "key.json").read_text())
    scenes = shared_scenes([Workspace(root) for root in roots])
    numbers = [entry["scene"] for entry in key["questions"]]
    assert len(scenes) == 4 and 0 < len(set(numbers)) == len(numbers) <= 4 - key["identical"]
    expected = [generator.draw(scenes, 5 + shift) for shift in (0, 1)]
    questions = Reader(page.read_text(encoding="utf-8")).questions
    for number, shown, entry in zip(numbers, questions, key["questions"]):
        for side, patches in shown:
            answer = expected[roots.index(entry[side]["workspace"])][number]
            assert [name for name, _ in patches] == list(scenes[number].objects)
            np.testing.assert_array_equal([picture for _, picture in patches], answer.patches)
            assert entry[side]["patch_ids"] == answer.patch_ids.tolist()


def graph(*names):
    return SceneGraph(names, ((0, "above", 1),) if len(names) > 1 else ())


class Drawer:
    """In place of a model: patches that depend on scene, seed and, but for scenes with a sheep, on the workspace."""

    def __init__(self, number):
        self.number = number

    def draw(self, scenes, seed):
        answers = []
        for scene in scenes:
            own = 0 if "sheep" in scene.objects else self.number
            shape = (len(scene.objects), 4, 4, 3)
            patches = np.random.default_rng([seed, own, *map(ord, "".join(scene.objects))]).integers(0, 256, shape)
            answers.append(GeneratedScene(patches[0], None, patches.astype(np.uint8), [], [], []))
        return answers


@pytest.fixture
def drawers(monkeypatch):
    """Two workspaces of 40 scenes, without models; the second's bank has no tree."""
    from rgan_tf import scene_generator
    from rgan_tf.evaluation.study import sets as study_sets
    from rgan_tf.scene_graph import Vocabulary
    from rgan_tf.training import artifacts

    names = Vocabulary.from_names(["sky", "sea", "tree", "sheep"], ["above"])
    kinds = [graph("sky", "sea"), graph("sky"), graph("sea", "tree"), graph("sky", "sheep"), graph("sea", "sky", "sea")]
    workspaces = [types.SimpleNamespace(root="first"), types.SimpleNamespace(root="second")]
    banks = {"first": np.array([1, 2, 3, 4]), "second": np.array([0, 1, 2, 2, 4])}
    monkeypatch.setattr(study_sets, "shared_scenes", lambda _: kinds * 8)
    monkeypatch.setattr(artifacts, "vocabulary", lambda _: names)
    monkeypatch.setattr(artifacts, "open_bank", lambda w: types.SimpleNamespace(offered=banks[w.root]))
    monkeypatch.setattr(scene_generator, "load", lambda root: Drawer(["first", "second"].index(root) + 1))
    return study_sets, workspaces, kinds * 8


def test_scenes_without_a_question_are_passed_over(drawers):
    study_sets, workspaces, scenes = drawers
    sets, identical = study_sets.draw_sets(workspaces, 100, seed=0)
    assert sorted(item.number for item in sets) == [n for n in range(40) if n % 5 in (0, 4)] and identical == 8
    for item in sets:
        assert item.scene == scenes[item.number]
        for which, answer in enumerate(item.drawn):
            np.testing.assert_array_equal(answer.patches, Drawer(which + 1).draw([item.scene], 0)[0].patches)


def test_scenes_come_in_an_order_of_the_seed_and_end_with_the_number_asked_for(drawers):
    study_sets, workspaces, _ = drawers

    def order(count, seed):
        sets, _ = study_sets.draw_sets(workspaces, count, seed)
        return [item.number for item in sets]

    assert order(5, 1) == order(16, 1)[:5] != order(5, 2)
    assert order(16, 1) != sorted(order(16, 1)) and len(order(5, 1)) == 5


def test_workspaces_without_a_question_are_named(drawers, monkeypatch):
    study_sets, workspaces, _ = drawers
    monkeypatch.setattr(study_sets, "shared_scenes", lambda _: [graph("sky", "sheep")] * 3)
    with pytest.raises(UserError, match="first and second retrieve the same patches for all 3 test scenes"):
        study_sets.draw_sets(workspaces, 10, seed=0)
    monkeypatch.setattr(study_sets, "shared_scenes", lambda _: [graph("sky"), graph("sky", "tree")])
    with pytest.raises(UserError, match="None of the 2 test scenes has two objects .* of first and second hold"):
        study_sets.draw_sets(workspaces, 10, seed=0)


def test_what_are_no_two_workspaces_is_said(tmp_path):
    with pytest.raises(UserError, match="--workspaces names 3; a study compares two"):
        study.make(["a", "b", "c"], tmp_path, 4)
    with pytest.raises(UserError, match="has no retrievegan"):
        study.make([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "study", 4)


def test_workspaces_with_different_scenes_are_named(tiny_workspace, changed_copy, tmp_path):
    root = str(tiny_workspace.root)
    with pytest.raises(UserError, match="different test scenes: number 0 is .* compare workspaces of one data set"):
        study.make([root, str(changed_copy("seed=9"))], tmp_path, 4, seed=0)
    renamed = changed_copy()
    path = renamed / "dataset" / "vocabulary.json"
    with Workspace(renamed).changing("dataset"):
        path.write_text(path.read_text().replace('"sky"', '"heaven"'))
    with pytest.raises(UserError, match="different vocabularies"):
        study.make([root, str(renamed)], tmp_path, 4, seed=0)
    assert not list(tmp_path.iterdir())
