"""Scores of the compatibility study against published values, SciPy and brute force; files that cannot be scored."""

import itertools
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from test_study import NAMES, made_sets

from rgan_tf.evaluation.study import scores as study_scores
from rgan_tf.evaluation.study.pages import write_study
from rgan_tf.evaluation.study.scores import Answers, Key, StudyError


@pytest.mark.parametrize(
    "successes, count, low, high",
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_the_published_one(successes, count, low, high):
    np.testing.assert_allclose(study_scores.wilson(successes, count), (low, high), atol=6e-5)


def test_wilson_interval_is_scipys():
    for count, successes in ((n, k) for n in (1, 2, 7, 40) for k in range(n + 1)):
        expected = stats.binomtest(successes, count).proportion_ci(0.95, method="wilson")
        np.testing.assert_allclose(study_scores.wilson(successes, count), expected, atol=1e-12)


def test_bootstrap_is_the_distribution_over_all_ways_to_draw_raters():
    shares = np.array([0.2, 0.45, 0.6, 0.65, 0.9])
    every = [np.mean(drawn) for drawn in itertools.product(shares, repeat=5)]
    np.testing.assert_allclose(study_scores.bootstrap(shares), np.percentile(every, (2.5, 97.5)), atol=0.011)
    assert study_scores.bootstrap(shares) == study_scores.bootstrap(shares)
    assert study_scores.bootstrap(np.array([0.3, 0.3])) == (0.3, 0.3)


def test_score_counts_what_was_preferred():
    draws = np.random.default_rng(0)
    key = Key("id", NAMES, draws.integers(0, 2, 11))
    answers = [Answers(f"r{i}", draws.integers(0, 2, 11)) for i in range(3)]
    first = [[(key.left[q] if item.sides[q] == 0 else 1 - key.left[q]) == 0 for q in range(11)] for item in answers]
    result = study_scores.score(key, answers)
    assert (result.raters, result.answers, result.workspaces) == (3, 33, NAMES)
    assert result.share == pytest.approx(sum(map(sum, first)) / 33)
    assert result.left_share == pytest.approx(np.mean([side == 0 for item in answers for side in item.sides]))
    np.testing.assert_allclose(result.by_rater, [sum(row) / 11 for row in first])
    assert result.wilson == study_scores.wilson(sum(map(sum, first)), 33)
    assert result.bootstrap == study_scores.bootstrap(result.by_rater)
    assert study_scores.score(key, answers[:1]).bootstrap is None


def test_score_is_printed_for_both():
    key = Key("id", NAMES, np.zeros(40, int))
    sides = np.repeat([0, 1], [30, 10])
    lines = study_scores.score(key, [Answers("a", sides), Answers("b", sides)]).lines()
    assert lines[0] == "raters: 2, answers: 80; share preferred, with 95 % intervals:"
    assert re.match(r"runs/full_model    75\.0 %  Wilson \[64\.5, 83\.2\]  bootstrap .* \[75\.0, 75\.0\]", lines[1])
    assert re.match(r"runs/plain_model   25\.0 %  Wilson \[16\.8, 35\.5\]", lines[2])
    assert lines[3] == "The left side was chosen in 75.0 % of the answers."


@pytest.fixture
def study_files(tmp_path):
    """A study of 4 questions, and a way to write answers to it."""
    write_study(made_sets(4), NAMES, 3, tmp_path)
    key = study_scores.read_key(tmp_path / "key.json")

    def answer(name, rater="aa", choices="left left right right", **changes):
        given = [{"question": i, "choice": choice} for i, choice in enumerate(choices.split(), start=1)]
        content = {"study": key.study, "rater": rater, "answers": given, **changes}
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    return tmp_path / "key.json", key, answer


def test_answers_are_read_in_any_order(study_files):
    path, key, answer = study_files
    content = json.loads(path.read_text())
    assert [NAMES[which] for which in key.left] == [entry["left"]["workspace"] for entry in content["questions"]]
    shuffled = [{"question": q, "choice": "right" if q > 2 else "left"} for q in (3, 1, 4, 2)]
    read = study_scores.read_all([answer("a.json"), answer("b.json", "bb", answers=shuffled)], key)
    assert [item.rater for item in read] == ["aa", "bb"]
    for item in read:
        assert item.sides.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"choices": "left left"}, "is incomplete: 2 of 4 questions have no answer, the first is 3"),
        ({"choices": "left"}, "is incomplete: 3 of 4"),
        ({"study": "other"}, "answers the study other, not"),
        ({"choices": "left left both right"}, "answers question 3 with 'both'; it must be left or right"),
        ({"answers": [{"question": 1, "choice": "left"}] * 2}, "answers question 1 twice"),
        ({"answers": [{"question": 5, "choice": "left"}]}, "answers question 5; the study has 1 to 4"),
        ({"answers": [{"question": "1", "choice": "left"}]}, "answers question '1'"),
        ({"answers": ["left"]}, "holds no answers"),
        ({"answers": None}, "holds no answers"),
        ({"rater": ""}, "has '' as its rater"),
    ],
)
def test_answers_that_cannot_be_scored_are_named(study_files, changes, message):
    _, key, answer = study_files
    with pytest.raises(StudyError, match=f"bad.json {message}"):
        study_scores.read_answers(answer("bad.json", **changes), key)


def test_files_that_are_no_answers_are_named(study_files, tmp_path):
    path, key, answer = study_files
    with pytest.raises(StudyError, match="b.json is of the same rater as .*a.json"):
        study_scores.read_all([answer("a.json"), answer("b.json")], key)
    with pytest.raises(StudyError, match="absent.json cannot be read: No such file"):
        study_scores.read_answers(tmp_path / "absent.json", key)
    (tmp_path / "junk.json").write_text("{")
    with pytest.raises(StudyError, match="junk.json is not valid JSON"):
        study_scores.read_answers(tmp_path / "junk.json", key)
    with pytest.raises(StudyError, match="key.json holds no answers"):
        study_scores.read_answers(path, key)
    with pytest.raises(StudyError, match="a.json is no key of a study"):
        study_scores.read_key(tmp_path / "a.json")


def command(*flags):
    done = subprocess.run(
        [sys.executable, "-m", "rgan_tf.evaluation.study", *flags],
        cwd=pathlib.Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_command_scores(study_files):
    path, _, answer = study_files
    files = f"{answer('a.json')},{answer('b.json', 'bb')}"
    status, out, _ = command(f"--score={files}", f"--key={path}")
    assert status == 0 and out.startswith("raters: 2, answers: 8;") and "runs/plain_model" in out
    status, _, err = command(f"--score={files}")
    assert status == 2 and err.startswith("error: --score needs --key")


def test_what_the_command_lacks_is_said():
    status, _, err = command()
    assert status == 2 and err.startswith("error: Give --workspaces=A,B and --output=DIR")
