"""dataset.html: what a workspace's data set holds, on one page that needs nothing from elsewhere."""

import html
import pathlib
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from pipelines import datasets, records
from pipelines.inspect.statistics import (
    AREA_EDGES,
    RATIO_EDGES,
    SplitStatistics,
    count_split,
    most_objects,
    with_relations,
)
from pipelines.patch_bank.cropping import crop_patch
from rgan_tf.drawing import SceneView, draw_sheet, page_picture
from rgan_tf.scene_graph import SceneGraph, Vocabulary
from rgan_tf.workspace import Workspace, WorkspaceError

FILE = "dataset.html"
_PAGE = pathlib.Path(__file__).with_name("page.html")
_PATCH = 64


class Split(NamedTuple):
    """A split's counts, and some of its scenes as they are drawn on a sheet."""

    statistics: SplitStatistics
    views: list[SceneView]


def write_page(workspace: Workspace, scenes: int = 8, seed: int = 0) -> pathlib.Path:
    """Writes the page and returns its path.

    Args:
      workspace: with a data set.
      scenes: sample scenes of each split.
      seed: decides which.

    Raises:
      WorkspaceError: there is no data set, or it is damaged.
    """
    builder = open_builder(workspace)
    vocabulary = datasets.vocabulary(builder)
    splits = {split: _read(builder, split, vocabulary, scenes, seed) for split in builder.info.splits}
    statistics = {name: split.statistics for name, split in splits.items()}
    metadata = builder.info.metadata
    parts = {
        "title": html.escape(f"{workspace.root.resolve().name}: {builder.info.name}"),
        "counts": "".join(f"<p>{html.escape(line)}</p>" for line in datasets.counts(builder)),
        "lacking": _lacking(statistics, vocabulary),
        "selection": _reports(metadata[records.SELECTION], "images"),
        "problems": _reports(metadata[records.PROBLEMS], "times"),
        "sheets": "".join(_sheet(name, split.views) for name, split in splits.items()),
        "sizes": _sizes(statistics),
        "categories": _names(statistics, vocabulary.objects, "objects", "scenes_with"),
        "predicates": _names(statistics, vocabulary.predicates, "predicates"),
        "drawn": ""
        if "relations" in builder.info.features
        else "Training draws them anew in each epoch; this is one draw.",
        "licenses": _counters({name: split.licenses for name, split in statistics.items()}, "licence"),
        "styles": _styles(statistics, metadata[records.STYLE_NAMES]),
    }
    path = workspace.root / FILE
    beside = path.with_suffix(".tmp")
    beside.write_text(string.Template(_PAGE.read_text(encoding="utf-8")).substitute(parts), encoding="utf-8")
    beside.replace(path)
    return path


def open_builder(workspace: Workspace) -> tfds.core.DatasetBuilder:
    """The data set of a workspace, whatever its configuration.

    Raises:
      WorkspaceError: there is none, or it is damaged.
    """
    found = sorted(workspace.directory("dataset").glob("*/*/*/dataset_info.json"))
    if len(found) != 1:
        raise WorkspaceError(
            f"{workspace.root / 'dataset'} holds {len(found)} data sets instead of one; "
            f"{workspace.make_again('dataset')}."
        )
    return tfds.builder_from_directory(found[0].parent)


def _read(builder, split: str, vocabulary: Vocabulary, scenes: int, seed: int) -> Split:
    size = builder.info.splits[split].num_examples
    undecoded = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    without = undecoded.map(lambda record: {name: value for name, value in record.items() if name != "image"})
    most = most_objects(without)
    chosen = np.zeros(size, bool)
    chosen[np.random.default_rng(seed).choice(size, min(scenes, size), replace=False)] = True
    shown = with_relations(undecoded, most).enumerate().filter(lambda index, record: tf.gather(chosen, index))
    views = [_view(record, vocabulary) for _, record in shown.as_numpy_iterator()]
    return Split(count_split(with_relations(without, most), size, split), views)


