"""report.html: scores, curves and pictures of an evaluation on one page that needs nothing from elsewhere."""

import html
import pathlib
import string
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from pipelines.patch_bank.bank import PatchBank
from rgan_tf.drawing import draw_sheet, object_colours, page_picture
from rgan_tf.evaluation.metrics.category_retrieval import CategoryRow
from rgan_tf.evaluation.records import spread
from rgan_tf.evaluation.report.meanings import MEANINGS
from rgan_tf.evaluation.report.scenes import ReportScenes, ShownScene, source_pictures
from rgan_tf.evaluation.scoring import Findings
from rgan_tf.workspace import Workspace

FILE = pathlib.Path("evaluation") / "report.html"
_PAGE = pathlib.Path(__file__).with_name("page.html")
_THUMBNAIL = 112
_CURVE_WIDTH, _CURVE_HEIGHT = 220, 90
_CATEGORIES = (
    "The query is one object's own patch; another object's own patch is ranked among its candidates. Found: it comes "
    "first. Retrieved: patches chosen for objects of the category, and the share of different ones among them."
)
_STYLES = "Of the pairs of patches in one scene with a patch of the row's style: the style of the other patch."


def write_report(workspace: Workspace, lines: Sequence[dict], found: Findings) -> pathlib.Path:
    """Writes the page and returns its path.

    Args:
      workspace: that was evaluated.
      lines: the figures as they were recorded.
      found: by the evaluation.
    """
    first = lines[0]
    parts = {
        "title": html.escape(f"{workspace.root.resolve().name}: {first['split']}, step {first['step']}"),
        "setting": html.escape(
            f"{workspace.model}, {first['boxes']} boxes, {first['policy']} retrieval, {first['samples']} pictures a "
            f"scene, seed {first['seed']}, training {first['fingerprint']}, {first['date']}"
        ),
        "scores": _scores(lines) + "".join(f"<p class=note>{html.escape(reason)}</p>" for reason in found.left_out),
        "curves": _curves(workspace),
        "sections": "\n".join(_sections(found)),
    }
    page = string.Template(_PAGE.read_text(encoding="utf-8")).substitute(parts)
    path = workspace.root / FILE
    beside = path.with_suffix(".tmp")
    beside.write_text(page, encoding="utf-8")
    beside.replace(path)
    return path


def _sections(found: Findings) -> Iterator[str]:
    """What is shown of scenes, and of patches where the model draws from any."""
    scenes, bank = found.scenes, found.bank
    yield _section("Scenes", _sheet(scenes.shown))
    if bank is not None:
        sources = source_pictures(found.training, bank, scenes.shown)
        cuts = "".join(_sources(shown, sources, bank) for shown in scenes.shown)
        yield _section("Where the patches are from", cuts, "The cut is outlined in each picture.")
    yield _section("One scene, other seeds", _diversity(scenes.shown))
    if bank is not None and bank.has_cooccurrence:
        order = "By the co-occurrence distance of the retrieved set."
        yield _section("Patches that fit best", _sheet(scenes.best), order)
        yield _section("Patches that fit worst", _sheet(scenes.worst), order)
    if found.categories is not None:
        yield _section("Retrieval by category", _categories(found.categories), _CATEGORIES)
    if bank is not None:
        yield _section("Styles that meet", _styles(scenes), _STYLES)


def _section(title: str, content: str, note: str = "") -> str:
    words = f"<p class=note>{note}</p>\n" if note else ""
    return f"<h2>{title}</h2>\n{words}{content}"


def _scores(lines: Sequence[dict]) -> str:
    rows = []
    for line in lines:
        meaning, caution = (html.escape(text) for text in (MEANINGS[line["metric"]], line["notes"].get("caution", "")))
        words = f"{meaning}<div class=note>{caution}</div>" if caution else meaning
        cells = (f"<code>{html.escape(line['name'])}</code>", f"{line['value']:.4g}{spread(line)}", words)
        rows.append("<tr><td>" + "</td><td>".join(cells) + "</td></tr>")
    return "<table><tr><th>score</th><th>value</th><th>what it means</th></tr>" + "".join(rows) + "</table>"


