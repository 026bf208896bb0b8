"""What is in a model folder or a safetensors file: a table, and faults that an engine would refuse."""

from pathlib import Path

import numpy as np

from . import QuantizationError, layout
from .architecture import networks
from .model_folder import file_identity, load, read_json, tensor_error
from .tensor_file import ALIGNMENT, TensorFile


def faults(file):
    """What the engine's rules forbid in one file of a model folder: misalignment, a -128, wrong sums, NaN."""
    found = []
    for name in file:
        if file.offset(name) % ALIGNMENT:
            found.append(f"{name} starts at byte {file.offset(name)}, not a multiple of {ALIGNMENT}")
        if file.dtype(name) == "I8":
            values = file.raw(name)
            if values.min() == -128:
                found.append(f"{name} has values of -128")
            layer = name.removesuffix(".weight")
            if f"{layer}.scale" not in file:
                found.append(f"{layer}.scale is missing")
            if values.ndim == 6 and not _is_quantization(file, f"{layer}.input"):
                found.append(f"{layer}.input is not a scale above 0 and a zero of 0...255")
            if values.ndim in (4, 6):
                inputs = (1, 3) if values.ndim == 4 else (1, 2, 3, 5)
                sums = values.sum(axis=inputs, dtype=np.int32).reshape(-1)
                if f"{layer}.sum" not in file or not np.array_equal(sums, file.raw(f"{layer}.sum")):
                    found.append(f"{layer}.sum is not the row sums of {name}")
        elif file.dtype(name) in ("F32", "F16", "BF16", "F64"):
            try:
                file.float32(name)
            except QuantizationError as error:
                found.append(str(error).split(": ", 1)[1])
    return found


def _is_quantization(file, name):
    if name not in file or file.dtype(name) != "F32" or file.shape(name) != (2,):
        return False
    scale, zero = file.raw(name)
    return bool(np.isfinite(scale)) and scale > 0 and zero in range(256)


def inspect(path, against=None, text_encoder=None):
    """Prints tensors, totals, errors against a float folder; returns the list of faults."""
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if not files:
            raise QuantizationError(f"{path}: no safetensors files")
    else:
        files = [path]
    errors = _errors(path, against, text_encoder) if against else {}
    all_faults = []
    for file_path in files:
        file = TensorFile(file_path)
        engine = "filoscope.layout" in file.metadata
        print(f"{file_path}: {file.size:,} bytes, metadata {file.metadata}")
        print(f"  {'offset':>10} {'align':>5} {'bytes':>10} {'dtype':5} {'shape':24} " +
              (f"{'error':>8} {'worst':>8} " if errors else "") + "name")
        for name in file:
            offset = file.offset(name)
            line = f"  {offset:>10} {min(offset & -offset, 4096):>5} {file.byte_count(name):>10} " \
                   f"{file.dtype(name):5} {'x'.join(map(str, file.shape(name))):24} "
            if errors:
                error = errors.get((file_path.name, name))
                line += f"{error.relative:8.5f} {error.worst_row:8.5f} " if error else " " * 18
            print(line + name)
        if engine:
            all_faults += [f"{file_path}: {fault}" for fault in faults(file)]
    if path.is_dir() and (path / "model.json").exists():
        for name, identity in read_json(path / "model.json").get("files", {}).items():
            if not (path / name).exists() or file_identity(path / name) != identity:
                all_faults.append(f"{path / name}: is not the file whose size and sha256 model.json gives")
    for fault in all_faults:
        print(f"fault: {fault}")
    return all_faults


def _errors(path, against, text_encoder):
    checkpoint = load(against, text_encoder)
    errors = {}
    for file_name, layers in networks(checkpoint.description).items():
        file_path = path / file_name if path.is_dir() else path
        if file_path.name != file_name or not file_path.exists():
            continue
        file, weights = TensorFile(file_path), checkpoint.weights[file_name]
        for layer in layers:
            for name, shape in layer.tensors():
                try:
                    stored = layout.restore(file, name, shape, layer.past)
                except (ValueError, IndexError) as error:
                    raise QuantizationError(f"{file_path}: tensor '{name}' cannot be {list(shape)}") from error
                if file.dtype(name) == "I8":
                    errors[file_name, name] = tensor_error(file, layer, weights[name])
                elif f"{layer.name}.input" in file:
                    continue  # calibration corrects an int8 convolution's bias
                elif not np.array_equal(stored, weights[name]):
                    raise QuantizationError(f"{file_path}: float tensor '{name}' differs from {against}")
    return errors
