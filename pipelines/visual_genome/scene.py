"""A scene as Visual Genome's annotation files give it, and as text that travels to other machines."""

import dataclasses
import json
import pathlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scene:
    """One image: category ids int [n] from 1, boxes float32 [n, 4] in fractions, triples int [r, 3] of (subject index,
    predicate id from 1, object index)."""

    image_id: str
    path: pathlib.Path
    width: int
    height: int
    categories: np.ndarray
    boxes: np.ndarray
    triples: np.ndarray

    def to_json(self) -> str:
        """One line, of which `from_json` makes an equal scene."""
        lists = {name: getattr(self, name).tolist() for name in ("categories", "boxes", "triples")}
        return json.dumps({**vars(self), "path": str(self.path), **lists})

    @classmethod
    def from_json(cls, line: str) -> "Scene":
        """The scene of a line of `to_json`."""
        fields = json.loads(line)
        return cls(
            **{
                **fields,
                "path": pathlib.Path(fields["path"]),
                "categories": np.array(fields["categories"], np.int64),
                "boxes": np.array(fields["boxes"], np.float32).reshape(-1, 4),
                "triples": np.array(fields["triples"], np.int64).reshape(-1, 3),
            }
        )
