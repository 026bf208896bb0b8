"""How the engine wants its weights: the shapes of docs and kernels, and the way back for measuring and tests."""

import numpy as np

BLOCK = 8  # outputs and inputs of one 64-byte block
INPUT_MULTIPLE = 16  # the NEON kernels consume pairs of blocks
CHANNEL_MULTIPLE = 16  # of a convolution's outputs: the virtual lanes


def padded(count, multiple):
    return -(-count // multiple) * multiple


def quantize_rows(weight):
    """Symmetric int8 with one scale per row of [rows, n]: values in -127...127, scale = absmax / 127 as float32."""
    weight = np.asarray(weight, np.float32)
    scale = np.abs(weight).max(axis=1) / np.float32(127)
    safe = np.where(scale > 0, scale, np.float32(1))
    values = np.rint(weight.astype(np.float64) / safe[:, None].astype(np.float64))
    return np.clip(values, -127, 127).astype(np.int8), scale.astype(np.float32)


def block_matrix(values):
    """int8 [out, in] to [out_padded/8, in_padded/8, 8 outputs, 8 inputs], zero-padded."""
    out, count = values.shape
    rows, columns = padded(out, BLOCK), padded(count, INPUT_MULTIPLE)
    wide = np.zeros((rows, columns), np.int8)
    wide[:out, :count] = values
    blocks = wide.reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3))


def unblock_matrix(blocks, out, count):
    """The inverse of `block_matrix`."""
    rows, columns = blocks.shape[0] * BLOCK, blocks.shape[1] * BLOCK
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3).reshape(rows, columns)[:out, :count])


def pad_vector(values, multiple):
    wide = np.zeros(padded(len(values), multiple), values.dtype)
    wide[:len(values)] = values
    return wide


def linear_int8(name, weight, bias=None):
    """Tensors of an int8 linear from torch's weight [out, in] and bias [out]."""
    values, scale = quantize_rows(weight)
    tensors = {
        f"{name}.weight": block_matrix(values),
        f"{name}.scale": pad_vector(scale, BLOCK),
        f"{name}.sum": pad_vector(values.sum(axis=1, dtype=np.int32), BLOCK),
    }
    if bias is not None:
        tensors[f"{name}.bias"] = pad_vector(bias, BLOCK)
    return tensors


def embedding_int8(name, weight):
    """Tensors of an int8 embedding table [rows, n], row-major with a scale per row."""
    values, scale = quantize_rows(weight)
    return {f"{name}.weight": values, f"{name}.scale": scale}


def convolution_float(name, weight, bias=None):
    """Tensors of a convolution from torch's [out, in, kh, kw]: [kh, kw, in, out_padded16]."""
    wide = np.zeros((*weight.shape[2:], weight.shape[1], padded(weight.shape[0], CHANNEL_MULTIPLE)), np.float32)
    wide[..., :weight.shape[0]] = weight.transpose(2, 3, 1, 0)
    tensors = {f"{name}.weight": wide}
    if bias is not None:
        tensors[f"{name}.bias"] = pad_vector(bias, CHANNEL_MULTIPLE)
    return tensors


def convolution_int8(name, weight, bias, past, quantization):
    """Tensors of an int8 convolution from torch's [out, in, kh, kw], of whose inputs the last `past` come from a second
    image; it takes bytes of `quantization`, (scale, zero). Weights are [out16/8, kh, kw, (in16 + past16)/8, 8 outputs,
    8 inputs]."""
    out, count, kernel, _ = weight.shape
    values, scale = quantize_rows(weight.reshape(out, -1))
    values = values.reshape(weight.shape)
    first = count - past
    wide = np.zeros((padded(out, CHANNEL_MULTIPLE), padded(first, INPUT_MULTIPLE) + padded(past, INPUT_MULTIPLE),
                     kernel, kernel), np.int8)
    wide[:out, :first] = values[:, :first]
    wide[:out, padded(first, INPUT_MULTIPLE):][:, :past] = values[:, first:]
    blocks = wide.reshape(len(wide) // BLOCK, BLOCK, wide.shape[1] // BLOCK, BLOCK, kernel, kernel)
    tensors = {
        f"{name}.weight": np.ascontiguousarray(blocks.transpose(0, 4, 5, 2, 1, 3)),
        f"{name}.scale": pad_vector(scale, CHANNEL_MULTIPLE),
        f"{name}.sum": pad_vector(values.sum(axis=(1, 2, 3), dtype=np.int32), CHANNEL_MULTIPLE),
        f"{name}.bias": pad_vector(bias, CHANNEL_MULTIPLE),
        f"{name}.input": np.array(quantization, np.float32),
    }
    return tensors


def unblock_convolution(blocks, shape, past):
    """int8 weights back as [out, in, kh, kw]."""
    out, count, kernel, _ = shape
    wide = blocks.transpose(0, 4, 3, 5, 1, 2).reshape(blocks.shape[0] * BLOCK, -1, kernel, kernel)
    first = count - past
    return np.concatenate([wide[:out, :first], wide[:out, padded(first, INPUT_MULTIPLE):][:, :past]], axis=1)


def restore(file, name, shape, past=0):
    """Tensor `name` of a TensorFile in its float shape, int8 scaled back. What the engine computes with.

    The layout is told by dtype and rank, which never coincide for two layouts: kernels are 1 or 3 wide, and a
    convolution's stored last extent is a multiple of 16 in float32, and its rank 6 in int8.
    """
    stored_dtype, stored_shape = file.dtype(name), file.shape(name)
    if stored_dtype == "I8":
        layer = name.removesuffix(".weight")
        scale = file.float32(f"{layer}.scale")
        if len(stored_shape) == 6:
            values = unblock_convolution(file.raw(name), shape, past)
            return values.astype(np.float32) * scale[:shape[0], None, None, None]
        values = unblock_matrix(file.raw(name), *shape) if len(stored_shape) == 4 else file.raw(name)
        return values.astype(np.float32) * scale[:shape[0], None]
    values = file.float32(name)
    if stored_shape == tuple(shape):
        return values
    if len(stored_shape) == 4 and len(shape) == 4:
        return np.ascontiguousarray(values[..., :shape[0]].transpose(3, 2, 0, 1))
    if len(stored_shape) == 1 and len(shape) == 1:
        return values[:shape[0]]
    return values.reshape(shape)
