"""An export whose bad scenes answer for themselves: each scene of any batch gets what it gets alone, to the bit."""

import numpy as np
import pytest
import tensorflow as tf
from request_faults import EVERY
from scene_mixtures import SCENES, check_row, good_requests, merged, mixtures, row, rows
from served_scenes import asking
from serving_targets import served
from tensorflow_serving.apis import prediction_log_pb2

from export import hub
from rgan_tf import scene_generator
from rgan_tf.runtime_messages import bounded, sentence_of
from rgan_tf.scene_graph import SceneError, SceneGraph
from rgan_tf.scene_requests import GENERATE, WITH_LAYOUT, WITH_PATCHES, RefusedScenesError


@pytest.fixture(scope="module")
def model(scene_export):
    return served(scene_export)._model


@pytest.fixture(scope="module")
def base(loaded_export):
    return good_requests(loaded_export.signatures)


def run(function, inputs):
    return {n: v.numpy() for n, v in function(**{n: tf.constant(v) for n, v in inputs.items()}).items()}


def refusal(function, inputs):
    """The sentence with which a call is refused, with a place for no scene's position."""
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        run(function, inputs)
    # The one control character that the graph lets through, and the runtime escapes in assertions.
    return sentence_of(refused.value.message).replace("\\177", " ")


@pytest.mark.parametrize("signature", EVERY)
def test_each_scene_of_a_mixture_gets_what_it_gets_alone(signature, model, loaded_export, base):
    """With another model's words for it alone, which fails the call, and that model's picture."""
    rng = np.random.default_rng(EVERY.index(signature))
    function, strict = model.signatures[signature], loaded_export.signatures[signature]
    bad, good = rows(base, signature, rng)
    assert len(bad) >= 12
    alone = {id(request): run(function, request) for request in [*bad, *good]}
    for request in bad:
        error = bounded(alone[id(request)]["error"][0].decode())
        assert error.startswith("The scene has ") and error.endswith(".")
        assert "Scene 0" + error.removeprefix("The scene") == refusal(strict, request)
    for request in good:
        answer, expected = alone[id(request)], run(strict, request)
        assert answer["error"].tolist() == [b""] and set(answer) == {*expected, "error"}
        for name, value in expected.items():
            if value.dtype != object:
                distance = np.abs(np.nan_to_num(answer[name].astype(float)) - np.nan_to_num(value.astype(float)))
                assert distance.max() <= (1 if name == "image" else 1e-4), name
        if "image" in answer:
            assert (tf.io.decode_png(answer["png_bytes"][0]).numpy() == answer["image"][0]).all()
    for batch in mixtures(bad, good, rng):
        answer = run(function, merged(batch))
        for number, request in enumerate(batch):
            check_row(answer, number, alone[id(request)])


def test_the_largest_batch_is_answered_row_by_row(model, base):
    bad, good = rows(base, WITH_PATCHES, np.random.default_rng(9))
    requests = ([*bad, *good] * 9)[:64]
    answer = run(model.signatures[WITH_PATCHES], merged(requests))
    for number, request in enumerate(requests):
        assert bool(answer["error"][number]) == any(request is spoilt for spoilt in bad)
        first = next(i for i, other in enumerate(requests) if other is request)
        check_row(answer, number, row(answer, first))


def test_what_is_wrong_with_a_whole_call_fails_it(model, loaded_export, base):
    inputs = base[WITH_PATCHES]
    spoilt = [
        {**inputs, "boxes": inputs["boxes"][:1]},
        {name: value[:0] for name, value in inputs.items()},
        {name: np.concatenate([value] * 33) for name, value in inputs.items()},
    ]
    for wrong in spoilt:
        sentence = refusal(model.signatures[WITH_PATCHES], wrong)
        assert sentence == refusal(loaded_export.signatures[WITH_PATCHES], wrong) and "scenes" in sentence


def test_python_callables_answer_by_scene(model, base):
    rng = np.random.default_rng(5)
    for signature in EVERY:
        batch = merged(mixtures(*rows(base, signature, rng), rng)[2])
        names = [name for name in ("retrieve", "synthesize") if signature.startswith(name)] or ["generate"]
        call = getattr(model, names[0])
        answer = {name: value.numpy() for name, value in call(**batch).items()}
        for number in range(len(batch["object_names"])):
            check_row(answer, number, run(model.signatures[signature], row(batch, number)))
    # Without padding, as people write it.
    names = tf.constant([["sky", "unicorn"], ["sky", "grass"]])
    below, none = tf.constant([[1], [1]]), tf.constant([[0], [0]])
    answer = model.generate(names, below, tf.constant([["below"]] * 2), none, tf.constant([3, 3], tf.int64))
    assert b"`unicorn` as object 1" in answer["error"][0].numpy() and not answer["image"][0].numpy().any()
    expected = run(model.signatures[GENERATE], {n: v.numpy() for n, v in asking(SCENES[1:], GENERATE).items()})
    check_row({name: value.numpy() for name, value in answer.items()}, 1, expected)


def test_in_a_session_as_tensorflow_serving_runs_it(model, scene_export, base):
    """The C++ loader and session, on a batch that a batching server filled up with copies of its last request."""
    bad, good = rows(base, WITH_LAYOUT, np.random.default_rng(6))
    requests = [good[0], bad[0], bad[5], good[1], bad[-1], bad[-1], bad[-1], bad[-1]]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(scene_export / "1"))
        signature = meta.signature_def[WITH_LAYOUT]
        outputs = {name: info.name for name, info in signature.outputs.items()}

        def ask(inputs):
            return session.run(outputs, {signature.inputs[name].name: value for name, value in inputs.items()})

        answer = ask(merged(requests))
        for number, request in enumerate(requests):
            check_row(answer, number, ask(request))
    assert [bool(sentence) for sentence in answer["error"]] == [False, True, True, False, True, True, True, True]


def test_the_generator_knows_without_being_told(model, scene_export, tiny_export, loaded_export, monkeypatch):
    loaded = {str(scene_export / "1"): model, str(tiny_export / "1"): loaded_export}
    monkeypatch.setattr(tf.saved_model, "load", loaded.get)
    by_scene, strict = scene_generator.load(scene_export), scene_generator.load(tiny_export)
    pinned = SceneGraph(("sky",), patches=(123456789,))
    for generator in (by_scene, strict):
        with pytest.raises(SceneError, match="^Scene 0 has the patch 123456789 for object 0; the bank holds no patch"):
            generator.generate(pinned)
    with pytest.raises(RefusedScenesError, match="^2 scenes are refused; the first: Scene 1 has the patch") as refused:
        by_scene.draw([SCENES[0], pinned, SCENES[1], pinned], seed=3)
    assert set(refused.value.sentences) == {1, 3} and refused.value.sentences[3].startswith("Scene 3 has the patch 123")
    assert [answer is None for answer in refused.value.answers] == [False, True, False, True]
    for scene, answer in zip(SCENES, refused.value.answers[::2]):
        np.testing.assert_array_equal(answer.image, by_scene.draw([scene], seed=3)[0].image)


def test_what_travels_with_the_export_says_so(scene_export, model, tiny_export, tmp_path):
    page = hub.pack(scene_export / "1", tmp_path / "model.tar.gz").read_text()
    assert "### Refusals" in page and "`error`, string [B]" in page
    assert "fails the whole call" in (tiny_export / "1" / "assets.extra" / "model_card.md").read_text()
    warm_up = scene_export / "1" / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(warm_up)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        assert run(model.signatures[request.model_spec.signature_name], inputs)["error"].tolist() == [b""]
