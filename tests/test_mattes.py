"""Patches with mattes: what records say an object covers, how it is cut out, offered and shown."""

import json

import cv2
import numpy as np
import pytest
import tensorflow as tf
from coco_files import HEIGHT, WIDTH, compressed
from conftest import tiny_config

from pipelines import mattes
from pipelines.coco_stuff.builder import _matte
from pipelines.coco_stuff.scene import Scene, SceneObject
from pipelines.patch_bank.bank import PatchBank, PatchBankError
from pipelines.patch_bank.cropping import crop_patch, cut_in_threads, cut_scene
from pipelines.patch_bank.writer import build
from pipelines.synthetic_scenes.scene import draw_scene
from rgan_tf.config import ConfigError
from rgan_tf.drawing import patch_picture
from rgan_tf.ops.augmentation import DRAWS, augment

VISUAL_GENOME = "data.builder=visual_genome,data.source_dir=x,data.visual_genome.max_relationships=6"
BOX = (0.25, 0.125, 0.75, 0.875)


def picture_and_mask():
    """A red disc on green, 32 x 32, and what of each pixel it covers."""
    mask = np.zeros((32, 32), np.uint8)
    cv2.circle(mask, (16, 16), 9, 255, -1)
    return np.where(mask[..., None] > 0, np.uint8([200, 30, 10]), np.uint8([0, 255, 0])), mask


def test_a_matte_is_the_mask_within_the_box():
    _, mask = picture_and_mask()
    np.testing.assert_array_equal(mattes.decode(mattes.encode(mask, BOX), 24, 16), mask[4:28, 8:24])
    assert (mattes.decode(mattes.NONE, 3, 5) == 255).all()
    # A mask that lies elsewhere says nothing of its box.
    assert mattes.encode(mask, (0.0, 0.0, 0.1, 0.1)) == mattes.NONE
    for broken in (b"no picture", mattes.encode(mask, (0, 0, 1, 1))):
        with pytest.raises(ValueError, match=r"not uint8\[24, 16\]"):
            mattes.decode(broken, 24, 16)


def test_a_matte_fits_the_box_as_records_hold_it():
    image = np.zeros((333, 427, 3), np.uint8)
    mask = np.full(image.shape[:2], 255, np.uint8)
    mask[::2] = 0
    # Annotations lie at hundredths of pixels, many of them on half ones.
    edges = np.random.default_rng(0).integers(0, 200 * 427, (4000, 2, 2)) / 200 % [427, 333]
    boxes = np.concatenate([edges.min(axis=1), edges.max(axis=1) + 1], axis=1) / [428, 334, 428, 334]
    for box in boxes.tolist():
        crop_patch(image, np.float32(box), 8, mattes.encode(mask, box))
    edges = np.arange(0.5, 100)
    for low in edges[:-1]:
        box = (low / 427, low / 333, (low + 1) / 427, (low + 1) / 333)
        crop_patch(image, np.float32(box), 8, mattes.encode(mask, box))


def test_masks_of_synthetic_scenes_share_out_the_picture():
    scene = draw_scene(np.random.default_rng(3), 64, 0.02, 3, 8)
    # Every pixel is somebody's, in shares that are rounded.
    masks = np.stack([scene.mask(place) for place in range(len(scene.categories))])
    assert np.abs(masks.astype(int).sum(axis=0) - 255).max() <= len(masks)
    for mask, box in zip(masks, scene.boxes):
        inside = np.zeros_like(mask)
        inside[mattes.pixel_spans(box, 64, 64)] = 1
        assert (mask * inside).sum() > 0.97 * mask.sum(dtype=int)


