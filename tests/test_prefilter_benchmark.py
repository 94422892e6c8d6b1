"""python -m pipelines.prefilter.benchmark, small."""

import json
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from conftest import REPOSITORY

from pipelines.prefilter.benchmark import measurement, peers, vectors
from rgan_tf.errors import UserError


def run(directory, *more):
    command = [sys.executable, "-m", "pipelines.prefilter.benchmark", f"--directory={directory}", *more]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_the_command_measures_and_goes_on(tmp_path):
    done = run(tmp_path, "--sizes=2000", "--peers=exact", "--k=8")
    assert done.returncode == 0, done.stderr
    (exact,) = json.loads((tmp_path / "results.json").read_text())
    assert (exact["size"], exact["peer"], exact["k"], exact["recall"]) == (2000, "exact", 8, 1.0)
    assert exact["rate"] > 0 and exact["build"] >= 0
    done = run(tmp_path, "--sizes=2000", "--peers=ours_scann,ours_faiss,exact", "--k=8")
    assert done.returncode == 0, done.stderr
    # What was measured stays.
    assert "exact, 2,000 vectors" not in done.stdout and "ours_scann, 2,000 vectors" in done.stdout
    rows = json.loads((tmp_path / "results.json").read_text())
    assert rows[0] == exact and {row["peer"] for row in rows[1:]} == {"ours_scann", "ours_faiss"}
    assert all(row["recall"] >= 0.99 for row in rows)
    text = (tmp_path / "results.md").read_text()
    assert text.count("\n") == 5 and "| 2,000 | ours_scann |" in text and "| 1.0 |" in text


@pytest.mark.parametrize(
    "flag, sentence",
    [("--peers=annoy", "--peers names 'annoy'"), ("--sizes=10", "at least 1000"), ("--sizes=", "at least 1000")],
)
def test_flags_that_make_no_sense(tmp_path, flag, sentence):
    done = run(tmp_path, flag, *([] if "peers" in flag else ["--peers=exact"]))
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr


def test_a_library_that_is_not_there_is_named(monkeypatch):
    def missing(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(peers.metadata, "version", missing)
    with pytest.raises(
        UserError, match=r"usearch needs the package usearch: install rgan-tf\[search\], or leave it out"
    ):
        peers.version_of("usearch")


def test_vectors_are_a_function_of_their_number_and_seed(tmp_path):
    points, queries = (np.load(path) for path in vectors.write_vectors(tmp_path, 3000))
    (tmp_path / "again").mkdir()
    again = [np.load(path) for path in vectors.write_vectors(tmp_path / "again", 3000)]
    np.testing.assert_array_equal(points, again[0])
    assert points.shape == (3000, 128) and queries.shape == (2000, 128) and points.dtype == np.float32
    truth = np.load(measurement.truth_file(str(tmp_path), 3000, 5))
    distances = np.linalg.norm(points[None, :, :] - queries[:20, None, :].astype(np.float64), axis=-1)
    np.testing.assert_array_equal(truth[:20], np.argsort(distances, axis=1, kind="stable")[:, :5])
    # Clustered: the nearest is far nearer than most.
    nearest, middle = np.sort(distances, axis=1)[:, 0], np.median(distances, axis=1)
    assert (nearest < 0.7 * middle).all()
