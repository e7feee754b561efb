"""Saved traces from strangers: cut off, damaged, made up. All of them get a message."""

import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saved_traces import TRACES

import convtrace as ct
from convtrace import storage
from convtrace.frontends import saved_file
from convtrace.summary import summarize


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("good") / "good.convtrace"
    TRACES["block"]().save(file)
    return file


def _members(file: Path) -> tuple[Any, bytes]:
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read(storage.DOCUMENT)), archive.read(storage.TENSORS)


def _pack(file: Path, document: Any, tensors: bytes, **more: bytes) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        archive.writestr(storage.DOCUMENT, text)
        archive.writestr(storage.TENSORS, tensors)
        for name, content in more.items():
            archive.writestr(name, content)
    return file


def _message(file: Path) -> str:
    with pytest.raises(ct.FileFormatError) as error:
        ct.load(file)
    message = str(error.value)
    assert message.replace("\n", "").isprintable()
    return message


def test_a_file_that_another_program_packed_opens(good: Path, tmp_path: Path) -> None:
    document, tensors = _members(good)
    opened = ct.load(_pack(tmp_path / "x.convtrace", document, tensors))
    assert opened.why("up[0,0,3,3]").verdict in ("exact", "rounding")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.99, 0.9999])
def test_a_file_that_is_cut_off_is_told_so(good: Path, tmp_path: Path, share: float) -> None:
    content = good.read_bytes()
    file = tmp_path / "x.convtrace"
    file.write_bytes(content[: int(len(content) * share)])
    message = _message(file)
    assert "cut off" in message or "empty" in message or "not a saved trace" in message


def test_a_missing_file_is_told_with_the_nearest_names(good: Path) -> None:
    with pytest.raises(ct.MissingFileError, match=r"good\.convtrace"):
        ct.load(good.parent / "goood.convtrace")


def test_another_kind_of_file_is_told_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "x.convtrace"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "a PNG image" in _message(file)


@pytest.mark.parametrize(("name", "version"), [("convtrace.saved", 2), ("convtrace.trace", 1)])
def test_another_version_is_told(good: Path, tmp_path: Path, name: str, version: int) -> None:
    document, tensors = _members(good)
    document |= {"format": name, "version": version, "news": 1}
    message = _message(_pack(tmp_path / "x.convtrace", document, tensors))
    assert f"version {version}" in message
    assert "another version" in message


def test_a_missing_member_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.convtrace"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("trace.json", "{}")
        archive.writestr("other\x1b[31m.txt", "")
    message = _message(file)
    assert "tensors.safetensors" in message
    assert "other" in message


def test_a_member_too_many_is_told(good: Path, tmp_path: Path) -> None:
    message = _message(_pack(tmp_path / "x.convtrace", *_members(good), **{"../x.py": b"1"}))
    assert "'../x.py'" in message


def test_a_compressed_member_is_refused_before_it_is_unpacked(good: Path, tmp_path: Path) -> None:
    document, _ = _members(good)
    file = tmp_path / "x.convtrace"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(storage.DOCUMENT, json.dumps(document))
        archive.writestr(storage.TENSORS, bytes(50_000_000))
    assert file.stat().st_size < 100_000
    assert "compressed" in _message(file)


def test_a_document_that_is_too_large_is_refused(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "MAX_DOCUMENT", 1000)
    assert "too large" in _message(good)
    document, tensors = _members(good)
    monkeypatch.setattr(saved_file.storage, "MAX_DOCUMENT", len(json.dumps(document)) + 9)
    long = struct.pack("<Q", len(json.dumps(document)) + 10) + tensors[8:]
    assert "cut off" in _message(_pack(tmp_path / "x.convtrace", document, long))


def test_numbers_that_are_repeated_beyond_memory_are_refused(good: Path, tmp_path: Path) -> None:
    document, tensors = _members(good)
    first = document["inputs"][0]
    first["shape"], first["place"]["strides"] = [1 << 20, 1 << 20], [0, 0]
    assert "too large" in _message(_pack(tmp_path / "x.convtrace", document, tensors))


def _step(document: Any, name: str) -> Any:
    return next(step for step in document["steps"] if step["name"] == name)


def _rename(document: Any) -> None:
    document["steps"][0]["name"] = document["steps"][0]["output"]["name"] = "\x1b[31mstem"


CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "shape": (lambda d: d["inputs"][0].update(shape=[1, 3, 16, 25]), "does not fit|do not fit"),
    "negative": (lambda d: d["inputs"][0].update(shape=[-1, 3, 16, 24]), "has the shape"),
    "offset": (lambda d: d["inputs"][0]["place"].update(offset=-5), "do not fit its shape"),
    "strides": (lambda d: d["inputs"][0]["place"].update(strides=[9, 9]), "do not fit its shape"),
    "far": (lambda d: d["inputs"][0]["place"].update(strides=[1, 1, 1, 9999]), "do not fit"),
    "key": (lambda d: d["inputs"][0]["place"].update(key="no"), "'no' is missing"),
    "dtype": (lambda d: d["inputs"][0].update(dtype="float64"), "is F32, not F64"),
    "type": (lambda d: d["inputs"][0].update(dtype="object"), "unknown type"),
    "operand": (lambda d: d["steps"][1]["operands"].update(input="no"), "which is not there"),
    "twice": (lambda d: d["inputs"].append(d["inputs"][0]), "two tensors are called"),
    "alias": (lambda d: d["aliases"].update(a="no"), "names nothing"),
    "stride": (lambda d: _step(d, "stem")["attributes"].update(stride=[0, 1]), "do not fit"),
    "padding": (lambda d: _step(d, "stem")["attributes"].update(padding=[[9, 9], [1, 1]]), "make"),
    "groups": (lambda d: _step(d, "conv1")["attributes"].update(groups=1), "'conv1'"),
    "huge": (lambda d: _step(d, "back")["attributes"].update(stride=[10**9, 1]), "do not fit"),
    "missing": (lambda d: _step(d, "stem")["attributes"].pop("groups"), "groups"),
    "setting": (lambda d: _step(d, "pool")["attributes"].update(x={"int": "y"}), "settings of"),
    "format": (lambda d: _step(d, "stem")["arithmetic"].update(result="f"), "no format"),
    "same": (lambda d: _step(d, "up")["coefficients"].update(same=[[0, 2]]), "do not fit"),
    "columns": (lambda d: _step(d, "up")["coefficients"].update(columns="up#starts"), "'up'"),
    "starts": (lambda d: _step(d, "up")["coefficients"].update(starts="up#columns"), "'up'"),
    "weights": (lambda d: _step(d, "up")["coefficients"].update(weights="stem"), "not F64"),
    "roles": (lambda d: _step(d, "up")["coefficients"].update(roles=["x"]), "not there"),
    "curve": (lambda d: _step(d, "act")["curve"].update(values="up#weights"), "do not fit"),
    "axes": (lambda d: _step(d, "flip")["move"].update(axes=[]), "do not fit its shape"),
    "nowhere": (lambda d: _step(d, "flip")["move"].update(roles=["x"]), "from nowhere"),
    "escape": (_rename, "not a name"),
    "unknown": (lambda d: d.update(extra=1), "extra"),
    "reporter": (lambda d: d.update(reporter="me"), "me"),
    "status": (lambda d: _step(d, "up").update(status="sure"), "sure"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_parts_that_do_not_fit_together_are_told(good: Path, tmp_path: Path, change: str) -> None:
    document, tensors = _members(good)
    alter, words = CHANGES[change]
    alter(document)
    file = _pack(tmp_path / "x.convtrace", document, tensors)
    with pytest.raises(ct.FileFormatError, match=words):
        ct.load(file)
    _message(file)


def test_places_beyond_the_operands_are_told_when_they_are_asked_for(
    good: Path, tmp_path: Path
) -> None:
    document, tensors = _members(good)
    _step(document, "flip")["move"]["first"] = 10**6
    opened = ct.load(_pack(tmp_path / "x.convtrace", document, tensors))
    with pytest.raises(ct.FileFormatError, match="beyond its operands"):
        opened.why("flip[0,0,0,0]")


def test_a_step_that_is_not_of_its_kind_is_told_when_it_is_asked(
    good: Path, tmp_path: Path
) -> None:
    document, tensors = _members(good)
    _step(document, "fc")["operands"].pop("weight")
    opened = ct.load(_pack(tmp_path / "x.convtrace", document, tensors))
    with pytest.raises(ct.FileFormatError, match="does not hold together"):
        opened.why("fc[0,0]")


def test_a_step_that_cannot_say_what_it_reads_is_told_in_the_summary(
    good: Path, tmp_path: Path
) -> None:
    document, tensors = _members(good)
    _step(document, "pool")["attributes"].update(stride=[0, 1])
    opened = ct.load(_pack(tmp_path / "x.convtrace", document, tensors))
    assert opened.why("pool[0,0,0,0]").verdict == "exact"
    with pytest.raises(ct.FileFormatError, match=r"'pool' \(max_pool2d"):
        summarize(opened)


def test_a_tensor_without_numbers_is_told_when_it_is_read(good: Path, tmp_path: Path) -> None:
    document, tensors = _members(good)
    document["inputs"][0].pop("place")
    opened = ct.load(_pack(tmp_path / "x.convtrace", document, tensors))
    assert opened.why("fc[0,0]").verdict in ("exact", "rounding")
    assert opened.first_nonfinite() is None
    with pytest.raises(ct.NoValueError, match="has no numbers in this file"):
        opened.value("input[0,0,0,0]")


def _header(tensors: bytes, change: Callable[[Any], Any]) -> bytes:
    length = struct.unpack("<Q", tensors[:8])[0]
    header = json.loads(tensors[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors[8 + length :]


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["input"].update(shape=[9]),
        lambda h: h["input"].update(dtype="F128"),
        lambda h: h["input"].update(data_offsets=[0, 10**9]),
        lambda h: h["input"].update(data_offsets=[-8, 4600]),
        lambda h: h["input"].update(shape=[1] * 99),
        lambda h: h["input"].pop("dtype"),
        lambda h: h.update(input=3),
    ],
)
def test_a_list_of_tensors_that_is_wrong_is_told(
    good: Path, tmp_path: Path, change: Callable[[Any], Any]
) -> None:
    document, tensors = _members(good)
    file = _pack(tmp_path / "x.convtrace", document, _header(tensors, change))
    assert "'input' in tensors.safetensors" in _message(file)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"version":{}}'])
def test_a_document_that_is_no_document_is_told(good: Path, tmp_path: Path, text: bytes) -> None:
    message = _message(_pack(tmp_path / "x.convtrace", text, _members(good)[1]))
    assert "trace.json" in message or "another version" in message


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_make_a_message_or_another_number_and_nothing_else(
    good: Path, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    content = bytearray(good.read_bytes())
    for _ in range(draw.choice((1, 4))):
        edges = (draw.randrange(400), len(content) - 1 - draw.randrange(300))
        content[draw.choice((*edges, draw.randrange(len(content))))] = draw.randrange(256)
    file = tmp_path / "x.convtrace"
    file.write_bytes(content)
    message = ""
    try:
        opened = ct.load(file)
        for name, step in opened.steps.items():
            opened.why(name, tuple(size // 2 for size in step.shape))
        summarize(opened)
    except ct.ConvtraceError as error:
        message = str(error)
    assert message.replace("\n", " ").isprintable()
