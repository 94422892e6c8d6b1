"""LPIPS layer by layer against convolutions written out in NumPy, what is published of it, the Diversity Score."""

import itertools
import os
import pathlib

import h5py
import numpy as np
import pytest
from scipy import ndimage

from rgan_tf.evaluation.metrics.lpips import MIN_SIZE, DiversityScore, Lpips, diversity
from rgan_tf.evaluation.metrics.lpips_weights import KERNEL_SHAPES, LpipsError

WEIGHTS_DIR = pathlib.Path(
    os.environ.get("RGAN_TF_WEIGHTS_DIR", pathlib.Path(__file__).parents[2] / "shared" / "data" / "weights")
)
PRETRAINED = WEIGHTS_DIR / "lpips_alex.npz"
needs_pretrained = pytest.mark.skipif(
    not PRETRAINED.is_file(), reason=f"no pretrained weights at {PRETRAINED} (RGAN_TF_WEIGHTS_DIR)"
)


def made_weights(seed=0):
    """Weights by layer: kernels HWIO that keep the scale of what passes, biases, heads."""
    rng = np.random.default_rng(seed)
    kernels = [rng.normal(0, np.sqrt(2 / np.prod(s[:3])), s).astype(np.float32) for s in KERNEL_SHAPES]
    biases = [rng.normal(0, 0.1, s[3]).astype(np.float32) for s in KERNEL_SHAPES]
    heads = [rng.uniform(0, 1, s[3]).astype(np.float32) for s in KERNEL_SHAPES]
    return kernels, biases, heads


def named(kernels, biases, heads):
    arrays = {}
    for i, (kernel, bias, head) in enumerate(zip(kernels, biases, heads)):
        arrays[f"slice_{i + 1}_base|layers|sequential|layers|conv2d|vars|0"] = kernel
        arrays[f"slice_{i + 1}_base|layers|sequential|layers|conv2d|vars|1"] = bias
        arrays[f"lin{i}|conv_layer|layers|conv2d|vars|0"] = head.reshape(1, 1, -1, 1)
    return arrays


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    path = tmp_path_factory.mktemp("lpips") / "weights.npz"
    np.savez(path, **named(*made_weights()))
    return path


@pytest.fixture(scope="module")
def lpips(npz):
    return Lpips(npz)


@pytest.fixture(scope="module")
def pretrained():
    return Lpips(PRETRAINED)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def numpy_convolution(maps, kernel, stride, padding):
    """Sum over the kernel's offsets of shifted pixels times the offset's matrix; maps [H, W, C]."""
    maps = np.pad(maps, [(padding, padding), (padding, padding), (0, 0)])
    height, width = ((n - kernel.shape[0]) // stride + 1 for n in maps.shape[:2])
    result = np.zeros((height, width, kernel.shape[3]))
    for y, x in np.ndindex(*kernel.shape[:2]):
        result += (
            maps[y : y + stride * height : stride, x : x + stride * width : stride][:height, :width] @ kernel[y, x]
        )
    return result


def numpy_pooling(maps):
    height, width = ((n - 3) // 2 + 1 for n in maps.shape[:2])
    windows = [maps[y : y + 2 * height : 2, x : x + 2 * width : 2][:height, :width] for y, x in np.ndindex(3, 3)]
    return np.max(windows, axis=0)


def numpy_layer_distances(a, b, kernels, biases, heads):
    """In float64, from the definition and torchvision's table of layers."""
    features = []
    for image in (a, b):
        rgb = image / 255.0 * 2 - 1
        maps, units = (rgb - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450], []
        for layer, (stride, padding) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]):
            if layer in (1, 2):
                maps = numpy_pooling(maps)
            maps = np.maximum(numpy_convolution(maps, kernels[layer], stride, padding) + biases[layer], 0)
            units.append(maps / (np.linalg.norm(maps, axis=-1, keepdims=True) + 1e-10))
        features.append(units)
    return [(((x - y) ** 2) @ head).mean() for x, y, head in zip(*features, heads)]


@pytest.mark.parametrize("size", [(31, 31), (64, 64), (45, 70)])
def test_layers_are_those_of_the_definition(lpips, size):
    a, b = draw(2, *size, 3), draw(2, *size, 3, seed=1)
    expected = [numpy_layer_distances(x, y, *made_weights()) for x, y in zip(a, b)]
    np.testing.assert_allclose(lpips.layer_distances(a, b), expected, rtol=1e-4)
    np.testing.assert_allclose(lpips(a, b), np.sum(expected, axis=1), rtol=1e-4)


