"""A small trained network that reads handwritten digits, and one digit for it to read.

Weights and digit are files of this package, made by `scripts/train_digits.py`. What the network
was trained on and how well it does is in `docs/digits-report.txt`, which the same script writes.

Sources:
    Images: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0, as shipped by
    scikit-learn (`sklearn.datasets.load_digits`). The shipped digit is one of them, its pixels
    divided by 16.
"""

import io
from importlib import resources

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

__all__ = ["Digits", "digit", "digits"]


class Digits(nn.Module):
    """Two convolutions, a max pool and a linear layer, for 8 x 8 images of one digit.

    Axes: `N` images, `C` channels, `H W` rows and columns.

    | step    | operation                       | output `N C H W` |
    |---------|---------------------------------|------------------|
    | input   | pixels, 0 (paper) to 1 (ink)    | N, 1, 8, 8       |
    | conv1   | 3 x 3 kernel, padding 1, bias   | N, 4, 8, 8       |
    | relu1   | negative values become 0        | N, 4, 8, 8       |
    | conv2   | 3 x 3 kernel, no padding, bias  | N, 16, 6, 6      |
    | relu2   | negative values become 0        | N, 16, 6, 6      |
    | pool    | largest value of each 2 x 2     | N, 16, 3, 3      |
    | flatten | one row per image               | N, 144           |
    | fc      | linear, bias                    | N, 10            |

    The weights of a new instance are random; `digits()` returns the trained network.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, kernel_size=3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 16, kernel_size=3)
        self.relu2 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(16 * 3 * 3, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Score every image as each of the ten digits.

        Args:
            x: Pixels, `(N, 1, 8, 8)`: ink from 0 (none) to 1 (full), in steps of 1/16.

        Returns:
            Logits, `(N, 10)`, no unit: column `d` speaks for the digit `d`, and the largest wins.
        """
        x = self.relu1(self.conv1(x))
        x = self.relu2(self.conv2(x))
        return self.fc(self.flatten(self.pool(x)))


def digits() -> Digits:
    """Load the trained network.

    Torch's random state is neither read nor advanced, and the default dtype does not matter.

    Returns:
        The network in eval mode, its weights float32 on the CPU.

    Example:
        >>> digits()(digit()).argmax().item()
        8
    """
    weights = safetensors.torch.load(_resource("digits.safetensors"))
    with torch.device("meta"):  # shapes only, so that no random weights are drawn first
        network = Digits()
    network.load_state_dict(weights, assign=True)
    return network.eval()


def digit() -> Tensor:
    """Load one real handwritten digit, which the network did not see in training.

    Returns:
        Pixels, float32, `(1, 1, 8, 8)` as `N C H W`: ink from 0 (none) to 1 (full). Each is a
        sixteenth of a whole number, so float32 holds it exactly.

    Example:
        >>> (digit()[0, 0] * 16).int()[0].tolist()
        [0, 0, 11, 10, 12, 4, 0, 0]
    """
    return torch.tensor(np.load(io.BytesIO(_resource("digit.npy")), allow_pickle=False))


def _resource(name: str) -> bytes:
    return (resources.files("convtrace.models") / name).read_bytes()