def _view(record: dict, vocabulary: Vocabulary) -> SceneView:
    image = tf.io.decode_image(record["image"], channels=3, expand_animations=False).numpy()
    names = tuple(vocabulary.objects[category] for category in record["objects"]["category"])
    triples = tuple((int(s), vocabulary.predicates[p], int(o)) for s, p, o in record["relations"])
    boxes = record["objects"]["box"]
    patches = np.stack([crop_patch(image, box, _PATCH) for box in boxes])
    return SceneView(SceneGraph(names, triples), boxes, patches, ((record["image_id"].decode(), image),))


def _sheet(split: str, views: Sequence[SceneView]) -> str:
    if not views:
        return ""
    # Each sheet has its pictures' ids for titles, so that one is drawn for each scene.
    rows = "".join(page_picture(draw_sheet([view]), view.scene.in_words()) for view in views)
    return f"<h3>{html.escape(split)}</h3>{rows}"


def _lacking(statistics: dict[str, SplitStatistics], vocabulary: Vocabulary) -> str:
    """Categories that a scene may ask for and the bank will have no patch of."""
    train = statistics["train"].objects
    names = [name for category, name in enumerate(vocabulary.objects) if category and not train[category]]
    if not names:
        return "<p>Every category has objects in the training split.</p>"
    told = f"No object in the training split, so no patch to retrieve: {', '.join(names)}."
    return f"<p class=warning>{html.escape(told)}</p>"


def _reports(reports: dict[str, dict[str, int]], unit: str) -> str:
    rows = [(part, what, number) for part, counts in reports.items() for what, number in sorted(counts.items())]
    if not rows:
        return "<p class=note>Nothing was recorded.</p>"
    return _table(("part", "what", unit), rows)


def _names(statistics, names: Sequence[str], *fields: str) -> str:
    """A row a name, the most frequent in training first."""
    titles = [f"{split}: {field.replace('_', ' ')}" for split in statistics for field in fields]
    order = sorted(range(1, len(names)), key=lambda i: (-getattr(statistics["train"], fields[0])[i], names[i]))
    rows = [(names[i], *(getattr(split, field)[i] for split in statistics.values() for field in fields)) for i in order]
    return _table(("name", *titles), rows)


def _counters(counters: dict[str, Counter], title: str) -> str:
    keys = sorted(set().union(*counters.values()), key=lambda key: (-sum(c[key] for c in counters.values()), key))
    return _table((title, *counters), [(key or "not known", *(c[key] for c in counters.values())) for key in keys])


def _styles(statistics: dict[str, SplitStatistics], names: Sequence[str]) -> str:
    if not names:
        return "<p class=note>This data set has no styles.</p>"
    return _counters(
        {s: Counter({names[k]: n for k, n in found.styles.items()}) for s, found in statistics.items()}, "style"
    )


def _sizes(statistics: dict[str, SplitStatistics]) -> str:
    parts = []
    for title, field in (("objects a scene", "objects_a_scene"), ("relations a scene", "relations_a_scene")):
        parts += [_histogram(f"{split}: {title}", getattr(s, field)) for split, s in statistics.items()]
    for title, field, edges in (
        ("box area, share", "areas", AREA_EDGES),
        ("box width / height", "ratios", RATIO_EDGES),
    ):
        labels = [f"{low:g}–{high:g}" for low, high in zip(edges, edges[1:])]
        for split, found in statistics.items():
            parts.append(_histogram(f"{split}: {title}", dict(zip(labels, getattr(found, field).tolist()))))
    return "".join(parts)


def _histogram(title: str, counts: dict) -> str:
    """Bars from the left, one a value, with their numbers."""
    keys = sorted(counts) if isinstance(counts, Counter) else list(counts)
    most = max([*counts.values(), 1])
    bars = "".join(
        f"<tr><td>{html.escape(str(key))}<td><div class=bar style='width:{100 * counts[key] / most:.1f}px'></div>"
        f"<td>{counts[key]:,}</tr>"
        for key in keys
    )
    return f"<figure><figcaption>{html.escape(title)}</figcaption><table>{bars}</table></figure>"


def _table(titles: Sequence[str], rows: Sequence[Sequence]) -> str:
    def cell(value):
        return f"<td class=number>{value:,}" if isinstance(value, int) else f"<td>{html.escape(str(value))}"

    head = "".join(f"<th>{html.escape(title)}" for title in titles)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{chr(10).join(map(cell, row))}</tr>' for row in rows)}</table>"
