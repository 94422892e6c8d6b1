"""Algorithm 1 in NumPy and float64, one scene at a time: what tests compare the layer with."""

import numpy as np


def numpy_distances(features, query, distance):
    squared = ((features - query) ** 2).sum(axis=-1)
    return squared if distance == "squared_euclidean" else np.sqrt(squared)


def numpy_scene(features, mask, query, noise, temperature, distance, update, estimator, anchors=None, clamp_only=False):
    """One scene in float64, from the paper's listing and DESIGN section 5.

    Unless `estimator` is "relaxed" samples are one-hot. Then, with `anchors` (the rounds' softmaxes at a base point, as
    returned), samples are one-hot plus the change of the softmax since the base point: the function whose derivative
    the estimator claims.
    """
    features, query = features.astype(np.float64), query.astype(np.float64)
    num_objects = mask.shape[0]
    penalty, total, softs = np.zeros(num_objects), np.zeros(mask.shape), []
    chosen, gaps = [], []
    for number in range(int(mask.any(axis=1).sum())):
        log_pi = -numpy_distances(features, query, distance)
        with np.errstate(invalid="ignore"):
            exact = np.where(mask, log_pi + penalty[:, None], -np.inf)
            scores = (exact + noise[number]) / temperature
        log_shares = exact if estimator == "simple" else scores
        s = np.exp(log_shares - log_shares.max())
        s /= s.sum()
        softs.append(s)
        base = s if anchors is None else anchors[number]
        top = np.unravel_index(scores.argmax() if estimator == "simple" else base.argmax(), s.shape)
        gaps.append(np.diff(np.sort(np.append(scores, -np.inf))[-2:])[0])
        if estimator != "relaxed":
            sample = s - base
            sample[top] += 1.0
            step = np.log1p(-(s.max(axis=1) - base.max(axis=1)))
            step[top[0]] = -np.inf
        else:
            sample = s
            step = np.log1p(-np.minimum(s.max(axis=1), 1 - 1e-16))
            rest = np.delete(s.ravel(), np.ravel_multi_index(top, s.shape)).sum()
            step[top[0]] = np.log(max(rest, 1e-6)) if rest >= 1e-6 or clamp_only else -np.inf
        penalty = penalty + step
        total += sample
        chosen.append((sample[..., None] * features).sum(axis=(0, 1)))
        query = (query + chosen[-1]) / 2 if update == "running_average" else np.mean(chosen, axis=0)
    return total, query, softs, np.array(gaps)
