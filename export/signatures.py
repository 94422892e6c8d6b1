"""The functions of an exported model: signatures of fixed size, and callables that take scenes without padding."""

from collections.abc import Sequence

import tensorflow as tf

from export.scene_service import SYNTHESIZE, SceneService, traced
from rgan_tf.scene_requests import GENERATE, RETRIEVE, RETRIEVE_WITH_PATCHES, WITH_LAYOUT, WITH_PATCHES


def build(service: SceneService, kept: Sequence) -> tuple[tf.Module, dict]:
    """The module to save, and its signatures.

    The module has the callables `generate`, `retrieve` and `synthesize`, which take a scene of any size up to the
    model's without padding; the signatures, batched by servers, are of fixed size.

    Args:
      service: what answers.
      kept: everything that the graph reads: variables, tables.
    """
    module = tf.Module(name="retrievegan")
    module.kept = list(kept)
    retrieving = (RETRIEVE, RETRIEVE_WITH_PATCHES)
    answers = {**dict.fromkeys(retrieving, service.retrieve), SYNTHESIZE: service.synthesize}
    signatures = {}
    for signature, names in service.inputs.items():
        answer = answers.get(signature, service.generate)
        function = traced(lambda answer=answer, **inputs: answer(inputs))
        signatures[signature] = function.get_concrete_function(**service.specs(names, static=True))
    _add_callables(module, service, signatures)
    return module, signatures


def _add_callables(module: tf.Module, service: SceneService, signatures: dict) -> None:
    """Functions by argument around the signatures, each traced for the arguments that may be left out."""

    def answer(signature, **inputs):
        return signatures[signature](**service.pad({name: inputs[name] for name in service.inputs[signature]}))

    @traced
    def generate(object_names, subjects, predicates, objects_of, seed, boxes=None, patch_ids=None):
        graph = {"object_names": object_names, "subjects": subjects, "predicates": predicates, "objects_of": objects_of}
        if patch_ids is None:
            return answer(GENERATE if boxes is None else WITH_LAYOUT, **graph, seed=seed, boxes=boxes)
        boxes = service.open_boxes(object_names) if boxes is None else boxes
        return answer(WITH_PATCHES, **graph, seed=seed, boxes=boxes, patch_ids=patch_ids)

    @traced
    def retrieve(object_names, subjects, predicates, objects_of, seed, patch_ids=None):
        graph = {"object_names": object_names, "subjects": subjects, "predicates": predicates, "objects_of": objects_of}
        return answer(RETRIEVE if patch_ids is None else RETRIEVE_WITH_PATCHES, **graph, seed=seed, patch_ids=patch_ids)

    @traced
    def synthesize(object_names, boxes, patch_ids):
        return answer(SYNTHESIZE, object_names=object_names, boxes=boxes, patch_ids=patch_ids)

    asked = service.inputs[RETRIEVE]
    for fixed in ((), ("boxes",), ("patch_ids",), ("boxes", "patch_ids")):
        specs = service.specs([*asked, *fixed], static=False)
        generate.get_concrete_function(*(specs.get(n) for n in service.inputs[WITH_PATCHES]))
    for fixed in ((), ("patch_ids",)):
        retrieve.get_concrete_function(**service.specs([*asked, *fixed], static=False))
    synthesize.get_concrete_function(**service.specs(service.inputs[SYNTHESIZE], static=False))
    module.generate, module.retrieve, module.synthesize = generate, retrieve, synthesize
