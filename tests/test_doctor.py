"""The doctor's page: what it finds on this machine, and what it says where something is missing."""

import importlib.metadata
import subprocess
import types

import pytest
import tensorflow as tf
from conftest import REPOSITORY

from rgan_tf import doctor
from rgan_tf.workspace import Workspace


def by_subject(findings):
    return {finding.subject: finding for finding in findings}


def configuration(tmp_path, overrides="", name="demo.yaml"):
    return by_subject(doctor.configuration(str(REPOSITORY / "configs" / name), overrides, Workspace(tmp_path / "w")))


def test_packages_are_held_against_the_ranges_asked_for(monkeypatch):
    assert not any(finding.mend for finding in doctor.software())
    installed = importlib.metadata.version
    changed = {"numpy": "2.1.0", "keras": "3.0.0"}
    monkeypatch.setattr(importlib.metadata, "version", lambda name: changed.get(name) or installed(name))
    found = by_subject(doctor.software())
    assert {subject for subject, finding in found.items() if finding.mend} == {"numpy", "keras"}
    assert found["keras"].found == "3.0.0" and "'keras<2.16,>=2.15'" in found["keras"].mend


def test_a_missing_package_is_named(monkeypatch):
    installed = importlib.metadata.version

    def version(name):
        if name == "scann":
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert "scann" in by_subject(doctor.software())["scann"].mend


@pytest.mark.parametrize(
    "answer, mended, words",
    [(None, False, "none; training works on the CPU"), ("NVIDIA H100, 81559 MiB, 550.54\n", True, "H100")],
)
def test_a_gpu_that_the_driver_shows_and_tensorflow_does_not_see(monkeypatch, answer, mended, words):
    def run(command, **_):
        if answer is None:
            raise FileNotFoundError(command[0])
        return subprocess.CompletedProcess(command, 0, stdout=answer)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    found = by_subject(doctor.devices())["GPUs"]
    assert words in found.found and bool(found.mend) == mended and (not mended or "[gpu]" in found.mend)


def test_the_demo_can_be_trained_here(tmp_path):
    found = configuration(tmp_path)
    assert not any(finding.mend for finding in found.values())
    assert "GiB" in found["memory it takes"].found and "none" in found["stages"].found


def test_current_stages_are_named(tiny_workspace):
    path = str(REPOSITORY / "tests" / "tiny.yaml")
    found = by_subject(doctor.configuration(path, "", tiny_workspace))
    assert "dataset" in found["stages"].found and "retrievegan" in found["stages"].found


@pytest.mark.parametrize(
    "name, overrides, subject, words",
    [
        ("demo.yaml", "training.steps=0", "configuration", "training.steps"),
        ("coco_stuff.yaml", "data.source_dir=nowhere", "data", "nowhere"),
        ("demo.yaml", "losses.feature_network.weights=none.npz", "feature network", "none.npz"),
        ("demo.yaml", "losses.feature_network.handle=http://127.0.0.1:9/x", "feature network", "cannot be reached"),
        ("demo.yaml", "runtime.num_gpus=4000", "strategy", "runtime.num_gpus"),
        ("demo.yaml", "training.batch_size=60000", "memory it takes", "training.batch_size"),
    ],
)
def test_what_is_missing_has_its_mend(tmp_path, name, overrides, subject, words):
    found = configuration(tmp_path, overrides, name)
    assert words in found[subject].mend, found


def test_the_command_prints_a_page_and_tells_by_its_status(tmp_path, capsys, monkeypatch):
    given = {
        "config_file": str(REPOSITORY / "configs" / "demo.yaml"),
        "workspace": str(tmp_path),
        "params_override": "",
    }
    monkeypatch.setattr(doctor.flags, "FLAGS", types.SimpleNamespace(**given))
    monkeypatch.setattr(doctor, "machine", lambda folder: iter([doctor.Finding("memory", "1.0 GiB", "buy some")]))
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 1
    assert "mend  memory              1.0 GiB" in lines and lines[
        lines.index("mend  memory              1.0 GiB") + 1
    ].endswith("-> buy some")
    assert all(line.startswith(("ok ", "mend ", " ")) for line in lines)
