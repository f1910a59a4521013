"""The solved head: convex, so there is one right answer, whatever the number of workers."""

from typing import Any

import numpy as np
import pytest

from finetune_trainer import losses, solver

WIDTH, CLASSES, ROWS = 12, 3, 90


def data(seed: int = 0) -> tuple[Any, Any]:
    draw = np.random.default_rng(seed)
    labels = np.arange(ROWS) % CLASSES
    features = draw.normal(size=(ROWS, WIDTH)) + labels[:, None] * draw.normal(size=WIDTH)
    return features.astype(np.float32), labels.astype(np.int64)


def problem(
    features: Any, labels: Any, reduce: Any = lambda vector: vector, **changes: Any
) -> solver.Problem:
    values = {"weights": np.ones(len(labels), np.float32), "num_classes": CLASSES, "label_smoothing": 0.0}
    return solver.Problem(features, labels, reduce=reduce, tick=lambda: None, **{**values, **changes})


def test_the_gradient_of_the_regularised_loss_is_zero_at_the_solution() -> None:
    from sklearn.linear_model import LogisticRegression

    features, labels = data()
    walk = solver.Solver(problem(features, labels))
    head, _ = walk.solve(0.1)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    theirs = LogisticRegression(C=1 / (0.1 * ROWS), tol=1e-8, max_iter=1000).fit(standard, labels)
    np.testing.assert_allclose(_probabilities(features, head), theirs.predict_proba(standard), atol=1e-3)


def test_balanced_classes_are_those_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    features, labels = data()
    some = np.concatenate(
        [np.flatnonzero(labels == label)[:count] for label, count in enumerate((30, 12, 5))]
    )
    features, labels = features[some], labels[some]
    weights = losses.balanced([30, 12, 5])[labels]
    ours, _ = solver.Solver(problem(features, labels, weights=weights)).solve(0.1)
    mean = np.average(features, axis=0, weights=weights)
    standard = (features - mean) / np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights))
    model = LogisticRegression(C=1 / (0.1 * len(labels)), tol=1e-8, max_iter=1000, class_weight="balanced")
    theirs = model.fit(standard, labels).predict_proba(standard)
    np.testing.assert_allclose(_probabilities(features, ours), theirs, atol=1e-3)


def test_two_shares_and_their_sum_give_the_same_solution() -> None:
    features, labels = data()
    whole, _ = solver.Solver(problem(features, labels)).solve(0.01)
    # The other half's sums, computed at the same point, stand in for the other worker.
    halves = [problem(features[half], labels[half]) for half in (slice(0, 40), slice(40, ROWS))]
    together = _Together(halves)
    split, _ = together.solve(0.01)
    np.testing.assert_allclose(split.kernel, whole.kernel, atol=1e-5)


def test_weight_zero_is_as_if_not_there() -> None:
    features, labels = data()
    wild = np.concatenate([features, 100 * features[:10]])
    weights = np.concatenate([np.ones(ROWS, np.float32), np.zeros(10, np.float32)])
    weighted, _ = solver.Solver(problem(wild, np.concatenate([labels, labels[:10]]), weights=weights)).solve(
        0.01
    )
    plain, _ = solver.Solver(problem(features, labels)).solve(0.01)
    np.testing.assert_allclose(weighted.kernel, plain.kernel, atol=1e-5)


def test_a_resumed_path_is_the_uninterrupted_one() -> None:
    features, labels = data()
    walk = solver.Solver(problem(features, labels))
    first, second = solver.strengths(2)
    walk.solve(first)
    kept = np.array(walk.start)
    there, _ = walk.solve(second)
    again, _ = solver.Solver(problem(features, labels), start=kept).solve(second)
    np.testing.assert_array_equal(again.kernel, there.kernel)


def test_a_feature_that_never_varies_does_no_harm() -> None:
    features, labels = data()
    features[:, 0] = 5.0
    head, loss = solver.Solver(problem(features, labels)).solve(0.01)
    assert np.isfinite(head.kernel).all()
    assert loss < np.log(CLASSES)


def test_a_feature_that_hardly_varies_gets_no_weight_of_thousands() -> None:
    features, labels = data()
    # A channel that is dead but for a trace in one image, which happens to tell its class.
    features[:, 0] = 0.0
    features[7, 0] = 1e-4
    head, _ = solver.Solver(problem(features, labels)).solve(1e-4)
    assert np.abs(head.kernel[0]).max() < np.abs(head.kernel[1:]).max()


@pytest.mark.parametrize("points", [1, 2, 5])
def test_the_path_goes_from_strong_to_weak(points: int) -> None:
    strengths = solver.strengths(points)
    assert len(strengths) == points
    assert strengths == sorted(strengths, reverse=True)


def _probabilities(features: Any, head: solver.Head) -> Any:
    exponents = np.exp(features @ head.kernel + head.bias)
    return exponents / exponents.sum(axis=1, keepdims=True)


class _Together:
    """Two workers in one process: worker 0 solves, worker 1 answers with its own sums at the same point."""

    def __init__(self, halves: list[solver.Problem]) -> None:
        self._other = halves[1]
        self._mine = halves[0]
        self._asked: list[Any] = []

    def solve(self, strength: float) -> tuple[solver.Head, float]:
        features = np.concatenate([self._mine.features, self._other.features])
        labels = np.concatenate([self._mine.labels, self._other.labels])
        mean, scale, _ = solver._standardisation(problem(features, labels))
        other = solver._objective(self._other, mean, scale)
        calls: list[int] = []

        def reduce(vector: Any) -> Any:
            calls.append(len(vector))
            if len(calls) == 1:
                rows = self._other.features.astype(np.float64)
                return vector + np.concatenate([rows.sum(axis=0), (rows**2).sum(axis=0), [len(rows)]])
            return vector + other(walk._theta)

        mine = problem(self._mine.features, self._mine.labels, reduce=reduce)
        walk = _Remembering(mine)
        return walk.solve(strength)


class _Remembering(solver.Solver):
    """A solver that knows at which point it asked last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        inner = self._objective

        def remember(theta: Any) -> Any:
            self._theta = theta
            return inner(theta)

        self._objective = remember
