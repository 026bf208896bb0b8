import numpy as np
import pytest

from filoscope_quantization import layout

SHAPES = [(1, 1), (8, 16), (7, 15), (9, 17), (64, 100), (40, 8), (160, 64)]


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("out,count", SHAPES)
def test_blocks_hold_every_value_where_the_kernels_look(out, count):
    values = np.random.default_rng(1).integers(-127, 128, (out, count)).astype(np.int8)
    blocks = layout.block_matrix(values)
    assert blocks.shape == (-(-out // 8), -(-count // 16) * 2, 8, 8)
    for row in range(out):
        for column in range(count):
            assert blocks[row // 8, column // 8, row % 8, column % 8] == values[row, column]
    assert np.abs(blocks.astype(int)).sum() == np.abs(values.astype(int)).sum(), "padding is not zero"
    assert np.array_equal(layout.unblock_matrix(blocks, out, count), values)


@pytest.mark.parametrize("out,count", SHAPES)
def test_int8_rows_are_within_half_a_step(out, count):
    weight = random(out, count) * np.logspace(-6, 6, out, dtype=np.float32)[:, None]
    values, scale = layout.quantize_rows(weight)
    assert values.dtype == np.int8 and scale.dtype == np.float32
    assert np.abs(values.astype(int)).max() == 127
    error = np.abs(values * scale[:, None].astype(np.float64) - weight)
    assert (error <= 0.5001 * scale[:, None].astype(np.float64)).all()


def test_never_minus_128_even_at_the_extremes():
    weight = np.array([[-1, 1, -1], [-3e38, 3e38, 0], [-1e-45, 1e-45, 0], [-1e-38, 1e-39, 0], [0, 0, 0]], np.float32)
    values, scale = layout.quantize_rows(weight)
    assert values.min() == -127 and values.max() == 127
    assert np.isfinite(scale).all()
    assert scale[4] == 0 and not values[4].any()


def test_rounds_half_to_even():
    values, _ = layout.quantize_rows(np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5]], np.float32))
    assert values.tolist() == [[127, 0, 2, 2, 0, -2]]


def test_sums_scales_and_biases_are_padded_with_zero():
    weight, bias = random(13, 21), random(13, seed=3)
    tensors = layout.linear_int8("l", weight, bias)
    values, scale = layout.quantize_rows(weight)
    assert {name: (values.dtype.str, values.shape) for name, values in tensors.items()} == {
        "l.weight": ("|i1", (2, 4, 8, 8)), "l.scale": ("<f4", (16,)), "l.sum": ("<i4", (16,)), "l.bias": ("<f4", (16,))}
    assert tensors["l.sum"][:13].tolist() == values.astype(int).sum(axis=1).tolist()
    assert np.array_equal(tensors["l.bias"][:13], bias) and np.array_equal(tensors["l.scale"][:13], scale)
    assert not any(tensors[f"l.{part}"][13:].any() for part in ("sum", "scale", "bias"))
    assert "l.bias" not in layout.linear_int8("l", weight)


def test_the_blocked_product_is_the_float_product():
    weight, x = random(24, 100), random(5, 100, seed=9)
    tensors = layout.linear_int8("l", weight)
    blocks, scale = tensors["l.weight"].astype(np.int64), tensors["l.scale"]
    wide = np.zeros((5, 112), np.int64)
    step = np.abs(x).max(axis=1, keepdims=True) / 127
    wide[:, :100] = np.rint(x / step)
    product = np.einsum("rkj,okij->roi", wide.reshape(5, 14, 8), blocks).reshape(5, 24) * step * scale
    expected = x @ weight.T
    assert np.linalg.norm(product - expected) < 0.01 * np.linalg.norm(expected)


@pytest.mark.parametrize("out,count,kernel", [(1, 1, 1), (12, 5, 3), (16, 3, 3), (48, 16, 1), (20, 24, 3)])
def test_convolutions_are_re_laid(out, count, kernel):
    weight = random(out, count, kernel, kernel)
    tensors = layout.convolution_float("c", weight, random(out, seed=2))
    wide = tensors["c.weight"]
    assert wide.shape == (kernel, kernel, count, -(-out // 16) * 16) and tensors["c.bias"].shape == wide.shape[3:]
    assert np.array_equal(wide[..., :out].transpose(3, 2, 0, 1), weight) and not wide[..., out:].any()
