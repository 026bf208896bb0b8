"""int8 linears, float32 in and out with the quantization of the rows."""

from statistics import median

import numpy as np
from common import ROUNDS, ours, seconds_of

SHAPES = [(800, 1536, 1536), (800, 1536, 8960), (800, 8960, 1536), (64, 1536, 1536), (64, 192, 768), (800, 384, 1536)]


def onnx_runtime(x, w, scale, bias):
    """MatMulInteger behind DynamicQuantizeLinear, which ONNX Runtime fuses to DynamicQuantizeMatMul."""
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    k, n = w.shape[1], w.shape[0]
    graph = helper.make_graph(
        [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "sx", "zx"]),
         helper.make_node("MatMulInteger", ["q", "w", "zx", "zw"], ["i"]),
         helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
         helper.make_node("Mul", ["sx", "sw"], ["s"]),
         helper.make_node("Mul", ["f", "s"], ["m"]),
         helper.make_node("Add", ["m", "b"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [x.shape[0], k])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [x.shape[0], n])],
        [numpy_helper.from_array(np.ascontiguousarray(w.T), "w"), numpy_helper.from_array(scale, "sw"),
         numpy_helper.from_array(bias, "b"), numpy_helper.from_array(np.zeros((), np.int8), "zw")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0], f"ONNX Runtime {ort.__version__}, DynamicQuantizeMatMul"


def openvino(x, w, scale, bias):
    """Static int8 rows (one scale for all, given): a FakeQuantize in front of int8 weights."""
    import openvino as ov
    from openvino import opset8 as op

    given = op.parameter(x.shape, np.float32)
    high = float(np.abs(x).max())
    rows = op.fake_quantize(given, np.float32(-high * 128 / 127), np.float32(high), np.float32(-high * 128 / 127),
                            np.float32(high), 256)
    weight = op.multiply(op.convert(op.constant(w), "f32"), op.constant(scale[:, None]))
    y = op.add(op.matmul(rows, weight, False, True), op.constant(bias[None]))
    core = ov.Core()
    compiled = core.compile_model(ov.Model([y], [given]), "CPU",
                                  {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    return lambda: request.infer([x])[0], f"OpenVINO {ov.__version__.split('-')[0]}, static W8A8"


def torch_dynamic(x, w, scale, bias):
    """One scale a row, torch._int_mm, and back to float32: what dynamic W8A8 does."""
    import torch
    from torch_parts import Linear

    layer = Linear(torch.from_numpy(w), torch.from_numpy(scale), torch.from_numpy(bias))
    rows = torch.from_numpy(x)
    return lambda: layer(rows).numpy(), f"PyTorch {torch.__version__}, dynamic W8A8 over _int_mm"


def weights(k, n):
    """The matrix of `filoscope-bench linear`, by its generator: x -> x * a + c modulo 2^64, here by doubling."""
    a, c = np.uint64(6364136223846793005), np.uint64(1442695040888963407)
    with np.errstate(over="ignore"):
        states = np.array([np.uint64(1) * a + c])
        while len(states) < n * k:  # a and c: as many steps at once as there are states
            states = np.concatenate([states, states * a + c])
            c = c * a + c
            a = a * a
    values = (states[:n * k] >> np.uint64(40)) % np.uint64(255)
    return (values.astype(np.int16) - 127).astype(np.int8).reshape(n, k)


def compare(bench):
    generator = np.random.Generator(np.random.Philox(1))
    missing = {}
    for m, k, n in SHAPES:
        x = generator.standard_normal((m, k), np.float32)
        w, scale, bias = weights(k, n), np.full(n, 0.01, np.float32), np.full(n, 0.5, np.float32)
        exact = x[:8] @ (w.astype(np.float32) * scale[:, None]).T + bias
        peers = []
        for make in (onnx_runtime, openvino, torch_dynamic):
            try:
                run, name = make(x, w, scale, bias)
                error = np.abs(run()[:8] - exact).max() / np.abs(exact).max()
                if error > 0.05:
                    raise RuntimeError(f"its result is off by {error:.2f}")
                peers.append((name, run))
            except Exception as error:  # a peer that is not there must not end the run
                missing[make.__name__] = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        operations = 2 * m * k * n
        mine, percent, theirs = [], [], {name: [] for name, _ in peers}
        ratios = {name: [] for name, _ in peers}
        for _ in range(ROUNDS):
            line = ours(bench, "linear", "--repetitions", 3, "--m", m, "--k", k, "--n", n)[0]
            mine.append(line["gops"])
            percent.append(line["percent_of_peak"])
            for name, run in peers:
                rate = operations / seconds_of(run) / 1e9
                theirs[name].append(rate)
                ratios[name].append(line["gops"] / rate)
        print(f"{m} x {k} -> {n}: ours {median(mine):.0f} GOPS, {median(percent):.0f} % of the int8 peak", flush=True)
        for name, _ in peers:
            print(f"    {median(theirs[name]):6.0f} GOPS  ours is {median(ratios[name]):.2f} x  {name}", flush=True)
    for name, why in missing.items():
        print(f"left out: {name}: {why}")