def _curves(workspace: Workspace) -> str:
    """A small chart for each scalar of the main training."""
    series: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(workspace.directory(workspace.model).glob("events.out.*")):
        events = EventAccumulator(str(file), size_guidance={"tensors": 0}).Reload()
        for tag in events.Tags()["tensors"]:
            for event in events.Tensors(tag):
                value = tensor_util.make_ndarray(event.tensor_proto)
                if value.ndim == 0 and value.dtype.kind == "f":
                    series.setdefault(tag, []).append((event.step, float(value)))
    return "".join(_chart(tag, sorted(points)) for tag, points in sorted(series.items()) if len(points) > 1)


def _chart(tag: str, points: Sequence[tuple[int, float]]) -> str:
    steps, values = (np.array(column, np.float64) for column in zip(*points))
    low, high = values.min(), values.max()
    x = (steps - steps[0]) / max(steps[-1] - steps[0], 1) * _CURVE_WIDTH
    y = _CURVE_HEIGHT - (values - low) / max(high - low, 1e-12) * _CURVE_HEIGHT
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
    caption = f"{html.escape(tag)}<br>{values[0]:.3g} → {values[-1]:.3g}, step {steps[-1]:.0f}"
    return (
        f"<figure><svg viewBox='-2 -2 {_CURVE_WIDTH + 4} {_CURVE_HEIGHT + 4}'><polyline points='{line}'/></svg>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _sheet(scenes: Sequence[ShownScene]) -> str:
    if not scenes:
        return "<p class=note>There is none.</p>"
    return page_picture(draw_sheet([found.view() for found in scenes]), "scene graph, boxes, pictures")


def _sources(found: ShownScene, pictures: dict[int, np.ndarray], bank: PatchBank) -> str:
    """The pictures that a scene's patches were cut from, with the cut outlined in the object's colour."""
    figures = []
    for name, row, colour in zip(found.scene.objects, found.rows, object_colours(len(found.rows))):
        if row < 0:
            continue
        picture = Image.fromarray(pictures[int(bank.scene_index[row])]).resize((_THUMBNAIL, _THUMBNAIL))
        box = [float(value) * (_THUMBNAIL - 1) for value in bank.box[row]]
        ImageDraw.Draw(picture).rectangle(box, outline=colour, width=3)
        where = html.escape(f"{name}: {bank.image_id[row]}")
        figures.append(f"<figure>{page_picture(picture, where)}<figcaption>{where}</figcaption></figure>")
    return f"<h3>{html.escape(found.scene.in_words())}</h3><div class=row>{''.join(figures)}</div>"


def _diversity(scenes: Sequence[ShownScene]) -> str:
    if len(scenes[0].images) < 2:
        return "<p class=note>Draw two or more pictures of a scene to see how they differ (--samples_per_scene).</p>"
    strips = [Image.fromarray(np.concatenate(found.images, axis=1)) for found in scenes]
    return "".join(
        page_picture(strip.resize((strip.width * 2, strip.height * 2)), "one scene's pictures") for strip in strips
    )


def _categories(rows: Sequence[CategoryRow]) -> str:
    """How often each category's own patches are found, the worst category first."""
    if not rows:
        return "<p class=note>No scene has two objects with candidates.</p>"
    head = "<tr><th>category</th><th>queries</th><th>found</th><th>by chance</th><th>mean rank</th><th>retrieved</th>"
    lines = []
    for row in rows:
        shares = f"<td>{row.accuracy:.0%}</td><td>{row.chance:.0%}</td><td>{row.mean_rank:.1f}</td>"
        counts = f"<td>{row.retrieved}</td><td>{row.variety:.0%}</td>"
        lines.append(f"<tr><th>{html.escape(row.name)}</th><td>{row.queries}</td>{shares}{counts}</tr>")
    return f"<table class=matrix>{head}<th>different</th></tr>{''.join(lines)}</table>"


def _styles(scenes: ReportScenes) -> str:
    """Which styles meet in one scene: each row's pairs of patches by the style of the other patch."""
    counts = scenes.style_pairs
    if not counts.sum():
        return "<p class=note>This data set has no styles.</p>"
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in scenes.style_names)
    rows = []
    for name, row in zip(scenes.style_names, shares):
        cells = "".join(f"<td style='background:rgba(70,110,200,{share:.2f})'>{share:.0%}</td>" for share in row)
        rows.append(f"<tr><th>{html.escape(name)}</th>{cells}</tr>")
    return f"<table class=matrix><tr><th></th>{head}</tr>{''.join(rows)}</table>"
