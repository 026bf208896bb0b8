import pytest
from safetensors.numpy import save_file

from filoscope_quantization.golden import SHAPES, random_checkpoint


class CheckpointFolder:
    """A float checkpoint folder with small random weights, written by the official safetensors package."""

    def __init__(self, path, name="tiny"):
        import copy
        import json

        self.path = path
        self.checkpoint, _ = random_checkpoint(name, SHAPES[name], seed=7)
        self.weights = copy.deepcopy(self.checkpoint.weights)
        self.config = copy.deepcopy(self.checkpoint.description)
        self.vocabulary = self.checkpoint.vocabulary
        self._json = json

    def write(self):
        self.path.mkdir(exist_ok=True)
        for file, tensors in self.weights.items():
            save_file(tensors, self.path / file)
        (self.path / "vocab.txt").write_bytes(self.vocabulary)
        (self.path / "config.json").write_text(self._json.dumps(self.config))
        return self.path


@pytest.fixture(params=["tiny", "odd"])
def each_folder(request, tmp_path):
    return CheckpointFolder(tmp_path / "float", request.param)


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "float")
