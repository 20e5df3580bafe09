"""A source that fails is looked at less and less often, but never given up, and never more often than it should be."""

import pytest

from app.watchers.pace import again_after


@pytest.mark.parametrize(
    ("usual", "failures", "wait"),
    [
        (1, 0, 1),
        (1, 1, 2),
        (1, 4, 16),
        (1, 5, 30),
        (1, 10_000, 30),
        (60, 0, 60),  # one that is looked at rarely is not looked at more often because it fails
        (60, 3, 60),
    ],
)
def test_the_wait_doubles_up_to_a_bound(usual: float, failures: int, wait: float) -> None:
    assert again_after(usual, failures, seconds_max=30) == wait