def picture(size=64):
    """Sky, ground, a sun and a house: smooth areas, edges and colour."""
    y, x = np.mgrid[:size, :size] / size
    image = np.stack([80 + 60 * y, 140 + 60 * y, 220 - 40 * y], axis=-1)
    image[y > 0.7] = [70, 140, 60]
    image[(x - 0.75) ** 2 + (y - 0.2) ** 2 < 0.01] = [250, 220, 90]
    image[(abs(x - 0.35) < 0.15) & (y > 0.45) & (y < 0.8)] = [170, 90, 70]
    return image.clip(0, 255).astype(np.uint8)


def noisy(image, strength):
    noise = np.random.default_rng(0).normal(size=image.shape)
    return (image + strength * noise).clip(0, 255).astype(np.uint8)


def blurred(image, sigma):
    return ndimage.gaussian_filter(image.astype(float), (sigma, sigma, 0)).round().astype(np.uint8)


@needs_pretrained
def test_pretrained_layers_are_those_of_the_definition(pretrained):
    with np.load(PRETRAINED, allow_pickle=False) as arrays:
        named_arrays = dict(arrays)
    weights = [
        [named_arrays[f"slice_{i}_base|layers|sequential|layers|conv2d|vars|{j}"] for i in range(1, 6)] for j in (0, 1)
    ]
    heads = [named_arrays[f"lin{i}|conv_layer|layers|conv2d|vars|0"].ravel() for i in range(5)]
    a, b = picture(), noisy(picture(), 20)
    expected = numpy_layer_distances(a, b, *weights, heads)
    np.testing.assert_allclose(pretrained.layer_distances(a[None], b[None])[0], expected, rtol=1e-4)


@needs_pretrained
@pytest.mark.parametrize("distort, strengths", [(noisy, (4, 12, 36)), (blurred, (0.6, 1.2, 2.4, 4.8))])
def test_more_distortion_is_more_distance(pretrained, distort, strengths):
    image = picture(128)
    distances = pretrained(np.stack([image] * len(strengths)), np.stack([distort(image, s) for s in strengths]))
    assert (np.diff([0, *distances]) > 0.01).all()


@needs_pretrained
def test_a_small_shift_is_nearer_than_a_blur_that_pixels_prefer(pretrained):
    """What the metric was made for: squared error ranks these two the other way round."""
    image = noisy(picture(128), 30)
    shifted, blur = np.roll(image, 1, axis=1), blurred(image, 1.5)
    errors = [((image.astype(float) - other) ** 2).mean() for other in (shifted, blur)]
    near, far = pretrained(np.stack([image] * 2), np.stack([shifted, blur]))
    assert errors[0] > errors[1] and near < far


def test_identical_images_are_at_zero_and_order_does_not_matter(lpips):
    a, b = draw(3, 40, 40, 3), draw(3, 40, 40, 3, seed=1)
    np.testing.assert_array_equal(lpips(a, a), np.zeros(3))
    np.testing.assert_allclose(lpips(a, b), lpips(b, a), rtol=1e-6)
    assert (lpips(a, b) > 0).all() and lpips(a, b).dtype == np.float32


