"""What stands on the page: its parts, and the lists that are made anew with every change."""

from collections.abc import Sequence

import dash_cytoscape as cyto
from dash import dcc, html

from export.studio import graph_view, pictures
from export.studio.scene_editor import MOST_CHARACTERS, StudioScene
from export.studio.sessions import Drawn
from rgan_tf.scene_graph import SceneGraph, Vocabulary
from rgan_tf.scene_requests import CandidatePatches

# Candidates that are shown of an object; the chosen one is always among them.
_SHOWN = 8
_BOXES = [{"label": "Show boxes", "value": "boxes"}]
_SOURCES = [{"label": "Show where they come from", "value": "sources"}]
# What can be saved. Each has a download of its own: of several answers for one part of the page the last alone is kept.
SAVED = ("picture", "sheet", "scene")
EDGES = ("left", "top", "right", "bottom")
# A scene's seeds that are shown beside its own.
MORE_SEEDS = 5


def page(session: str, names: Vocabulary, starts: Sequence[SceneGraph], has_patches: bool) -> html.Div:
    """The whole page, before anything is drawn.

    Args:
      session: the page's name.
      names: for completion, and the predicates to choose from.
      starts: scenes to start from.
      has_patches: whether the model draws from patches.
    """
    return html.Div(
        [
            dcc.Store("session", data=session),
            dcc.Store("revision", data=0),
            dcc.Store("listed", data=-1),
            dcc.Store("drawn", data=-1),
            dcc.Store("link", data=""),
            dcc.Location(id="address", refresh=False),
            *(dcc.Download(id=f"download-{kind}") for kind in SAVED),
            html.Datalist(id="names", children=[html.Option(value=name) for name in names.objects[1:]]),
            html.Datalist(id="predicates", children=[html.Option(value=name) for name in names.predicates[1:]]),
            html.Datalist(id="ends"),
            html.Header([html.H1("RetrieveGAN studio"), html.P(id="busy", role="status", **{"aria-live": "polite"})]),
            html.Main(
                [
                    html.Section(_graph_part(names), className="graph", **{"aria-labelledby": "graph-title"}),
                    html.Section(_picture_part(), className="picture", **{"aria-labelledby": "picture-title"}),
                    html.Section(_patch_part(has_patches), className="patches", **{"aria-labelledby": "patches-title"}),
                    html.Section(_start_part(starts), className="start", **{"aria-labelledby": "start-title"}),
                ]
            ),
        ]
    )


def refusal(name) -> html.P:
    """A place for the sentence that says why an edit was not made."""
    return html.P(id=name, className="refusal", role="alert")


def _field(label: str, control, **more) -> html.Label:
    return html.Label([html.Span(label), control], **more)


def _graph_part(names: Vocabulary) -> list:
    typed = dict(type="text", autoComplete="off")
    return [
        html.H2("Scene graph", id="graph-title"),
        html.Div(
            cyto.Cytoscape(
                id="graph",
                elements=[],
                stylesheet=graph_view.STYLESHEET,
                layout={"name": "circle", "fit": True, "padding": 24},
                style={"width": "100%", "height": "260px"},
                userZoomingEnabled=False,
                boxSelectionEnabled=False,
            ),
            id="graph-picture",
            role="img",
        ),
        html.P("Click an object, then another one, to relate them; or use the fields below.", className="hint"),
        html.Fieldset(
            [
                html.Legend("Relate two objects"),
                _field("From", dcc.Input(id="relate-from", list="ends", **typed)),
                _field("Relation", dcc.Input(names.predicates[1], id="predicate", list="predicates", **typed)),
                _field("To", dcc.Input(id="relate-to", list="ends", **typed)),
                html.Button("Relate", id="relate"),
                refusal("relate-refusal"),
            ],
            className="relate",
        ),
        html.H3("Relations"),
        html.Ul(id="relations"),
        html.H3("Objects"),
        html.Ul(id="objects"),
        html.Div(
            [
                _field("New object", dcc.Input(id="new-name", list="names", **typed)),
                html.Button("Add", id="add"),
            ],
            className="row",
        ),
        refusal("object-refusal"),
    ]


def _picture_part() -> list:
    return [
        html.H2("Picture", id="picture-title"),
        html.Div(
            [
                html.Button("Undo", id="undo", disabled=True),
                html.Button("Redo", id="redo", disabled=True),
                _field("Seed", dcc.Input(id="seed", type="number", min=0, step=1, debounce=True)),
                html.Button("Next seed", id="next-seed"),
                dcc.Checklist(_BOXES, ["boxes"], id="with-boxes"),
            ],
            className="row",
        ),
        refusal("picture-refusal"),
        html.Div(
            dcc.Graph(
                id="picture",
                figure={"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}},
                config={"displayModeBar": False, "edits": {"shapePosition": True}, "responsive": True},
            ),
            id="picture-frame",
            role="img",
        ),
        html.P("Drag a box, or its corners; the others are predicted again.", className="hint"),
        html.Div(
            [
                html.Button("Save picture", id="save-picture"),
                html.Button("Save sheet", id="save-sheet"),
                html.Button("Save scene (JSON)", id="save-scene"),
                html.A("Link to this scene", id="permalink", href="#"),
            ],
            className="row",
        ),
        html.Details([html.Summary("Boxes by numbers"), html.Ul(id="boxes")]),
        refusal("layout-refusal"),
        html.Details([html.Summary("Before and after"), html.Div(id="change", className="strip")], open=True),
        html.H3("Other seeds"),
        html.Button(f"Draw {MORE_SEEDS} more", id="more-seeds"),
        html.P(id="seeds-busy", role="status", className="hint"),
        html.Div(id="seeds", className="strip"),
        refusal("seeds-refusal"),
    ]


def _patch_part(has_patches: bool) -> list:
    hint = "Click a patch to keep it; click it again to let the model choose. The others change so that they fit."
    return [
        html.H2("Patches", id="patches-title"),
        html.P(hint if has_patches else "This model draws without patches.", className="hint"),
        dcc.Checklist(_SOURCES, [], id="with-sources", className="" if has_patches else "absent"),
        refusal("patch-refusal"),
        html.Div(id="patches"),
    ]


def _start_part(starts: Sequence[SceneGraph]) -> list:
    buttons = [html.Button(scene.in_words(), id={"type": "example", "number": n}) for n, scene in enumerate(starts)]
    return [
        html.H2("Start from", id="start-title"),
        html.Div(buttons, className="row"),
        _field(
            'Sentences ("sky above sea, boat inside sea"), or the JSON of a scene',
            dcc.Textarea(id="text", maxLength=MOST_CHARACTERS, rows=4),
            className="wide",
        ),
        html.Button("Draw this", id="tell"),
        refusal("text-refusal"),
    ]


def object_rows(scene: StudioScene) -> list[html.Li]:
    """Each object with its name to change."""
    return [
        html.Li(
            [
                _field(
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
            _field(
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
            html.Div([_patch_button(drawn, i, place) for place in _shown(found)], className="strip"),
        ]
        rows.append(html.Section([*parts, *(_origin(found, has_sources) if with_sources else ())]))
    return rows


def _shown(found: CandidatePatches) -> list[int]:
    places = list(range(min(_SHOWN, len(found.patch_ids))))
    return places if found.choice in places else [*places[:-1], found.choice]


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
