"""A scene as COCO's annotation files give it, and as text that travels to other machines."""

import dataclasses
import json
import pathlib


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """One annotated object: its category's name, its box in fractions of the image, its segmentation as JSON.

    Text takes a tenth of the memory that the file's lists of numbers would.
    """

    category: str
    box: tuple[float, float, float, float]
    segmentation: bytes


@dataclasses.dataclass
class Scene:
    """One image and the objects that count."""

    image_id: str
    path: pathlib.Path
    width: int
    height: int
    license: str
    has_stuff: bool = False
    objects: list[SceneObject] = dataclasses.field(default_factory=list)

    def to_json(self) -> str:
        """One line, of which `from_json` makes an equal scene."""
        objects = [(item.category, item.box, item.segmentation.decode("utf-8")) for item in self.objects]
        return json.dumps({**vars(self), "path": str(self.path), "objects": objects})

    @classmethod
    def from_json(cls, line: str) -> "Scene":
        """The scene of a line of `to_json`."""
        fields = json.loads(line)
        objects = [SceneObject(name, tuple(box), text.encode("utf-8")) for name, box, text in fields["objects"]]
        return cls(**{**fields, "path": pathlib.Path(fields["path"]), "objects": objects})
