"""The benchmark command on tiny sizes: its figures are there and fit each other."""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY


def test_benchmark_measures_the_step_and_its_parts(tmp_path):
    command = [sys.executable, "-m", "rgan_tf.benchmark", "--config_file=tests/tiny.yaml", "--steps=2"]
    command += ["--bank_patches=4000", f"--output={tmp_path}/figures.json", "--against=runtime.skip_padding=false"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["bank_patches"] == 4000
    assert figures["bank_mib"] > 4000 * 16 * 16 * 3 / 2**20
    assert figures["images_per_second"] == pytest.approx(figures["batch_size"] / figures["step_seconds"])
    assert 0.0 <= figures["input_wait_share"] < 1.0
    for part in ("retrieval_loop", "patch_encoder", "generator", "discriminators", "feature_network"):
        assert 0.0 < figures[f"{part}_seconds"]
        assert figures[f"{part}_share"] == pytest.approx(figures[f"{part}_seconds"] / figures["step_seconds"])
        assert f"{part}_share" in done.stdout
    assert figures["search_to_generator"] == pytest.approx(
        figures["search_seconds"] / figures["generator_forward_seconds"]
    )
    assert 3 <= figures["objects_per_scene"] <= 4
    assert 0.0 < figures["against_ratio_median"] and 0.0 < figures["against_ratio_of_sums"]
    assert 0.0 < figures["against_step_seconds"]


def test_only_ways_to_run_can_be_compared():
    command = [sys.executable, "-m", "rgan_tf.benchmark", "--config_file=tests/tiny.yaml", "--against=training.steps=8"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "error: --against is 'training.steps=8'" in done.stderr
