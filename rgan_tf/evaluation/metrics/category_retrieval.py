"""Where retrieval goes wrong, category by category: what a report shows of any data set, styles or none."""

from typing import NamedTuple

import numpy as np

from rgan_tf.evaluation.metrics.retrieval_scores import OwnPatchRanks


class CategoryRow(NamedTuple):
    """One category of objects.

    name: of the category. queries: times that an object's own patch was ranked, from another object's own patch as the
    query. accuracy, mean_rank: of those, as `GroundTruthRank` counts; chance: the accuracy of a random order.
    retrieved: patches that were retrieved for such objects. variety: the share of different ones among them.
    """

    name: str
    queries: int
    accuracy: float
    mean_rank: float
    chance: float
    retrieved: int
    variety: float


class CategoryRetrieval:
    """Collects ranks and retrieved rows by the object's category, batch by batch."""

    def __init__(self, names):
        """Takes the categories' names, in the order of their ids."""
        self._names = list(names)
        self._sums = np.zeros((len(self._names), 4), np.float64)
        self._rows: list[set[int]] = [set() for _ in self._names]
        self._retrieved = np.zeros(len(self._names), np.int64)

    def add_ranks(self, objects, ranks: OwnPatchRanks) -> None:
        """Adds a batch's categories `[B, N]` with what `GroundTruthRank.update` returned."""
        objects = np.broadcast_to(np.asarray(objects)[:, np.newaxis], ranks.counted.shape)[ranks.counted]
        columns = np.ones_like(ranks.rank), ranks.accuracy, ranks.rank, ranks.chance
        for column, values in enumerate(columns):
            np.add.at(self._sums[:, column], objects, values[ranks.counted])

    def add_rows(self, objects, rows) -> None:
        """Adds a batch's categories `[B, N]` and retrieved bank rows `[B, N]`, -1 for none."""
        objects, rows = np.asarray(objects), np.asarray(rows)
        found = rows >= 0
        np.add.at(self._retrieved, objects[found], 1)
        for category, row in zip(objects[found], rows[found]):
            self._rows[category].add(int(row))

    def table(self) -> list[CategoryRow]:
        """The categories that took part, the one whose own patches are found least often first."""
        table = []
        for category, (count, accuracy, rank, chance) in enumerate(self._sums):
            if count:
                retrieved = int(self._retrieved[category])
                variety = len(self._rows[category]) / max(retrieved, 1)
                means = accuracy / count, rank / count, chance / count
                table.append(CategoryRow(self._names[category], int(count), *means, retrieved, variety))
        return sorted(table, key=lambda row: (row.accuracy, row.name))
