"""Ways to spoil a good request, with what an answer must then name."""

import itertools

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from rgan_tf.scene_requests import GENERATE, RETRIEVE_WITH_PATCHES, WITH_LAYOUT, WITH_PATCHES

GRAPH = (GENERATE, WITH_LAYOUT, WITH_PATCHES, "retrieve", RETRIEVE_WITH_PATCHES)
EVERY = (*GRAPH, "synthesize")
MIB = 1 << 20


class Draft:
    """A good request about two scenes, to be spoilt. `words` are what the answer must name; `rest`, whether it can be
    said in JSON.
    """

    def __init__(self, base, signature, rng):
        self.inputs = {name: value.copy() for name, value in base[signature].items()}
        self.signature, self.rng, self.words, self.rest = signature, rng, [], True
        self.protos, self.filter, self.body = {}, [], None

    def put(self, name, scene, place, value, *words):
        self.inputs[name][scene, place] = value
        self.words = [f"Scene {scene}", *(words or [str(value)])]

    def scene(self):
        return int(self.rng.integers(2))

    def serialized(self, model):
        if self.body is not None:
            return self.body
        request = predict_pb2.PredictRequest(output_filter=self.filter)
        request.model_spec.name, request.model_spec.signature_name = model, self.signature
        for name, value in {**self.inputs, **self.protos}.items():
            proto = value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value)
            request.inputs[name].CopyFrom(proto)
        return request.SerializeToString()


FAULTS = {}


def fault(*signatures, times=None):
    """A way to spoil a request for one of the signatures; `times` bounds how often it is taken."""

    def keep(function):
        FAULTS[function.__name__] = (function, signatures or EVERY, times)
        return function

    return keep


def noise(rng, low, high):
    return rng.integers(0, 256, int(rng.integers(low, high)), np.uint8).tobytes()


@fault()
def unknown_object(draft):
    name = "".join(draft.rng.choice(list("unicorns"), 9))
    draft.put("object_names", draft.scene(), 1, name.encode(), name)


@fault()
def reserved_object(draft):
    draft.put("object_names", draft.scene(), 0, b"__image__", "__image__")


@fault()
def bytes_that_are_no_name(draft):
    draft.put("object_names", draft.scene(), 1, b"\xff\xfe\n'\"`]\\" + noise(draft.rng, 0, 200), "object 1")


@fault(times=3)
def ten_mebibytes_of_noise_as_a_name(draft):
    draft.put("object_names", draft.scene(), 1, noise(draft.rng, 10 * MIB, 10 * MIB + 1), "object 1")
    draft.rest = False


@fault(*GRAPH)
def unknown_predicate(draft):
    draft.put("predicates", draft.scene(), 0, b"abuv", "abuv", "relationship 0")


@fault(*GRAPH)
def index_out_of_range(draft):
    name = draft.rng.choice(["subjects", "objects_of"])
    draft.put(name, draft.scene(), 0, int(draft.rng.choice([3, 4, 99, -1, -2, -(2**31), 2**31 - 1])))


@fault(*GRAPH)
def related_to_itself(draft):
    scene = draft.scene()
    draft.put("objects_of", scene, 0, draft.inputs["subjects"][scene, 0], "itself")


@fault(*GRAPH)
def index_without_predicate(draft):
    draft.put(draft.rng.choice(["subjects", "objects_of"]), draft.scene(), -1, 1, "no predicate")


@fault()
def no_objects(draft):
    draft.put("object_names", draft.scene(), slice(None), b"", "no objects")


@fault()
def padding_first(draft):
    draft.put("object_names", draft.scene(), 0, b"", "padding last")


@fault(WITH_LAYOUT, WITH_PATCHES, "synthesize")
def box_beyond_the_image(draft):
    box = draft.rng.uniform(0, 1, 4).astype(np.float32)
    box[[0, 1]], box[[2, 3]] = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
    box[draft.rng.integers(4)] = draft.rng.choice([1.5, -0.25, 7e8, np.inf, -np.inf, np.nan])
    draft.put("boxes", draft.scene(), 1, box, "box", "object 1")


@fault(WITH_LAYOUT, WITH_PATCHES, "synthesize")
def box_inside_out(draft):
    draft.put(
        "boxes", draft.scene(), 0, draft.rng.choice([[0.5, 0, 0.5, 1], [0, 0.75, 1, 0.25], [0, 0, 0, 0]]), "object 0"
    )


@fault(WITH_LAYOUT, WITH_PATCHES, "synthesize")
def box_of_nothing(draft):
    draft.put("boxes", draft.scene(), -1, [0.0, 0.0, 1.0, 1.0], "a box", "no name")


