"""What stands on the page before anything is drawn; `lists` has what is made anew with every change."""

from collections.abc import Sequence

import dash_cytoscape as cyto
from dash import dcc, html

from export.studio import graph_view
from export.studio.scene_editor import MOST_CHARACTERS
from rgan_tf.scene_graph import SceneGraph, Vocabulary

_BOXES = [{"label": "Show boxes", "value": "boxes"}]
_SOURCES = [{"label": "Show where they come from", "value": "sources"}]
# What can be saved. Each has a download of its own: of several answers for one part of the page the last alone is kept.
SAVED = ("picture", "sheet", "scene")
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


def field(label: str, control, **more) -> html.Label:
    """A control with its name."""
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
                field("From", dcc.Input(id="relate-from", list="ends", **typed)),
                field("Relation", dcc.Input(names.predicates[1], id="predicate", list="predicates", **typed)),
                field("To", dcc.Input(id="relate-to", list="ends", **typed)),
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
                field("New object", dcc.Input(id="new-name", list="names", **typed)),
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
                field("Seed", dcc.Input(id="seed", type="number", min=0, step=1, debounce=True)),
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
        field(
            'Sentences ("sky above sea, boat inside sea"), or the JSON of a scene',
            dcc.Textarea(id="text", maxLength=MOST_CHARACTERS, rows=4),
            className="wide",
        ),
        html.Button("Draw this", id="tell"),
        refusal("text-refusal"),
    ]
