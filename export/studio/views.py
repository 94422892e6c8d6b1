"""What the page shows of its scene: lists at once, picture and patches when they are drawn."""

import json
from typing import Callable

from dash import ClientsideFunction, Input, Output, State, dcc, html, no_update

from export.studio import graph_view, lists, page, pictures
from export.studio.model import StudioModel
from export.studio.page import MORE_SEEDS
from export.studio.scene_editor import SceneEditor
from export.studio.sessions import Session, Sessions
from export.studio.turns import Turns
from rgan_tf.errors import UserError

_SESSION = State("session", "data")


class Views:
    """Registers the callbacks that show, draw and save."""

    def __init__(self, app, sessions: Sessions, editor: SceneEditor, model: StudioModel, turns: Turns):
        """Registers all of them."""
        self._app, self._sessions, self._editor = app, sessions, editor
        self._model, self._turns = model, turns
        self._register_lists()
        self._register_graph()
        self._register_picture()
        self._register_seeds()
        self._register_saving()

    def _register_lists(self) -> None:
        @self._app.callback(
            Output("objects", "children"),
            Output("relations", "children"),
            Output("ends", "children"),
            Output("undo", "disabled"),
            Output("redo", "disabled"),
            Output("seed", "value"),
            Output("link", "data"),
            Output("listed", "data"),
            Input("revision", "data"),
            _SESSION,
        )
        def show(_, name):
            session = self._sessions.get(name)
            revision, scene = session.present
            back, forth = session.can
            ends = [html.Option(value=end) for end in lists.ends(scene)]
            rows = lists.object_rows(scene), lists.relation_rows(scene), ends
            return (*rows, not back, not forth, scene.seed, self._editor.to_address(scene), revision)

        # Whether the picture is behind the lists; a call that is merged into a later one cannot tell. Each by itself:
        # what takes the picture's revision as its input waits until it is drawn.
        revisions = ("listed", "drawn")
        for told, asked in (revisions, revisions[::-1]):
            self._app.clientside_callback(
                ClientsideFunction("studio", f"busy_{told}"),
                Output("busy", "children", allow_duplicate=True),
                Input(told, "data"),
                State(asked, "data"),
                prevent_initial_call=True,
            )
        self._app.clientside_callback(
            ClientsideFunction("studio", "refused"),
            Output("busy", "children", allow_duplicate=True),
            Input("picture-refusal", "children"),
            prevent_initial_call=True,
        )
        # The address changes without a step in the browser's own history, and without a call back to the page.
        self._app.clientside_callback(
            ClientsideFunction("studio", "link"), Output("permalink", "href"), Input("link", "data")
        )

    def _register_graph(self) -> None:
        ends = ("relate-from", "relate-to")

        @self._app.callback(
            Output("graph", "elements"),
            Output("graph-picture", "aria-label"),
            Input("revision", "data"),
            *(Input(end, "value") for end in ends),
            _SESSION,
        )
        def show(_, subject, target, name):
            _, scene = self._sessions.get(name).present
            called = lists.ends(scene)
            marked = (called.index(end) if end in called else -1 for end in (subject, target))
            return graph_view.elements(scene, *marked), f"Scene graph: {scene.graph.in_words()}"

        @self._app.callback(
            *(Output(end, "value") for end in ends),
            Input("graph", "tapNode"),
            *(State(end, "value") for end in ends),
            _SESSION,
            prevent_initial_call=True,
        )
        def tap(node, subject, target, name):
            called, place = lists.ends(self._sessions.get(name).present[1]), node["data"]["place"]
            if place >= len(called):
                return no_update, no_update
            # The first object, then the second; a third one begins anew.
            end = called[place]
            return (end, "") if not subject or target or end == subject else (subject, end)

    def _register_picture(self) -> None:
        @self._app.callback(
            Output("picture", "figure"),
            Output("picture-frame", "aria-label"),
            Output("boxes", "children"),
            Output("patches", "children"),
            Output("change", "children"),
            Output("picture-refusal", "children"),
            Output("drawn", "data"),
            Input("revision", "data"),
            Input("with-boxes", "value"),
            Input("with-sources", "value"),
            _SESSION,
        )
        def draw(_, boxes, sources, name):
            try:
                session = self._sessions.get(name)
                drawn = self._turns.draw(session, self._model.draw)
            except UserError as error:
                return (*[no_update] * 5, str(error), no_update)
            if drawn is None:
                return (no_update,) * 7
            before = session.before
            words = f"The picture of {drawn.scene.graph.in_words()}"
            return (
                pictures.layout_figure(drawn, bool(boxes)),
                words,
                lists.box_rows(drawn),
                lists.patch_rows(drawn, bool(sources), self._model.has_sources),
                lists.change_figures(before, drawn) if before else [],
                "",
                drawn.revision,
            )

    def _register_seeds(self) -> None:
        @self._app.callback(
            Output("seeds", "children"),
            Output("seeds-refusal", "children"),
            Input("more-seeds", "n_clicks"),
            _SESSION,
            running=[(Output("seeds-busy", "children"), "Drawing …", "")],
            prevent_initial_call=True,
        )
        def more(_, name):
            try:
                _, scene = self._sessions.get(name).present
                buttons = []
                for seed in range(scene.seed + 1, scene.seed + 1 + MORE_SEEDS):
                    with self._turns.place():
                        buttons.append(lists.seed_button(seed, self._model.picture(scene, seed).image))
            except UserError as error:
                return no_update, str(error)
            return buttons, ""

    def _register_saving(self) -> None:
        saves = {"picture": _picture_file, "sheet": _sheet_file, "scene": _scene_file}
        for kind in page.SAVED:
            self._register_save(kind, saves[kind])

    def _register_save(self, kind: str, make: Callable[[Session], dict]) -> None:
        @self._app.callback(
            Output(f"download-{kind}", "data"), Input(f"save-{kind}", "n_clicks"), _SESSION, prevent_initial_call=True
        )
        def save(_, name):
            session = self._sessions.get(name)
            return no_update if session.drawn is None else make(session)


def _picture_file(session: Session) -> dict:
    return dcc.send_bytes(pictures.png_of(pictures.plain(session.drawn.answer.image)), "picture.png")


def _sheet_file(session: Session) -> dict:
    return dcc.send_bytes(pictures.png_of(pictures.sheet_of(session.drawn)), "sheet.png")


def _scene_file(session: Session) -> dict:
    content = json.dumps(session.present[1].to_dict(), indent=1, ensure_ascii=False)
    return dcc.send_string(f"{content}\n", "scene.json")