def test_coco_mattes_are_the_segmentations(tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (WIDTH // 2, HEIGHT // 2), (30, 15), 0, 0, 360, 1, -1)
    scene, box = Scene("1", tmp_path, WIDTH, HEIGHT, ""), (0.2, 0.2, 0.8, 0.8)
    found = {}
    for name, segmentation in (("whole", compressed(mask)), ("none", None), ("broken", [[1, 2]])):
        found[name] = _matte(SceneObject("cat", box, json.dumps(segmentation).encode()), scene)
    rows, columns = mattes.pixel_spans(box, HEIGHT, WIDTH)
    expected = 255 * mask[rows, columns]
    np.testing.assert_array_equal(mattes.decode(found["whole"], *expected.shape), expected)
    assert found["none"] == found["broken"] == mattes.NONE


@pytest.mark.parametrize("size", [8, 16, 40])
def test_nothing_of_the_surroundings_bleeds_into_an_object(size):
    image, mask = picture_and_mask()
    patch = crop_patch(image, BOX, size, mattes.encode(mask, BOX)).astype(int)
    assert patch.shape == (size, size, 4)
    # Where any of it is the disc's, it is as red as the disc, but for what rounding to 8 bits takes of thin edges.
    clear = patch[..., 3] >= 64
    assert np.abs(patch[clear][:, :3] - [200, 30, 10]).max() <= 3
    # What is not the disc's is what stood around it.
    np.testing.assert_array_equal(patch[patch[..., 3] == 0][:, :3], crop_patch(image, BOX, size)[patch[..., 3] == 0])
    # The disc covers as much as it does in the picture.
    assert patch[..., 3].mean() / 255 == pytest.approx((mask[4:28, 8:24] > 0).mean(), abs=0.02)


def test_a_full_matte_leaves_the_patch_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for size in (8, 33):
        with_matte, plain = crop_patch(image, BOX, size, mattes.NONE), crop_patch(image, BOX, size)
        np.testing.assert_array_equal(with_matte[..., :3], plain)
        assert (with_matte[..., 3] == 255).all()


def scene_of(masks, image):
    boxes = np.tile(np.float32(BOX), (len(masks), 1))
    cut_out = [mattes.NONE if mask is None else mattes.encode(mask, BOX) for mask in masks]
    objects = {"category": np.arange(1, len(masks) + 1), "box": boxes, "matte": np.array(cut_out, object)}
    return {"image": image, "image_id": "a", "license": "", "objects": objects}


def test_the_bank_keeps_mattes_and_offers_what_covers_enough(tmp_path):
    image, mask = picture_and_mask()
    thin = np.zeros_like(mask)
    thin[16, 10:20] = 255
    scene = scene_of([mask, thin, None], image)
    cuts_from = cut_in_threads(lambda start: [(scene, np.zeros((3, 2)))][start:], 16, with_mattes=True)
    arguments = dict(count=3, patch_size=16, graph_feature_dim=2, progress=False)
    bank = build(cuts_from, tmp_path / "bank", **arguments, mattes=True, min_coverage=0.3)
    assert bank.has_mattes and bank.patch_shape == (16, 16, 4)
    np.testing.assert_array_equal(bank.offered, [1, 0, 3])
    np.testing.assert_array_equal(bank.gather_patches([0])[0], crop_patch(image, BOX, 16, mattes.encode(mask, BOX)))
    np.testing.assert_array_equal(bank.category, [1, 2, 3])
    every = build(cuts_from, tmp_path / "all", **arguments, mattes=True)
    np.testing.assert_array_equal(PatchBank.open(every.directory).offered, [1, 2, 3])
    with pytest.raises(PatchBankError, match="Scene 4 .*object 0 cannot be cut out: its matte is no picture"):
        broken = scene_of([mask], image)
        broken["objects"]["matte"] = [b"x"]
        cut_scene(4, broken, 16, with_mattes=True)


def test_a_bank_of_boxes_offers_all(tmp_path):
    image, mask = picture_and_mask()
    cuts_from = cut_in_threads(lambda start: [(scene_of([mask], image), np.zeros((1, 2)))][start:], 16)
    bank = build(cuts_from, tmp_path, 1, 16, 2, progress=False)
    assert not bank.has_mattes and bank.patch_shape == (16, 16, 3) and bank.offered.tolist() == [1]
    np.testing.assert_array_equal(bank.gather_patches([0])[0], crop_patch(image, BOX, 16))


@pytest.mark.parametrize(
    "overrides, said",
    [
        ("patch_bank.mattes=true", "records keep no mattes; set data.mattes"),
        ("patch_bank.min_coverage=0.2", "it asks for mattes, so set patch_bank.mattes"),
        (f"data.mattes=true,{VISUAL_GENOME}", "says of no object what it covers"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides, said):
    with pytest.raises(ConfigError, match=said):
        tiny_config(overrides)


def test_colour_changes_leave_mattes_alone():
    images = tf.constant(np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 4)), tf.float32)
    draws = tf.constant(np.random.default_rng(1).uniform(size=(3, DRAWS)), tf.float32)
    changed = augment(images, draws, ["colour"])
    np.testing.assert_array_equal(changed[..., 3], images[..., 3])
    np.testing.assert_array_equal(changed[..., :3], augment(images[..., :3], draws, ["colour"]))


def test_a_patch_is_shown_on_a_checkerboard():
    patch = np.zeros((4, 4, 4), np.uint8)
    patch[:, :2] = [200, 30, 10, 255]
    shown = np.asarray(patch_picture(patch, 48))
    assert shown.shape == (48, 48, 3)
    np.testing.assert_array_equal(shown[24, 2], [200, 30, 10])
    assert {tuple(colour) for colour in shown[:, -6:].reshape(-1, 3)} == {(255, 255, 255), (214, 214, 220)}
    assert np.asarray(patch_picture(patch[..., :3], 48)).shape == (48, 48, 3)
