"""How good retrieval is: whether it finds the ground truth, and whether what it retrieves fits together.

Scores over pairs count unordered pairs of different objects of one scene, (query, object) in the first score ordered
ones. A scene with fewer than two such objects has no pair and takes no part; an object without a retrieved patch (row
-1, or a patch that was removed from the bank) is in no pair.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.input_pipeline import SceneSource
from pipelines.patch_bank.bank import PatchBank
from pipelines.records import FACTORS, NO_STYLE, STYLE_NAMES, Factor, factors_of
from rgan_tf.evaluation.metrics.averages import SceneAverage, Score, UndefinedScore, check_finite
from rgan_tf.ops.relaxed_subset import candidate_distances


class OwnPatchRanks(NamedTuple):
    """Ranks of objects' own patches in a batch, all `[B, N, N]`: query object, then ranked object.

    accuracy: 1 for rank 1, shared among equals. rank: 1 is best. chance: accuracy of a random order. counted: bool.
    """

    accuracy: np.ndarray
    rank: np.ndarray
    chance: np.ndarray
    counted: np.ndarray


class GroundTruthRank:
    """Rank of an object's own patch among its candidates, from another object's own patch as the query.

    It is the setting of L_sel_gt (paper section 3.3) with every object of the scene as the query in turn instead of one
    drawn at random: no draw decides the score. The own patch competes with the object's valid candidates by the
    distance under E_p to the query; objects without candidates are not ranked. Equal distances are ranked by the mean
    over all their orders, so that an embedding that maps all patches to one point scores chance.
    """

    def __init__(self):
        """Starts with no scene."""
        names = ("accuracy", "mean_rank", "chance_accuracy", "chance_mean_rank")
        self._averages = {name: SceneAverage(f"Ground-truth {name}", "pair of rankable objects") for name in names}

    def update(self, truth_features, truth_mask, candidate_features, candidate_mask) -> OwnPatchRanks:
        """Adds scenes, and returns their ranks.

        Args:
          truth_features: `[B, N, D]` float, E_p of each object's own patch.
          truth_mask: `[B, N]` bool, which objects have one.
          candidate_features: `[B, N, k, D]` float, E_p of the candidates, none of which is of the scene itself.
          candidate_mask: `[B, N, k]` bool.

        Raises:
          EvaluationError: a feature that counts is not finite.
        """
        truth_mask, candidate_mask = np.asarray(truth_mask, bool), np.asarray(candidate_mask, bool)
        check_finite(truth_features, truth_mask, "Feature of a ground-truth patch")
        check_finite(candidate_features, candidate_mask, "Feature of a candidate")
        truth, candidates = (tf.cast(values, tf.float32) for values in (truth_features, candidate_features))
        # A query at a time: distances to all of them at once would need N times the candidates' memory.
        counts = [_closer_and_equal(truth, candidates, candidate_mask, query) for query in range(truth_mask.shape[1])]
        closer, equal = (np.stack(values, axis=1) for values in zip(*counts))
        competitors = np.broadcast_to(candidate_mask.sum(axis=-1)[:, np.newaxis], closer.shape)
        pairs = truth_mask[:, :, np.newaxis] & (truth_mask[:, np.newaxis] & (competitors > 0))
        pairs &= ~np.eye(truth_mask.shape[1], dtype=bool)
        accuracy, chance = np.where(closer == 0, 1.0 / (1 + equal), 0.0), 1.0 / (1 + competitors)
        ranks = OwnPatchRanks(accuracy, 1 + closer + equal / 2, chance, pairs)
        self._averages["accuracy"].update(ranks.accuracy, pairs)
        self._averages["mean_rank"].update(ranks.rank, pairs)
        self._averages["chance_accuracy"].update(ranks.chance, pairs)
        self._averages["chance_mean_rank"].update(1 + competitors / 2, pairs)
        return ranks

    def result(self) -> dict[str, Score]:
        """The scores "accuracy" (rank 1) and "mean_rank" (1 is best), and both of a uniformly random order, "chance_…".

        Raises:
          UndefinedScore: no scene had two objects of which one could be ranked.
        """
        return {name: average.result() for name, average in self._averages.items()}


def cooccurrence_distances(bank: PatchBank, rows) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances `[B, N, N]` of retrieved patches under F_occur, and which of them are of a pair that counts.

    Args:
      bank: opened with its co-occurrence embeddings.
      rows: int `[B, N]`, -1 for none.
    """
    rows = np.asarray(rows)
    embeddings = bank.gather_cooccurrence(rows).astype(np.float64)
    squared = np.square(embeddings[:, :, np.newaxis] - embeddings[:, np.newaxis]).sum(axis=-1)
    return squared, _pairs(_present(bank, rows))


class CooccurrenceDistance:
    """Mean pairwise distance of the retrieved patches under F_occur.

    `Score.scene_mean` is eq. (5) as `losses.selection_cooccurrence_loss` has it, with one-hot selections: the squared
    distance of the embeddings of unit length, in [0, 4], mean over a scene's pairs, then over scenes. The loss counts a
    scene without a pair as 0; here it takes no part.
    """

    def __init__(self, bank: PatchBank):
        """Takes a bank that was opened with its co-occurrence embeddings."""
        self._bank = bank
        self._average = SceneAverage("Co-occurrence distance", "pair of retrieved patches")

    def update(self, rows) -> None:
        """Adds scenes by their retrieved bank rows, int `[B, N]`, -1 for none."""
        self._average.update(*cooccurrence_distances(self._bank, rows))

    def result(self) -> dict[str, Score]:
        """The score "cooccurrence_distance".

        Raises:
          UndefinedScore: no scene had two retrieved patches.
        """
        return {"cooccurrence_distance": self._average.result()}


