"""Scenes told in sentences: "sky above sea, boat inside sea".

Phrases are parted by commas, semicolons, full stops or lines. A phrase is "subject predicate object" or an object
alone. A name means the same object wherever it stands; a number behind it tells several of a kind apart: "sheep 1 left
of sheep 2".
"""

import re
from typing import Optional

from pipelines.relations import PREDICATES
from rgan_tf.scene_graph import SceneError, SceneGraph, Vocabulary

_PHRASES = re.compile(r"[,;.\n]+")


def read_sentences(text: str, vocabulary: Optional[Vocabulary]) -> SceneGraph:
    """The scene graph of a text; names are left to be checked by whoever takes it.

    Args:
      text: see the module.
      vocabulary: whose predicates a phrase is searched for; None: those that boxes decide.

    Raises:
      SceneError: it tells of nothing, or relates an object to itself.
    """
    predicates = sorted(vocabulary.predicates[1:] if vocabulary else PREDICATES, key=len, reverse=True)
    # The longest first, so that "standing on" is not read as "on".
    relation = re.compile(rf"\s({'|'.join(map(re.escape, predicates))})\s")
    places: dict[str, int] = {}
    triples = []
    for phrase in filter(None, (" ".join(part.split()) for part in _PHRASES.split(text))):
        subject, *rest = relation.split(phrase, maxsplit=1)
        first = places.setdefault(subject, len(places))
        if rest:
            predicate, target = rest
            second = places.setdefault(target, len(places))
            if first == second:
                raise SceneError(f'"{phrase}" relates one object to itself; number them: "{subject} 1", "{subject} 2".')
            triples.append((first, predicate, second))
    if not places:
        raise SceneError('The text tells of nothing; write something like "sky above sea, boat inside sea".')
    known = set(vocabulary.objects) if vocabulary else set()
    return SceneGraph(tuple(_unnumbered(name, known) for name in places), tuple(dict.fromkeys(triples)))


def _unnumbered(name: str, known: set[str]) -> str:
    return name if name in known else re.sub(r"\s+\d+$", "", name)
