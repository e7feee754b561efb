"""Traces that were saved and opened again: `trace.save("x.convtrace")`, `convtrace.load`."""

import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from saved_traces import FILES, TRACES, assert_same_receipt, places
from torch import nn
from torch.nn import functional

import convtrace as ct
from convtrace import storage
from convtrace.models.digits import digit, digits
from convtrace.render.documents.document import receipt_document
from convtrace.render.table import RENDERERS
from convtrace.step import Value
from convtrace.tables import Coefficients, Curve

WITHOUT_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch was imported")

sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ct.Trace]:
    found = {name: make() for name, make in TRACES.items()}
    for name, make in FILES.items():
        found[name] = make(tmp_path_factory.mktemp(name))
    return found


@pytest.fixture(scope="module")
def folder(traces: dict[str, ct.Trace], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them saved."""
    folder = tmp_path_factory.mktemp("saved")
    for name, trace in traces.items():
        trace.save(folder / f"{name}.convtrace")
    return folder


@pytest.mark.parametrize("name", [*TRACES, *FILES])
def test_every_receipt_of_an_opened_trace_is_that_of_the_run(
    name: str, traces: dict[str, ct.Trace], folder: Path
) -> None:
    trace, opened = traces[name], ct.load(folder / f"{name}.convtrace")
    assert list(opened.steps) == list(trace.steps)
    assert list(opened.gradients) == list(trace.gradients)
    assert (opened.reporter, opened.notes) == (trace.reporter, trace.notes)
    assert dict(opened.aliases) == dict(trace.aliases)
    for step, index in places(trace, 25):
        assert_same_receipt(trace.why(step, index), opened.why(step, index))


@pytest.mark.parametrize("name", [*TRACES, *FILES])
def test_every_step_of_an_opened_trace_is_that_of_the_run(
    name: str, traces: dict[str, ct.Trace], folder: Path
) -> None:
    trace, opened = traces[name], ct.load(folder / f"{name}.convtrace")
    for step, other in zip(trace.steps.values(), opened.steps.values(), strict=True):
        assert other.attributes == {k: _as_saved(v) for k, v in step.attributes.items()}
        for field in ("name", "kind", "status", "operands", "module", "arithmetic", "moved"):
            assert getattr(other, field) == getattr(step, field)
        assert (other.shape, other.dtype) == (step.shape, step.dtype)
        if step.sources is not None:
            assert other.sources is not None
            np.testing.assert_array_equal(other.sources(), step.sources())
        everything = (slice(None),) * len(step.shape)
        np.testing.assert_array_equal(other.value.box(everything), step.value.box(everything))
        assert other.value.is_parameter == step.value.is_parameter


def _as_saved(setting: Any) -> Any:
    """PyTorch's own objects, such as a dtype, become texts; a list becomes a tuple."""
    if isinstance(setting, list):
        return tuple(map(_as_saved, setting))
    return str(setting) if type(setting).__module__ == "torch" else setting


def test_why_summary_and_the_documents_need_no_torch(
    traces: dict[str, ct.Trace], folder: Path
) -> None:
    asked = {name: list(places(trace, 4)) for name, trace in traces.items()}
    code = WITHOUT_TORCH + (
        "import json\n"
        "import msgspec\n"
        "import convtrace as ct\n"
        "from convtrace.render.documents.document import receipt_document, trace_document\n"
        "from convtrace.summary import summarize\n"
        "for name, places in json.load(sys.stdin).items():\n"
        f"    trace = ct.load({str(folder)!r} + '/' + name + '.convtrace')\n"
        "    rows, first = summarize(trace), trace.first_nonfinite()\n"
        "    trace_document(trace)\n"
        "    receipts = [trace.why(step, index) for step, index in places]\n"
        "    [receipt.text('ko') for receipt in receipts]\n"
        "    made = msgspec.to_builtins([receipt_document(receipt) for receipt in receipts])\n"
        "    print(json.dumps([made, repr(rows), repr(first)]))\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    from msgspec import to_builtins

    from convtrace.summary import summarize

    for line, (name, trace) in zip(done.stdout.splitlines(), traces.items(), strict=True):
        made = [receipt_document(trace.why(step, index)) for step, index in asked[name]]
        told = [to_builtins(made), repr(summarize(trace)), repr(trace.first_nonfinite())]
        assert json.loads(line) == json.loads(json.dumps(told)), name


_SLOW = {".apng", ".gif", ".mp4", ".webm", ".webp", ".pdf", ".png"}
"""Suffixes whose pictures take a while, and are drawn by what draws the others."""


def test_every_form_can_be_saved_without_torch(folder: Path, tmp_path: Path) -> None:
    suffixes = {kind: sorted(RENDERERS[kind].keys() - _SLOW) for kind in ("trace", "receipt")}
    code = WITHOUT_TORCH + (
        "import convtrace as ct\n"
        f"trace = ct.load({str(folder / 'digits.convtrace')!r})\n"
        "things = {'trace': trace, 'receipt': trace.why('conv2[0,5,3,3]')}\n"
        f"for kind, suffixes in {suffixes!r}.items():\n"
        "    for suffix in suffixes:\n"
        f"        things[kind].save({str(tmp_path)!r} + '/' + kind + suffix)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) == sum(map(len, suffixes.values()))


def test_two_opened_traces_can_be_compared(tmp_path: Path) -> None:
    model = digits().eval()
    with torch.no_grad():
        ct.trace(model, digit()).save(tmp_path / "right.convtrace")
        model.conv2.weight.copy_(model.conv2.weight.flip(-1))
        ct.trace(model, digit()).save(tmp_path / "wrong.convtrace")
    wrong, right = (ct.load(tmp_path / f"{name}.convtrace") for name in ("wrong", "right"))
    report = ct.diff(wrong, right)
    assert report.verdict == "mismatch"
    assert report.causes[0].id == "kernel.flipped"
    assert ct.diff(right, right).verdict in ("exact", "rounding")


def test_the_import_guard_can_fail() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH + "import torch"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "torch was imported" in done.stderr


@pytest.mark.parametrize("name", ["digits", "block", "transposed", "onnx", "3-d", "autocast"])
def test_contributions_and_uses_of_an_opened_trace_are_those_of_the_run(
    name: str, traces: dict[str, ct.Trace], folder: Path
) -> None:
    trace, opened = traces[name], ct.load(folder / f"{name}.convtrace")
    last = [step for step in trace.steps.values() if step.status != "opaque"][-1]
    address = ct.Address(last.name, (0,) * len(last.shape))
    one, other = trace.contributions(address), opened.contributions(address)
    for source, terms in one.inputs.items():
        torch.testing.assert_close(other.inputs[source], terms, rtol=1e-5, atol=1e-6)
    assert other.biases == pytest.approx(one.biases, rel=1e-4, abs=1e-7)
    assert (other.opaque, other.halved) == (one.opaque, one.halved)
    pixel = ct.Address("input" if "input" in trace.inputs else "x", (0, 0, 1, 1))
    if name == "3-d":
        pixel = ct.Address("input", (0, 0, 1, 1, 1))
    first, second = trace.uses(pixel, to=last.name), opened.uses(pixel, to=last.name)
    for step in first.steps:
        np.testing.assert_array_equal(first.positions[step], second.positions[step])
        np.testing.assert_allclose(
            second.coefficients[step], first.coefficients[step], rtol=1e-5, atol=1e-7
        )


def test_another_type_cannot_be_run_in_and_the_message_says_why(folder: Path) -> None:
    opened = ct.load(folder / "digits.convtrace")
    with pytest.raises(ct.NoValueError, match="was opened from a file"):
        opened.contributions("fc[0,1]", dtype=torch.float64)


def test_an_opened_trace_can_be_saved_again(
    traces: dict[str, ct.Trace], folder: Path, tmp_path: Path
) -> None:
    ct.load(folder / "block.convtrace").save(tmp_path / "again.convtrace")
    again = ct.load(tmp_path / "again.convtrace")
    for step, index in places(traces["block"], 5):
        assert_same_receipt(traces["block"].why(step, index), again.why(step, index))


def test_the_file_that_a_trace_was_opened_from_can_be_written_over(tmp_path: Path) -> None:
    file = tmp_path / "x.convtrace"
    trace = TRACES["demo"]()
    trace.save(file)
    opened = ct.load(file)
    opened.save(file)
    assert_same_receipt(trace.why("conv2[0,0,0,0]"), opened.why("conv2[0,0,0,0]"))
    assert_same_receipt(trace.why("conv2[0,0,0,0]"), ct.load(file).why("conv2[0,0,0,0]"))


# The file ----------------------------------------------------------------------------------------


def _tensors(file: Path) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        return safetensors.numpy.load(archive.read(storage.TENSORS))


def test_any_reader_of_zip_json_and_safetensors_reads_the_file(folder: Path) -> None:
    held = _tensors(folder / "digits.convtrace")
    for name, parameter in digits().named_parameters():
        np.testing.assert_array_equal(held[name], parameter.detach().numpy())
    with zipfile.ZipFile(folder / "digits.convtrace") as archive:
        document = json.loads(archive.read(storage.DOCUMENT))
    assert document["format"] == "convtrace.saved"
    assert [step["name"] for step in document["steps"]][:1] == ["conv1"]


def test_memory_that_tensors_share_is_saved_once(tmp_path: Path) -> None:
    class Shares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 64, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y.reshape(1, 8, 8, -1).flatten(1)[:, 3:].unsqueeze(0).expand(50, 1, -1)

    with torch.no_grad():
        trace = ct.trace(Shares(), torch.randn(1, 2, 8, 8))
    trace.save(tmp_path / "x.convtrace")
    held = _tensors(tmp_path / "x.convtrace")
    sizes = {name: array.nbytes for name, array in held.items() if "#" not in name}
    assert sum(sizes.values()) == 4 * (64 * 64 + 2 * 64 + 64 + 2 * 64)
    opened = ct.load(tmp_path / "x.convtrace")
    for step, index in places(trace, 10):
        assert_same_receipt(trace.why(step, index), opened.why(step, index))


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.float8_e4m3fnuz,
        torch.float8_e5m2fnuz,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.complex64,
        torch.complex128,
    ],
    ids=str,
)
def test_numbers_of_every_type_come_back_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    bits = torch.arange(256, dtype=torch.uint8)
    if dtype.is_complex or dtype == torch.float64:
        numbers = torch.randn(16, 2, dtype=torch.float64).to(dtype)
    elif dtype == torch.bool:
        numbers = bits.reshape(16, 16) > 100
    elif dtype.itemsize == 1:
        numbers = bits.view(dtype).reshape(16, 16)
    else:
        numbers = (bits * 3 - 99.5).to(dtype).reshape(16, 16)
    before = Value("input", numbers, "input")
    trace = _with_input(before)
    trace.save(tmp_path / "x.convtrace")
    after = ct.load(tmp_path / "x.convtrace").inputs["input"]
    everything = (slice(None), slice(1, None))
    np.testing.assert_array_equal(after.box(everything), before.box(everything))
    assert (after.dtype, after.shape) == (before.dtype, before.shape)
    tensor = after.tensor()
    assert tensor.dtype == dtype
    assert torch.equal(tensor.view(torch.uint8), numbers.view(torch.uint8))


def _with_input(value: Value) -> ct.Trace:
    from convtrace.graph import Parts, Trace

    return Trace(lambda: Parts([], [value], {}))


def test_all_numbers_of_the_8_bit_formats_are_those_of_pytorch() -> None:
    bits = np.arange(256, dtype=np.uint8)
    for name in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0fnu"):
        dtype = getattr(torch, f"float8_{name}", None)
        if dtype is None:
            continue
        told = torch.as_tensor(bits).view(dtype).to(torch.float32).numpy()
        found = storage.decode(bits, f"float8_{name}")
        np.testing.assert_array_equal(found.astype(np.float32), told, err_msg=name)


def test_a_tensor_that_changed_since_the_run_is_not_saved(tmp_path: Path) -> None:
    x = torch.randn(1, 1, 3, 3)
    with torch.no_grad():
        trace = ct.trace(nn.Conv2d(1, 1, 2), x)
        x.add_(1)
    (tmp_path / "x.convtrace").write_bytes(b"before")
    with pytest.raises(ct.TensorChangedError):
        trace.save(tmp_path / "x.convtrace")
    assert (tmp_path / "x.convtrace").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["x.convtrace"]


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 2**60, -1.5, math.inf, -math.inf, 1 + 2j, "x", (1, (2, None)), {"a": (1,)}],
)
def test_settings_come_back_as_they_were(value: Any) -> None:
    text = json.dumps(storage.pack(value))
    back = storage.unpack(json.loads(text))
    assert back == value
    assert type(back) is type(value)


