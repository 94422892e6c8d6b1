"""What the page's controls do to its scene."""

from collections.abc import Sequence
from typing import Callable, Optional

from dash import ALL, Input, Output, State, ctx, no_update

from export.studio.lists import EDGES, box_numbers, ends
from export.studio.pictures import shown_order
from export.studio.scene_editor import SceneEditor, StudioScene
from export.studio.sessions import Session, Sessions
from rgan_tf.errors import UserError
from rgan_tf.scene_graph import SceneError, SceneGraph

_SESSION = State("session", "data")
# The revisions of which the page shows lists and picture.
_LISTED, _DRAWN = State("listed", "data"), State("drawn", "data")


class Edits:
    """Registers the controls' callbacks. Each ends in a new revision, or in a sentence at its control."""

    def __init__(self, app, sessions: Sessions, editor: SceneEditor, starts: list[SceneGraph]):
        """Registers all of them."""
        self._app, self._sessions, self._editor, self._starts = app, sessions, editor, starts
        self._register_graph()
        self._register_layout()
        self._register_scene()

    def _on(
        self, place: str, inputs: list, states: list, edit: Callable[..., bool], emptied: Sequence[str] = ()
    ) -> None:
        """A callback whose `edit` takes the session and the values, and says whether it changed anything; `emptied` are
        fields that are then made empty."""

        @self._app.callback(
            Output("revision", "data", allow_duplicate=True),
            Output(place, "children", allow_duplicate=True),
            *(Output(field, "value", allow_duplicate=True) for field in emptied),
            *inputs,
            *states,
            _SESSION,
            prevent_initial_call=True,
        )
        def run(*values):
            try:
                session = self._sessions.get(values[-1])
                changed = edit(session, *values[:-1])
            except UserError as error:
                return (no_update, str(error), *[no_update] * len(emptied))
            if not changed:
                return (no_update, "", *[no_update] * len(emptied))
            return (session.present[0], "", *[""] * len(emptied))

    def _on_click(self, place: str, kind: dict, edit: Callable[..., bool], *states) -> None:
        """As `_on`, for buttons of a list; `edit` takes the session, the button's name, and the states."""

        def clicked(session, clicks, *values):
            # A button that was just put on the page tells of itself, too.
            return bool(ctx.triggered[0]["value"]) and edit(session, ctx.triggered_id, *values)

        self._on(place, [Input(kind, "n_clicks")], list(states), clicked)

    def _register_graph(self) -> None:
        editor = self._editor
        self._on(
            "object-refusal",
            [Input("add", "n_clicks"), Input("new-name", "n_submit")],
            [State("new-name", "value")],
            lambda session, _, __, name: session.edit(lambda scene: editor.add(scene, name)),
            emptied=["new-name"],
        )

        def rename(session, names, listed):
            place = ctx.triggered_id["place"]
            name = ctx.triggered[0]["value"]
            return _if_listed(session, listed, lambda scene: editor.rename(scene, place, name))

        self._on("object-refusal", [Input({"type": "name", "place": ALL}, "value")], [_LISTED], rename)
        self._on_click(
            "object-refusal",
            {"type": "remove", "place": ALL},
            lambda session, name, listed: _if_listed(
                session, listed, lambda scene: editor.remove(scene, name["place"])
            ),
            _LISTED,
        )

        def relate(session, _, subject, predicate, target):
            def change(scene):
                return editor.relate(scene, _place_of(scene, subject), predicate, _place_of(scene, target))

            return session.edit(change)

        fields = [State("relate-from", "value"), State("predicate", "value"), State("relate-to", "value")]
        emptied = ["relate-from", "relate-to"]
        self._on("relate-refusal", [Input("relate", "n_clicks")], fields, relate, emptied)
        self._on_click(
            "relate-refusal",
            {"type": "unrelate", "number": ALL},
            lambda session, name, listed: _if_listed(
                session, listed, lambda scene: editor.unrelate(scene, name["number"])
            ),
            _LISTED,
        )

    def _register_layout(self) -> None:
        editor = self._editor

        def type_box(session, _, drawn):
            place, value = ctx.triggered_id["place"], ctx.triggered[0]["value"]
            # Where another picture is on its way to the page, so are its numbers: these tell of themselves, too.
            if value is None or session.drawn is None or session.drawn.revision != drawn:
                return False

            def change(scene):
                box = _shown_box(session, place)
                edge = EDGES.index(ctx.triggered_id["edge"])
                if box_numbers(box)[edge] == value:
                    return scene
                box[edge] = value / 100
                return editor.place(scene, place, box)

            return _if_drawn(session, drawn, change)

        boxes = Input({"type": "box", "place": ALL, "edge": ALL}, "value")
        self._on("layout-refusal", [boxes], [_DRAWN], type_box)

        def drag(session, moved, drawn):
            if not moved or not any(key.startswith("shapes[") for key in moved):
                return False
            return _if_drawn(session, drawn, lambda scene: _dragged(session, editor, scene, moved))

        self._on("layout-refusal", [Input("picture", "relayoutData")], [_DRAWN], drag)
        self._on_click(
            "layout-refusal",
            {"type": "free", "place": ALL},
            lambda session, name, drawn: _if_drawn(
                session, drawn, lambda scene: editor.place(scene, name["place"], None)
            ),
            _DRAWN,
        )

        def pin(session, name, drawn):
            place, patch = name["place"], name["patch"]
            return _if_drawn(
                session,
                drawn,
                lambda scene: editor.pin(scene, place, None if scene.patches[place] == patch else patch),
            )

        self._on_click("patch-refusal", {"type": "patch", "place": ALL, "patch": ALL}, pin, _DRAWN)

    def _register_scene(self) -> None:
        editor = self._editor
        repeated = {
            "undo": Session.undo,
            "redo": Session.redo,
            "next-seed": lambda session: session.edit(lambda scene: editor.reseed(scene, scene.seed + 1)),
        }
        for button, once in repeated.items():
            self._on(
                "picture-refusal",
                [Input(button, "n_clicks")],
                [],
                lambda session, count, button=button, once=once: any(
                    [once(session) for _ in range(session.clicks(button, count))]
                ),
            )
        self._on(
            "picture-refusal",
            [Input("seed", "value")],
            [],
            lambda session, seed: session.edit(lambda scene: editor.reseed(scene, seed)),
        )
        self._on_click(
            "seeds-refusal",
            {"type": "take-seed", "seed": ALL},
            lambda session, name: session.edit(lambda scene: editor.reseed(scene, name["seed"])),
        )
        self._on(
            "text-refusal",
            [Input("tell", "n_clicks")],
            [State("text", "value")],
            lambda session, _, text: session.edit(lambda scene: editor.from_text(text, scene.seed)),
        )
        self._on_click(
            "text-refusal",
            {"type": "example", "number": ALL},
            lambda session, name: session.edit(lambda scene: StudioScene(self._starts[name["number"]], scene.seed)),
        )

        def arrive(session, address):
            # Without one, and where the page has set it itself, there is nothing to do.
            if len(address or "") < 2:
                return False
            return session.edit(lambda scene: editor.from_address(address))

        self._on("text-refusal", [Input("address", "hash")], [], arrive)


