"""The page's application: its routes, and what browsers are told about it."""

import ipaddress
from collections.abc import Sequence
from typing import Optional

import dash
import flask

from export.studio import page, pictures
from export.studio.edits import Edits
from export.studio.examples import examples
from export.studio.model import StudioModel
from export.studio.scene_editor import SceneEditor, StudioScene
from export.studio.sessions import Sessions
from export.studio.turns import Turns
from export.studio.views import Views
from pipelines.relations import PREDICATES
from rgan_tf.errors import UserError
from rgan_tf.scene_graph import Vocabulary

# Of a request; a scene in JSON is a fiftieth of it.
_MOST_BYTES = 1 << 20
_POLICY = (
    "default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{%title%}</title>
{%favicon%}
{%css%}
</head>
<body>
{%app_entry%}
{%config%}
{%scripts%}
{%renderer%}
</body>
</html>"""


def make_application(model: StudioModel, places: int, hosts: Optional[Sequence[str]] = None) -> dash.Dash:
    """The application.

    Args:
      model: what draws.
      places: pictures that are drawn at once.
      hosts: names by which browsers may ask for the page; None: those of this machine's loopback. Others are refused,
        so that no page of another host can reach it under a name of its own.
    """
    app = dash.Dash(__name__, title="RetrieveGAN studio", update_title=None, serve_locally=True)
    app.index_string = _FRAME
    editor = SceneEditor(model.vocabulary, model.max_objects, model.max_triples)
    sessions, turns = Sessions(), Turns(places)
    starts = examples(model.vocabulary, model.max_objects, model.max_triples)
    names = model.vocabulary or Vocabulary.from_names(sorted({n for s in starts for n in s.objects}), PREDICATES)
    app.layout = lambda: page.page(sessions.create(StudioScene(starts[0])), names, starts, model.has_patches)
    # The first picture takes seconds to be traced; nobody should wait for it on the page.
    model.draw(0, StudioScene(starts[0]))
    Edits(app, sessions, editor, starts)
    Views(app, sessions, editor, model, turns)
    _add_sources(app.server, model, turns)
    _guard(app, hosts)
    return app


def _add_sources(server: flask.Flask, model: StudioModel, turns: Turns) -> None:
    @server.get("/source/<int:patch>.png")
    def source(patch: int) -> flask.Response:
        """The picture that a patch was cut from; numbers alone, so that no name of a file is ever opened."""
        try:
            with turns.place():
                found = model.source(patch)
        except UserError:
            # Its sentence would tell where the bank lies.
            return flask.Response(f"There is no patch {patch}.", 404, mimetype="text/plain")
        if found is None:
            return flask.Response("An export holds no source pictures.", 404, mimetype="text/plain")
        return flask.Response(pictures.png_of(pictures.outlined(found)), mimetype="image/png")


def _guard(app: dash.Dash, hosts: Optional[Sequence[str]]) -> None:
    """Refuses what is too large or comes by another name; tells browsers to load nothing from elsewhere."""
    server, policy = app.server, ""
    server.config["MAX_CONTENT_LENGTH"] = _MOST_BYTES

    @server.before_request
    def refuse_strangers() -> Optional[flask.Response]:
        host = flask.request.host.rpartition(":")[0] or flask.request.host
        if not (_is_loopback(host) if hosts is None else host in hosts):
            return flask.Response(f"The studio does not answer to the name {host!r}.", 421, mimetype="text/plain")
        return None

    @server.after_request
    def tell(response: flask.Response) -> flask.Response:
        nonlocal policy
        # Dash's one inline script is known when all callbacks are.
        policy = policy or _POLICY.format(hashes=" ".join(f"'{h.strip(chr(39))}'" for h in app.csp_hashes()))
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
