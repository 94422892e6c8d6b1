"""The scene graph as cytoscape shows it."""

from export.studio.scene_editor import StudioScene
from rgan_tf.drawing import object_colours

STYLESHEET = [
    {
        "selector": "node",
        "style": {
            "label": "data(label)",
            "shape": "round-rectangle",
            "width": "data(width)",
            "height": 26,
            "padding": "6px",
            "background-color": "#ffffff",
            "border-width": 3,
            "border-color": "data(colour)",
            "color": "#202024",
            "font-size": 15,
            "text-valign": "center",
            "text-halign": "center",
        },
    },
    {
        "selector": "edge",
        "style": {
            "label": "data(label)",
            "curve-style": "bezier",
            "target-arrow-shape": "triangle",
            "line-color": "#8a8a94",
            "target-arrow-color": "#8a8a94",
            "width": 2,
            "font-size": 13,
            "color": "#3c3c44",
            "text-background-color": "#ffffff",
            "text-background-opacity": 1,
            "text-background-padding": "2px",
        },
    },
    {"selector": ".from", "style": {"background-color": "#dbeafe"}},
    {"selector": ".to", "style": {"background-color": "#fde68a"}},
]


def elements(scene: StudioScene, subject: int = -1, target: int = -1) -> list[dict]:
    """Nodes and edges; an object's node is named by its place, so that it stays where it is while others change.

    Args:
      scene: to show.
      subject: the object that a relation is going to be drawn from, -1 for none.
      target: likewise, the one that it goes to.
    """
    colours, found = object_colours(len(scene.graph.objects)), []
    for i, name in enumerate(scene.graph.objects):
        marks = " ".join(mark for mark, place in (("from", subject), ("to", target)) if place == i)
        colour = "rgb({},{},{})".format(*colours[i])
        # About as wide as its name.
        data = {"id": f"o{i}", "place": i, "label": name, "colour": colour, "width": 14 + 8 * len(name)}
        found.append({"data": data, "classes": marks})
    for n, (subject_, predicate, target_) in enumerate(scene.graph.relationships):
        found.append({"data": {"id": f"r{n}", "source": f"o{subject_}", "target": f"o{target_}", "label": predicate}})
    return found
