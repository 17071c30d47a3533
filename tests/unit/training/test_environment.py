import platform
from importlib.metadata import version

import torch

from workbench.training.environment import record


def test_it_names_what_a_repetition_needs() -> None:
    found = record(torch.device("cpu"))
    assert found["python"] == platform.python_version()
    assert found["packages"]["transformers"] == version("transformers")
    assert found["torch"] == torch.__version__
    assert found["device"].startswith("cpu")
    assert found["cpu_threads"] == torch.get_num_threads()
