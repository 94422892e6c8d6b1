"""Kinds of fields that have the same type and the same bound.

Upper bounds are far above what has been trained, and below what overflows or was surely meant otherwise.
"""

from typing import Annotated

from rgan_tf.config.bounds import Flag, Integer, Interval, ListOf, Number, OneOf, Text

# TensorFlow's stateless generators take seeds as int32, and scenes and patches are counted in it.
INT32 = 2**31 - 1
WIDEST = 2**14
_MOST_STEPS = 10**9
_NAME = Text("a name", empty=False)
_HOST = r"(\[[0-9a-fA-F:.]+\]|[^\s,:/\[\]]+):[0-9]{1,5}"

Switch = Annotated[bool, Flag()]
Seed = Annotated[int, Integer(0, INT32)]
# Scenes or pictures.
Count = Annotated[int, Integer(1, 10**8)]
BatchSize = Annotated[int, Integer(1, 2**16)]
Steps = Annotated[int, Integer(1, _MOST_STEPS)]
StepsOrNone = Annotated[int, Integer(0, _MOST_STEPS)]
# Channels, features.
Width = Annotated[int, Integer(1, WIDEST)]
Widths = Annotated[list[int], ListOf(Integer(1, WIDEST), 0, 12, "integers, a width each", repeats=True)]
# Layers that may be left out altogether.
Depth = Annotated[int, Integer(0, 256)]
# Adam computes in float32: smaller rates vanish there, and a decay closer to 1 becomes 1.
LearningRate = Annotated[float, Number(1e-12, 10.0)]
Decay = Annotated[float, Number(0.0, 0.999999)]
Temperature = Annotated[float, Number(1e-6, 1e6)]
LossWeight = Annotated[float, Number(0.0, 1e9)]
Adversarial = Annotated[str, OneOf(("modified", "minimax", "hinge", "least_squares", "relativistic"))]
Augmentation = Annotated[
    list[str], ListOf(OneOf(("colour", "translation", "cutout")), 0, 3, "of colour, translation and cutout")
]
Normalization = Annotated[str, OneOf(("instance", "group", "none"))]
# Of a feature network.
InputSize = Annotated[int, Integer(0, 4096)]
PixelRange = Annotated[list[float], Interval(-1e6, 1e6)]
Signature = Annotated[str, Text("a signature of the SavedModel")]
FeatureLayers = Annotated[list[str], ListOf(_NAME, 1, 64, "names of VGG19's layers, or of a handle's outputs")]
FeaturesAndLogits = Annotated[
    list[str], ListOf(_NAME, 2, 2, "two outputs, that of the features and that of the class logits", repeats=True)
]
EvaluationNetwork = Annotated[
    str, OneOf(("inception_tfgan", "keras_inception", "vgg19_block3", "saved_model", "in_domain"))
]
Path = Annotated[str, Text("a path or an address")]
Strategy = Annotated[str, OneOf(("off", "one_device", "mirrored", "multi_worker_mirrored"))]
Hosts = Annotated[str, Text("the workers as host:port,host:port", form=f"{_HOST}(,{_HOST})*")]
