"""The parts of the page that are made anew with every change: objects, relations, boxes, patches, pictures."""

from collections.abc import Sequence

from dash import dcc, html

from export.studio import pictures
from export.studio.page import field
from export.studio.scene_editor import StudioScene
from export.studio.sessions import Drawn
from rgan_tf.scene_requests import CandidatePatches

# Candidates that are shown of an object; the chosen one is always among them.
_SHOWN = 8
EDGES = ("left", "top", "right", "bottom")


def object_rows(scene: StudioScene) -> list[html.Li]:
    """Each object with its name to change."""
    return [
        html.Li(
            [
                field(
                    f"Object {i + 1}",
                    dcc.Input(
                        id={"type": "name", "place": i},
                        value=name,
                        list="names",
                        type="text",
                        debounce=True,
                        autoComplete="off",
                    ),
                ),
                html.Button("Remove", id={"type": "remove", "place": i}, **{"aria-label": f"Remove {name}"}),
            ],
            className="row",
        )
        for i, name in enumerate(scene.graph.objects)
    ]


def relation_rows(scene: StudioScene) -> list[html.Li]:
    """Each relation in words."""
    names, rows = scene.graph.objects, []
    for n, (subject, predicate, target) in enumerate(scene.graph.relationships):
        words = f"{names[subject]} {predicate} {names[target]}"
        remove = html.Button("Remove", id={"type": "unrelate", "number": n}, **{"aria-label": f"Remove {words}"})
        rows.append(html.Li([html.Span(words), remove], className="row"))
    return rows


def ends(scene: StudioScene) -> list[str]:
    """What objects are called where relations are made; several of a kind are told apart by their numbers."""
    names = scene.graph.objects
    return [name if names.count(name) == 1 else f"{name} {i + 1}" for i, name in enumerate(names)]


def box_numbers(box: Sequence[float]) -> list[int]:
    """A box as the page shows it: its edges in hundredths of the picture."""
    return [round(100 * float(value)) for value in box]


def box_rows(drawn: Drawn) -> list[html.Li]:
    """Each object's box in numbers, and a way to let go of a given one."""
    rows = []
    for i, (name, box) in enumerate(zip(drawn.scene.graph.objects, drawn.answer.boxes)):
        fields = [
            field(
                f"{name}: {edge}",
                dcc.Input(
                    id={"type": "box", "place": i, "edge": edge},
                    value=value,
                    type="number",
                    min=0,
                    max=100,
                    step=1,
                    debounce=0.4,
                ),
            )
            for edge, value in zip(EDGES, box_numbers(box))
        ]
        free = html.Button(
            "Predict again",
            id={"type": "free", "place": i},
            disabled=drawn.scene.boxes[i] is None,
            **{"aria-label": f"Predict the box of {name} again"},
        )
        rows.append(html.Li([*fields, free], className="row"))
    return rows


def patch_rows(drawn: Drawn, with_sources: bool, has_sources: bool) -> list[html.Section]:
    """Each object's best candidates, to be pinned, and, where it is asked for, where the chosen one comes from.

    Args:
      drawn: the picture.
      with_sources: whether to tell where they come from.
      has_sources: whether the pictures that they were cut from are at hand.
    """
    rows = []
    for i, found in enumerate(drawn.candidates or ()):
        parts = [
            html.H3(drawn.scene.graph.objects[i]),
            html.Div(
                [_patch(drawn, i, place, with_sources and has_sources) for place in _shown(found)], className="strip"
            ),
        ]
        rows.append(html.Section([*parts, *(_origin(found, has_sources) if with_sources else ())]))
    return rows


def _shown(found: CandidatePatches) -> list[int]:
    places = list(range(min(_SHOWN, len(found.patch_ids))))
    return places if found.choice in places else [*places[:-1], found.choice]


def _patch(drawn: Drawn, i: int, place: int, with_source: bool) -> html.Div:
    """A candidate, and the way to its own picture, where that is asked for."""
    button = _patch_button(drawn, i, place)
    if not with_source:
        return html.Div(button)
    found = drawn.candidates[i]
    patch, license_ = int(found.patch_ids[place]), found.licenses[place] or "not stated"
    words = f"Source of patch {patch}: {found.sources[place]}, licence {license_}"
    link = html.A("source", href=f"source/{patch}.png", target="_blank", title=words, **{"aria-label": words})
    return html.Div([button, link], className="sourced")


def _patch_button(drawn: Drawn, i: int, place: int) -> html.Button:
    found = drawn.candidates[i]
    patch, pinned = int(found.patch_ids[place]), drawn.scene.patches[i]
    state = "pinned" if pinned == patch else "chosen" if place == found.choice else ""
    score = "" if found.scores is None else f"{found.scores[place]:.2f}"
    words = ", ".join(
        filter(None, (f"patch {patch} for {drawn.scene.graph.objects[i]}", score and f"score {score}", state))
    )
    return html.Button(
        [html.Img(src=pictures.patch_address(found.patches[place]), alt=""), html.Span(score)],
        id={"type": "patch", "place": i, "patch": patch},
        className=f"patch {state}",
        title=words,
        **{"aria-label": words, "aria-pressed": str(pinned == patch).lower()},
    )


def _origin(found: CandidatePatches, has_sources: bool) -> list:
    patch = int(found.patch_ids[found.choice])
    source, license_ = found.sources[found.choice], found.licenses[found.choice]
    told = [html.P(f"Patch {patch} of {source}. Licence: {license_ or 'not stated'}.", className="hint")]
    if not has_sources:
        return [*told, html.P("An export does not hold the pictures that its patches were cut from.", className="hint")]
    words = f"The picture {source}, with patch {patch} outlined"
    return [*told, html.Img(src=f"source/{patch}.png", alt=words, className="source")]


def change_figures(before: Drawn, after: Drawn) -> list[html.Figure]:
    """The last two pictures, and what changed between them."""
    shown, share = pictures.difference(before.answer.image, after.answer.image)
    return [
        _figure(before.answer.image, "before"),
        _figure(after.answer.image, "after"),
        _figure(shown, f"changed: {share:.0%} of the picture"),
    ]


def seed_button(seed: int, image) -> html.Button:
    """A picture under another seed, to be taken."""
    words = f"Take seed {seed}"
    return html.Button(
        [html.Img(src=pictures.address_of(pictures.enlarged(image)), alt=""), html.Span(f"seed {seed}")],
        id={"type": "take-seed", "seed": seed},
        className="seed",
        **{"aria-label": words},
    )


def _figure(image, words: str) -> html.Figure:
    shown = html.Img(src=pictures.address_of(pictures.enlarged(image)), alt=words)
    return html.Figure([shown, html.Figcaption(words)])