@fault(WITH_PATCHES, RETRIEVE_WITH_PATCHES, "synthesize")
def unknown_patch(draft):
    draft.put("patch_ids", draft.scene(), 0, int(draft.rng.choice([-2, -(2**63), 2**63 - 1, 10**15])))


@fault(WITH_PATCHES, RETRIEVE_WITH_PATCHES, "synthesize")
def patch_of_nothing(draft):
    draft.put("patch_ids", draft.scene(), -1, draft.inputs["patch_ids"][0, 0], "a patch", "no name")


@fault("synthesize")
def something_left_open(draft):
    draft.put(draft.rng.choice(["boxes", "patch_ids"]), draft.scene(), 1, -1, "object 1")


def any_input(draft):
    name = str(draft.rng.choice(sorted(draft.inputs)))
    draft.words, draft.rest = [name], False
    return name


@fault()
def missing_input(draft):
    del draft.inputs[any_input(draft)]


@fault()
def extra_input(draft):
    any_input(draft)
    name = str(draft.rng.choice(["seeds", "x" * 3000, "", "é\n"]))
    draft.inputs[name], draft.words = np.ones(2, np.float32), ["input"]


@fault()
def wrong_type(draft):
    name = any_input(draft)
    kinds = [np.float64, np.uint8, bool, np.complex64]
    draft.protos[name] = np.zeros(draft.inputs[name].shape, kinds[draft.rng.integers(4)])


@fault()
def wrong_rank(draft):
    name = any_input(draft)
    draft.inputs[name] = draft.inputs[name][None] if draft.rng.integers(2) else draft.inputs[name][0]


@fault()
def wrong_size(draft):
    name = any_input(draft)
    while name == "seed":
        name = any_input(draft)
    value = draft.inputs[name]
    draft.inputs[name] = value[:, :-1] if draft.rng.integers(2) else np.concatenate([value, value], axis=1)


@fault()
def batches_that_differ(draft):
    name = any_input(draft)
    draft.inputs[name] = np.concatenate([draft.inputs[name]] * 2)


@fault()
def too_many_scenes(draft):
    draft.inputs = {name: np.concatenate([value] * 33) for name, value in draft.inputs.items()}
    draft.words = ["66", "64"]


@fault()
def no_scenes(draft):
    draft.inputs = {name: value[:0] for name, value in draft.inputs.items()}
    draft.words, draft.rest = ["0 scenes"], False


@fault()
def huge_shape(draft):
    name = any_input(draft)
    proto = tf.make_tensor_proto(draft.inputs[name])
    sizes = draft.rng.choice([10**9, 2**31, 2**62, 64], 2)
    for dim, size in zip(proto.tensor_shape.dim, (max(sizes), *sizes)):
        dim.size = int(size)
    draft.protos[name] = proto


@fault()
def nonsense_of_a_proto(draft):
    name = any_input(draft)
    proto = tf.make_tensor_proto(draft.inputs[name])
    kind = draft.rng.integers(4)
    if kind == 0:
        proto.tensor_shape.unknown_rank = True
    elif kind == 1:
        proto.tensor_shape.dim[0].size = -int(draft.rng.integers(1, 2**40))
    elif kind == 2:
        proto.tensor_content = noise(draft.rng, 1, 7)
    else:
        proto.dtype = int(draft.rng.choice([0, 20, 21, 99]))
    draft.protos[name] = proto


@fault()
def unknown_output(draft):
    draft.filter, draft.words, draft.rest = ["png", "png_bytes"], ["png"], False


@fault()
def bytes_that_are_no_request(draft):
    draft.body, draft.words, draft.rest = b"\xff" + noise(draft.rng, 1, 2000), ["PredictRequest"], False


@fault(times=2)
def ten_mebibytes_that_are_no_request(draft):
    draft.body, draft.words, draft.rest = b"\xff" + noise(draft.rng, 10 * MIB, 10 * MIB + 1), ["PredictRequest"], False


def drafts(base):
    """Spoilt requests without end, with the names of their faults: each in turn, in other signatures and values.

    base: arrays of a good request about two scenes, of three and two objects, by signature and name.
    """
    rng, left = np.random.default_rng(0), {name: times for name, (_, _, times) in FAULTS.items()}
    for number, name in enumerate(itertools.cycle(FAULTS)):
        spoil, signatures, _ = FAULTS[name]
        if left[name] == 0:
            continue
        if left[name]:
            left[name] -= 1
        draft = Draft(base, signatures[number % len(signatures)], rng)
        spoil(draft)
        yield name, draft
