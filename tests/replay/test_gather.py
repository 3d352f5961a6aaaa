import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyagent import native
from pyagent.replay.storage import gather

DTYPES = ["bool", "int8", "uint16", "float32", "int64", "float64", "complex128"]


@given(
    B=st.integers(1, 5),
    R=st.integers(1, 40),
    n=st.integers(0, 9),
    T=st.integers(0, 90),
    shape=st.sampled_from([(), (1,), (2,), (3,), (2, 2), (0,), (33, 5)]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_equals_indexing(B, R, n, T, shape, dtype, seed):
    random = np.random.default_rng(seed)
    steps = random.integers(0, 100, (B, R, *shape)).astype(dtype)
    lane, start = random.integers(0, B, n), random.integers(0, R, n)
    result = gather(steps, lane, start, T)
    assert result.dtype == steps.dtype
    np.testing.assert_array_equal(result, steps[lane, (start + np.arange(T)[:, None]) % R])


STEPS, OUT = np.zeros((3, 10, 4), np.float32), np.zeros((5, 2, 4), np.float32)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"lane": [0, 3]}, IndexError),
        ({"lane": [-1, 0]}, IndexError),
        ({"start": [0, 10]}, IndexError),
        ({"start": [0, -(2**63)]}, IndexError),
        ({"start": [0]}, ValueError),
        ({"lane": [[0, 1]]}, ValueError),
        ({"lane": np.array([0.0, 1.0])}, TypeError),
        ({"lane": np.array([0, 9, 1, 9])[::2]}, TypeError),
        ({"out": OUT.astype(np.float64)}, ValueError),
        ({"out": OUT[:, :, :2].copy()}, ValueError),
        ({"out": OUT[:, :, ::2]}, ValueError),
        ({"out": OUT[0]}, ValueError),
        ({"steps": STEPS[:, ::2]}, ValueError),
        ({"steps": STEPS[0, 0]}, ValueError),
        ({"steps": np.full((3, 10, 4), None), "out": np.full((5, 2, 4), None)}, ValueError),
        ({"steps": None}, TypeError),
    ],
)
def test_the_raw_call_refuses_what_it_cannot_do(changes, error):
    arguments = {"steps": STEPS, "lane": np.array([0, 2]), "start": np.array([9, 0]), "out": OUT}
    changes = {name: np.array(value) if isinstance(value, list) else value for name, value in changes.items()}
    with pytest.raises(error):
        native.arrays.gather_sequences(**{**arguments, **changes})


def test_the_raw_call_refuses_to_write_what_is_read_only():
    out = OUT.copy()
    out.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        native.arrays.gather_sequences(STEPS, np.array([0, 2]), np.array([9, 0]), out)