def test_each_pair_stands_for_itself(lpips):
    a, b = draw(3, 40, 40, 3), draw(3, 40, 40, 3, seed=1)
    alone = [lpips(a[i : i + 1], b[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(lpips(a, b), alone, rtol=1e-5)


def test_pixels_without_features_do_not_disturb(tmp_path):
    kernels, biases, heads = made_weights()
    biases[2] = np.full_like(biases[2], -1e6)
    np.savez(tmp_path / "dead.npz", **named(kernels, biases, heads))
    distances = Lpips(tmp_path / "dead.npz").layer_distances(draw(1, 40, 40, 3), draw(1, 40, 40, 3, seed=1))[0]
    assert distances[2] == 0 and np.isfinite(distances).all() and (distances[:2] > 0).all()


def test_h5_weights_equal_npz_weights(lpips, tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        for name, array in named(*made_weights()).items():
            file[name.replace("|", "/")] = array
    a, b = draw(1, 40, 40, 3), draw(1, 40, 40, 3, seed=1)
    np.testing.assert_array_equal(Lpips(tmp_path / "weights.h5").layer_distances(a, b), lpips.layer_distances(a, b))


@pytest.mark.parametrize(
    "a, b, message",
    [
        (draw(1, 40, 40, 3) / 255.0, draw(1, 40, 40, 3), r"uint8 images \[B, H, W, 3\]; these are float64"),
        (draw(40, 40, 3), draw(40, 40, 3), r"these are uint8 \(40, 40, 3\)"),
        (draw(0, 40, 40, 3), draw(0, 40, 40, 3), "no images"),
        (draw(1, 40, 40, 1), draw(1, 40, 40, 1), r"these are uint8 \(1, 40, 40, 1\)"),
        (draw(1, 40, 40, 3), draw(2, 40, 40, 3), r"\(1, 40, 40, 3\) and \(2, 40, 40, 3\)"),
        (draw(1, 64, 30, 3), draw(1, 64, 30, 3), "64 x 30 pixels are too small .* 31 x 31"),
    ],
)
def test_images_that_cannot_be_compared_are_named(lpips, a, b, message):
    with pytest.raises(LpipsError, match=message):
        lpips(a, b)


def test_smallest_size_is_as_small_as_can_be():
    """By the shapes alone: one pixel less leaves the last map empty."""

    def last(size):
        pooled = (size + 4 - 11) // 4 + 1
        for _ in range(2):
            pooled = (pooled - 3) // 2 + 1
        return pooled

    assert last(MIN_SIZE) == 1 and last(MIN_SIZE - 1) == 0


def change(name, value):
    arrays = named(*made_weights())
    arrays[name] = value
    return {key: array for key, array in arrays.items() if array is not None}


@pytest.mark.parametrize(
    "arrays, message",
    [
        (lambda: change("lin2|conv_layer|layers|conv2d|vars|0", None), r"lacks the array lin2\|conv_layer"),
        (
            lambda: change("lin0|conv_layer|layers|conv2d|vars|0", np.ones([64], np.float32)),
            r"lin0.* is float32 \(64,\); it must be a float array \(1, 1, 64, 1\)",
        ),
        (
            lambda: change("slice_5_base|layers|sequential|layers|conv2d|vars|1", np.ones([256], np.int32)),
            r"slice_5.* is int32 \(256,\)",
        ),
        (
            lambda: change("slice_1_base|layers|sequential|layers|conv2d|vars|1", np.full([64], np.nan)),
            "slice_1.*not finite",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays())
    with pytest.raises(LpipsError, match=f"bad.npz.*{message}"):
        Lpips(tmp_path / "bad.npz")


def test_files_that_are_none_are_named(tmp_path):
    for name in ("junk.npz", "junk.h5"):
        (tmp_path / name).write_bytes(b"junk")
        with pytest.raises(LpipsError, match=f"{name} cannot be read"):
            Lpips(tmp_path / name)
    with pytest.raises(LpipsError, match="no file .*absent.npz"):
        Lpips(tmp_path / "absent.npz")
    with pytest.raises(LpipsError, match="weights.pth must be a .npz or .h5 file"):
        Lpips(tmp_path / "weights.pth")


def test_diversity_is_the_mean_over_pairs_and_then_over_scenes(lpips):
    scenes = draw(3, 4, 40, 40, 3)
    scenes[1, 2] = scenes[1, 0]
    expected = [
        np.mean([lpips(s[i : i + 1], s[j : j + 1])[0] for i, j in itertools.combinations(range(4), 2)]) for s in scenes
    ]
    result = diversity(lpips, scenes)
    np.testing.assert_allclose(result.per_scene, expected, rtol=1e-5)
    np.testing.assert_allclose([result.mean, result.deviation], [np.mean(expected), np.std(expected)], rtol=1e-4)
    assert np.argmin(result.per_scene) == 1


def test_diversity_takes_scene_after_scene(lpips):
    scenes = [draw(2, 40, 40, 3), draw(5, 64, 48, 3, seed=1), np.repeat(draw(1, 40, 40, 3), 3, axis=0)]
    score = DiversityScore(lpips)
    added = [score.add(images) for images in scenes]
    assert added[2] == pytest.approx(0, abs=1e-9)
    np.testing.assert_array_equal(score.result().per_scene, added)
    np.testing.assert_array_equal(diversity(lpips, iter(scenes)).per_scene, added)


def test_diversity_of_nothing_is_an_error(lpips):
    score = DiversityScore(lpips)
    with pytest.raises(LpipsError, match="no scenes"):
        score.result()
    score.add(draw(2, 40, 40, 3))
    for images in (draw(1, 40, 40, 3), draw(0, 40, 40, 3)):
        with pytest.raises(LpipsError, match=f"scene 1 has {len(images)}; draw at least two"):
            score.add(images)
    assert len(score.result().per_scene) == 1