class StyleAgreement:
    """Share of pairs of retrieved patches that come from scenes of one style; a patch has its source scene's style.

    Two objects may retrieve the same patch, which then agrees with itself.
    """

    def __init__(self, bank: PatchBank, styles):
        """Takes the bank and the styles int `[S]` of the training scenes (`training_styles`)."""
        self._bank, self._styles = bank, np.asarray(styles)
        if self._styles.shape != (bank.num_scenes,):
            raise ValueError(f"{self._styles.shape} styles for a bank of {bank.num_scenes} scenes; give one a scene.")
        self._average = SceneAverage("Style agreement", "pair of retrieved patches with a style")

    def update(self, rows) -> None:
        """Adds scenes by their retrieved bank rows, int `[B, N]`, -1 for none."""
        rows = np.asarray(rows)
        styles = self._styles[self._bank.scene_index[np.maximum(rows, 0)]]
        styled = _present(self._bank, rows) & (styles != NO_STYLE)
        self._average.update(styles[:, :, np.newaxis] == styles[:, np.newaxis], _pairs(styled))

    def result(self) -> dict[str, Score]:
        """The score "style_agreement".

        Raises:
          UndefinedScore: no scene had two retrieved patches with a style.
        """
        return {"style_agreement": self._average.result()}


class FactorAgreement:
    """How far retrieved patches agree in a hidden factor beside the style; a patch has its source scene's value.

    Over pairs of patches of categories that show it: the share of equal ones of a "kind"; on a "circle" the mean of
    (1 + cos d) / 2, d the angle between them, of which chance gives 1/2.
    """

    def __init__(self, bank: PatchBank, factor: Factor, values, shown: Sequence[int]):
        """Takes the bank, the factor, its values float `[S]` for the training scenes, and the categories' ids."""
        self._bank, self._factor, self._values = bank, factor, np.asarray(values)
        self._shown = np.asarray(sorted(shown))
        self._average = SceneAverage(f"Agreement in {factor.name}", "pair of retrieved patches that show it")

    def update(self, rows) -> None:
        """Adds scenes by their retrieved bank rows, int `[B, N]`, -1 for none."""
        rows = np.asarray(rows)
        held = np.maximum(rows, 0)
        values = self._values[self._bank.scene_index[held]]
        apart = values[:, :, np.newaxis] - values[:, np.newaxis]
        agree = apart == 0 if self._factor.kind == "kind" else (1 + np.cos(2 * np.pi * apart)) / 2
        shows = _present(self._bank, rows) & np.isin(np.asarray(self._bank.category)[held], self._shown)
        self._average.update(agree, _pairs(shows))

    def result(self) -> dict[str, Score]:
        """The score "agreement_NAME".

        Raises:
          UndefinedScore: no scene had two such patches.
        """
        return {f"agreement_{self._factor.name}": self._average.result()}


def factor_agreements(bank: PatchBank, source: SceneSource, objects: Sequence[str]) -> list[FactorAgreement]:
    """One for each hidden factor of a data set, of which there may be none.

    Args:
      bank: cut from the scenes.
      source: the training scenes.
      objects: names by category id.
    """
    factors = factors_of(source.builder)
    if not factors:
        return []
    values = np.array([record[FACTORS] for _, record in source.records().as_numpy_iterator()])
    agreements = []
    for place, factor in enumerate(factors):
        shown = [number for number, name in enumerate(objects) if name in factor.objects or not factor.objects]
        agreements.append(FactorAgreement(bank, factor, values[:, place], shown))
    return agreements


def training_styles(source: SceneSource) -> np.ndarray:
    """The style id of every training scene, int64 `[S]`, `NO_STYLE` where a scene has none.

    Raises:
      UndefinedScore: the data set has no styles; its records are not read.
    """
    if not source.builder.info.metadata[STYLE_NAMES]:
        raise UndefinedScore(f"Style agreement is not defined: {source.builder.name} has no styles; leave it out.")
    return np.array([record["style"] for _, record in source.records().as_numpy_iterator()], np.int64)


def _closer_and_equal(truth, candidates, candidate_mask, query):
    """How many valid candidates of each object are closer to a query's own patch than the object's own, or as close."""
    at = truth[:, query, tf.newaxis]
    own = candidate_distances(truth, at, "squared_euclidean").numpy()[..., np.newaxis]
    others = candidate_distances(candidates, at[:, tf.newaxis], "squared_euclidean").numpy()
    return (candidate_mask & (others < own)).sum(axis=-1), (candidate_mask & (others == own)).sum(axis=-1)


def _present(bank, rows):
    """Which rows hold a patch: neither -1 nor a tombstone."""
    return (rows >= 0) & ~bank.removed[np.maximum(rows, 0)]


def _pairs(mask):
    """Unordered pairs [B, N, N] of different valid entries of [B, N]: the upper triangle."""
    return np.triu(mask[:, :, np.newaxis] & mask[:, np.newaxis], 1)