def _place_of(scene: StudioScene, called: Optional[str]) -> int:
    """The object that is called so where relations are made."""
    known = ends(scene)
    if (called or "").strip() not in known:
        raise SceneError(f"A relation goes from one object to another, and {called or 'no name'!r} is none of them.")
    return known.index(called.strip())


def _if_listed(session: Session, listed: int, change: Callable[[StudioScene], StudioScene]) -> bool:
    """Changes the scene if it has the objects and relations that the page's lists show: a place in them means another
    one else, as at the second of two quick clicks."""
    with session.changed:
        shown, graph = session.graph_at(listed), session.present[1].graph
        same = shown and (shown.objects, shown.relationships) == (graph.objects, graph.relationships)
        return bool(same) and session.edit(change)


def _if_drawn(session: Session, drawn: int, change: Callable[[StudioScene], StudioScene]) -> bool:
    """Changes the scene if it has the objects of the picture that the page shows."""
    with session.changed:
        shown, graph = session.graph_at(drawn), session.present[1].graph
        same = shown and session.drawn and shown.objects == graph.objects == session.drawn.scene.graph.objects
        return bool(same) and session.edit(change)


def _shown_box(session: Session, place: int) -> list[float]:
    return [float(value) for value in session.drawn.answer.boxes[place]]


def _dragged(session: Session, editor: SceneEditor, scene: StudioScene, moved: dict) -> StudioScene:
    """A scene with the boxes as Plotly tells that they were moved: {"shapes[2].x0": 0.25, …}."""
    order = shown_order(session.drawn.answer.boxes)
    boxes: dict[int, list[float]] = {}
    for key, value in moved.items():
        number, _, edge = key[len("shapes[") :].partition("].")
        if key.startswith("shapes[") and edge in ("x0", "y0", "x1", "y1"):
            place = order[int(number)]
            box = boxes.setdefault(place, _shown_box(session, place))
            box[("x0", "y0", "x1", "y1").index(edge)] = min(1.0, max(0.0, float(value)))
    for place, (x0, y0, x1, y1) in boxes.items():
        # A corner may have been pulled over the opposite one.
        scene = editor.place(scene, place, (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    return scene