def test_a_setting_that_json_cannot_hold_becomes_a_text() -> None:
    assert storage.unpack(storage.pack(torch.float32)) == "torch.float32"
    assert math.isnan(storage.unpack(storage.pack(math.nan)))


@pytest.mark.parametrize("setting", [{"int": "x"}, {"float": 1}, {"a": 1, "b": 2}, {"other": "x"}])
def test_a_setting_that_was_not_packed_is_an_error(setting: Any) -> None:
    with pytest.raises(ValueError, match=r"setting|invalid literal"):
        storage.unpack(setting)


# Tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        lambda: nn.AvgPool2d((2, 3), 1, count_include_pad=False, padding=1),
        lambda: nn.AdaptiveAvgPool2d((3, 2)),
        lambda: nn.AdaptiveMaxPool2d((3, 2)),
        lambda: nn.MaxPool2d(3, 1, 1, dilation=1),
        lambda: nn.Upsample(scale_factor=(1.7, 2.3), mode="bilinear"),
        lambda: nn.Upsample(size=(9, 4), mode="bicubic"),
        lambda: nn.Upsample(size=(13, 9), mode="nearest"),
        lambda: nn.Unfold(2, padding=1),
        lambda: nn.LPPool2d(2, 2),
    ],
)
def test_the_table_of_a_step_is_its_matrix(make: Any, tmp_path: Path) -> None:
    with torch.no_grad():
        trace = ct.trace(nn.Sequential(nn.Conv2d(2, 3, 2), make()), torch.randn(2, 2, 7, 8))
    trace.save(tmp_path / "x.convtrace")
    opened = ct.load(tmp_path / "x.convtrace")
    for name, step in opened.steps.items():
        if not isinstance(step.table, Coefficients):
            continue
        replay = trace.steps[name].replay
        assert replay is not None
        (source,) = step.values.values()

        def run(x: torch.Tensor, replay: Any = replay) -> Any:
            return replay({"self": x}).reshape(-1)

        x = source.tensor().double()
        matrix: Any = torch.func.jacrev(run)(x).reshape(math.prod(step.shape), -1)
        for row, index in enumerate(np.ndindex(step.shape)):
            found = np.zeros(x.numel())
            for _, place, weight in step.table.terms(index):
                found[np.ravel_multi_index(place, source.shape)] = weight
            np.testing.assert_allclose(found, matrix[row].numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.cumsum(2),
        lambda x: x.mean((0, 2)),
        lambda x: x.sort(-1)[0],
        lambda x: torch.where(x > 0, x, x.flip(1)),
        lambda x: x.round().amax(1),
        lambda x: functional.max_pool2d(x.round(), 3, 1),
        lambda x: functional.fold(functional.unfold(x, 3, padding=1), (6, 7), 3, padding=1),
        lambda x: functional.grid_sample(x, _grid(), align_corners=False),
        lambda x: x.prod(-1),
        lambda x: functional.prelu(x, torch.tensor([0.1, 0.2, 0.3, 0.4])),
        lambda x: functional.scaled_dot_product_attention(x, x, x),
        lambda x: x.long().float() + functional.glu(x, 1).sum(),
    ],
)
def test_operators_of_many_kinds_answer_alike(make: Any, tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return make(self.conv(x))

    with torch.no_grad():
        trace = ct.trace(Model(), torch.randn(2, 2, 6, 7))
    trace.save(tmp_path / "x.convtrace")
    opened = ct.load(tmp_path / "x.convtrace")
    for step, index in places(trace, 12):
        assert_same_receipt(trace.why(step, index), opened.why(step, index))
    last = list(trace.steps.values())[-1]
    address = ct.Address(last.name, (0,) * len(last.shape))
    one, other = trace.contributions(address), opened.contributions(address)
    assert other.total == pytest.approx(one.total, rel=1e-5, abs=1e-7)
    assert (other.opaque, set(other.biases)) == (one.opaque, set(one.biases))


def _grid() -> torch.Tensor:
    return torch.linspace(-1, 1, 2 * 3 * 4 * 2).reshape(2, 3, 4, 2)


def test_a_table_leaves_out_the_axes_that_a_pool_does_not_touch(tmp_path: Path) -> None:
    with torch.no_grad():
        layers = nn.Sequential(nn.Conv2d(1, 32, 1), nn.Upsample(scale_factor=2, mode="bilinear"))
        trace = ct.trace(layers, torch.randn(4, 1, 6, 6))
    trace.save(tmp_path / "x.convtrace")
    table = ct.load(tmp_path / "x.convtrace").steps["1"].table
    assert isinstance(table, Coefficients)
    assert table.same == ((0, 0), (1, 1))
    assert table.rows == 12 * 12


def test_a_function_has_a_table_of_its_values(folder: Path) -> None:
    table = ct.load(folder / "block.convtrace").steps["act"].table
    assert isinstance(table, Curve)
    assert table.zeros.size == 1
