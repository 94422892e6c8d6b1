"""PyTorch's files of LPIPS become ours; torch itself is played by a stand-in."""

import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
from test_lpips import made_weights, named

from rgan_tf.errors import UserError
from rgan_tf.evaluation import convert_lpips
from rgan_tf.evaluation.metrics import lpips_weights
from rgan_tf.evaluation.metrics.lpips_weights import LpipsError


def torch_state(kernels, biases, heads):
    """The two state dictionaries of PyTorch with these weights; what LPIPS does not use is there as well."""
    alexnet = {"classifier.6.weight": np.zeros((10, 4096), np.float32)}
    for position, kernel, bias in zip((0, 3, 6, 8, 10), kernels, biases):
        alexnet[f"features.{position}.weight"] = np.einsum("hwio->oihw", kernel)
        alexnet[f"features.{position}.bias"] = bias
    return alexnet, {f"lin{i}.model.1.weight": head.reshape(1, -1, 1, 1) for i, head in enumerate(heads)}


class FakeTensor:
    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    def numpy(self):
        return self.array


def test_files_of_pytorch_are_converted(monkeypatch, tmp_path):
    states = dict(zip(("alexnet.pth", "heads.pth"), torch_state(*made_weights())))
    for name in states:
        (tmp_path / name).touch()

    def load(path, map_location, weights_only):
        assert (map_location, weights_only) == ("cpu", True)
        return {name: FakeTensor(array) for name, array in states[path.name].items()}

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
    read = [convert_lpips.read_state(tmp_path / name) for name in states]
    convert_lpips.save(convert_lpips.to_our_format(*read), tmp_path / "new" / "lpips.npz")
    with np.load(tmp_path / "new" / "lpips.npz", allow_pickle=False) as arrays:
        expected = named(*made_weights())
        assert set(arrays.files) == set(expected) == set(lpips_weights.expected_shapes())
        for name, array in expected.items():
            np.testing.assert_array_equal(arrays[name], array)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["lpips.npz"]


def test_what_cannot_be_converted_is_named(monkeypatch, tmp_path):
    alexnet, heads = torch_state(*made_weights())
    with pytest.raises(LpipsError, match="--heads has no entry lin0.model.1.weight"):
        convert_lpips.to_our_format(alexnet, alexnet)
    with pytest.raises(LpipsError, match="--alexnet has no entry features.3.bias"):
        convert_lpips.to_our_format({k: v for k, v in alexnet.items() if k != "features.3.bias"}, heads)
    with pytest.raises(LpipsError, match=r"lin1.model.1.weight .* the shape \(192,\)"):
        convert_lpips.to_our_format(alexnet, {**heads, "lin1.model.1.weight": np.ones(192)})
    with pytest.raises(LpipsError, match=r"lin1.* \(1, 1, 64, 1\); it must be a float array \(1, 1, 192, 1\)"):
        convert_lpips.to_our_format(alexnet, {**heads, "lin1.model.1.weight": heads["lin0.model.1.weight"]})
    with pytest.raises(LpipsError, match="must end in .npz"):
        convert_lpips.save({}, tmp_path / "lpips.pth")

    def load(*_, **__):
        raise RuntimeError("Weights only load failed.\nLong advice.")

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
    (tmp_path / "model.pth").touch()
    with pytest.raises(LpipsError, match=r"model.pth is no PyTorch file of tensors by name \(RuntimeError\)"):
        convert_lpips.read_state(tmp_path / "model.pth")
    with pytest.raises(LpipsError, match="no file .*absent.pth"):
        convert_lpips.read_state(tmp_path / "absent.pth")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="needs torch, which is not installed"):
        convert_lpips.read_state(tmp_path / "model.pth")


def test_the_command_says_in_a_sentence_what_is_wrong(tmp_path):
    """As a process of its own, without TensorFlow; torch or not, the files are not there."""
    command = [sys.executable, "-m", "rgan_tf.evaluation.convert_lpips", f"--alexnet={tmp_path}/a.pth"]
    command += ["--heads=h.pth", f"--output={tmp_path}/o.npz"]
    done = subprocess.run(command, cwd=pathlib.Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
