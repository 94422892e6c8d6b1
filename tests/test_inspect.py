"""The page of a data set: its counts against a plain pass over the records, and what it shows."""

import html
import re
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, tiny_config
from test_visual_genome_workspace import SOURCE
from visual_genome_files import named, random_files, related

from pipelines.inspect import page
from pipelines.inspect.statistics import AREA_EDGES, count_split, most_objects, with_relations
from rgan_tf.training.stages import StageRunner
from rgan_tf.workspace import Workspace, WorkspaceError


def dataset_of(directory, overrides):
    workspace = Workspace(directory)
    StageRunner(workspace, tiny_config(overrides), tf.distribute.get_strategy()).make_dataset()
    return workspace


@pytest.fixture(scope="module")
def visual_genome(tmp_path_factory):
    files = random_files(tmp_path_factory.mktemp("source") / "vg")
    # A name that must not become markup, and a box of the whole picture.
    for entry in files.objects[:2]:
        entry["objects"] += [named(9000 + i, "<b>bold</b>", 0, 0, 64, 64) for i in range(2)]
    files.objects[2]["objects"][0] = named(300, "man", 0, 0, 320, 240)
    files.relationships[0]["relationships"].append(related(9000, "on", 9001))
    files.write()
    words = SOURCE.format(root=files.root).replace("max_objects=9", "max_objects=11")
    return dataset_of(tmp_path_factory.mktemp("vg"), words)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    return dataset_of(tmp_path_factory.mktemp("synthetic"), "")


def records_of(workspace, split="train"):
    return list(page.open_builder(workspace).as_dataset(split=split).as_numpy_iterator())


def counted(workspace, split="train"):
    scenes = page.open_builder(workspace).as_dataset(split=split)
    most = most_objects(scenes)
    return count_split(with_relations(scenes, most), len(scenes), split)


def test_counts_are_those_of_the_records(visual_genome):
    found, records = counted(visual_genome), records_of(visual_genome)
    assert found.scenes == len(records) == 24
    assert found.objects == Counter(int(c) for record in records for c in record["objects"]["category"])
    assert found.scenes_with == Counter(c for record in records for c in {*record["objects"]["category"].tolist()})
    assert found.predicates == Counter(int(p) for record in records for _, p, _ in record["relations"])
    assert found.objects_a_scene == Counter(len(record["objects"]["category"]) for record in records)
    assert found.relations_a_scene == Counter(len(record["relations"]) for record in records)
    boxes = np.concatenate([record["objects"]["box"] for record in records])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert found.areas.tolist() == np.histogram(areas, AREA_EDGES)[0].tolist()
    assert found.areas.sum() == found.ratios.sum() == len(boxes)
    assert found.areas[-1] >= 1


def test_relations_that_are_not_annotated_are_drawn_once(synthetic):
    found, records = counted(synthetic), records_of(synthetic)
    # One for each object of a scene of two or more.
    assert sum(found.predicates.values()) == sum(len(record["objects"]["category"]) for record in records)
    assert found.predicates == counted(synthetic).predicates
    assert sum(found.styles.values()) == len(records)


def table_after(text, title):
    """The rows of the first table below a heading."""
    table = text.split(f"<h2>{title}</h2>")[1].split("<table>")[1].split("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [[html.unescape(cell).strip() for cell in re.split(r"<t[dh][^>]*>", row)[1:]] for row in rows]


def test_the_page_shows_them(visual_genome):
    text = page.write_page(visual_genome, scenes=3).read_text(encoding="utf-8")
    head, *rows = table_after(text, "Categories")
    assert head[:3] == ["name", "train: objects", "train: scenes with"]
    found = counted(visual_genome)
    assert [int(row[1]) for row in rows] == sorted(found.objects.values(), reverse=True)
    assert "<b>bold" not in text and ["<b>bold</b>", "4", "2"] == next(row for row in rows if "bold" in row[0])[:3]
    assert "published: 62,565" in text and text.count("data:image/png") == 9
    assert [row[0] for row in table_after(text, "Predicates")[1:]] in (["on", "near"], ["near", "on"])
    assert "Every category has objects" in text
    # Nothing from elsewhere.
    assert not re.search(r"(src|href)=['\"](?!data:)", text)


def test_the_same_seed_shows_the_same_scenes(visual_genome):
    first, second, other = (page.write_page(visual_genome, 2, seed).read_text() for seed in (1, 1, 2))
    assert first == second != other


def test_categories_without_a_patch_are_named(tmp_path):
    files = random_files(tmp_path / "vg", (8, 2, 2))
    words = SOURCE.format(root=files.root) + ",data.visual_genome.min_object_side=32"
    # Frequent by name, but too small in training.
    for entry in files.objects[:4]:
        entry["objects"].append(named(entry["image_id"] * 1000, "kite", 0, 0, 31, 31))
    files.objects[-1]["objects"].append(named(99000, "kite", 0, 0, 64, 64))
    files.write()
    text = page.write_page(dataset_of(tmp_path / "w", words), scenes=0).read_text()
    assert "No object in the training split, so no patch to retrieve: kite." in text


def test_the_command(synthetic, tmp_path):
    def run(directory):
        command = [sys.executable, "-m", "pipelines.inspect", f"--workspace={directory}", "--scenes=1"]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    done = run(synthetic.root)
    assert done.returncode == 0 and done.stdout == f"The page is {synthetic.root / page.FILE}\n"
    text = (synthetic.root / page.FILE).read_text()
    assert "Training draws them anew in each epoch" in text and len(table_after(text, "Styles")) > 1
    done = run(tmp_path / "nowhere")
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_folder_with_two_data_sets_is_an_error(synthetic, tmp_path):
    workspace = Workspace(shutil.copytree(synthetic.root, tmp_path / "w"))
    found = next((workspace.root / "dataset").glob("*/*/*"))
    shutil.copytree(found, found.parent / "9.0.0")
    with pytest.raises(WorkspaceError, match="holds 2 data sets instead of one; delete "):
        page.open_builder(workspace)
