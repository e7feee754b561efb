"""Run all benchmarks and write the results page in both languages."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

import convtrace
from benchmarks import (
    artefacts,
    contributions,
    diff,
    memory,
    page,
    receipts,
    recording,
    saved,
    startup,
)
from benchmarks.timing import Timing

DOCS = Path(__file__).parent.parent / "docs"
TEXT = {
    "en": {
        "title": "Benchmarks",
        "intro": "Written by `make bench`. Ratios are medians over rounds in which everything on "
        "the page section ran in turn, with the quartiles in brackets; seconds are of this machine "
        "and say little about yours.",
        "machine": "Machine",
        "recording": "Recording a ResNet-18 (1×3×224×224, random weights)",
        "recording_note": "Targets: at most 1.3× keeping every step, 1.12× keeping convolutions. "
        "A bare dispatch mode, which only appends to a list, is the floor for any recorder of this "
        "kind: activations that are kept cannot be reused by the allocator. The rows with names "
        "add what it takes to say which module and public call an operator belongs to. "
        "The rest is convtrace's own: remembering the model, so that it is left as it was, and the "
        "records.",
        "receipts": "One certified receipt of 4,608 terms (512 input channels, 3×3)",
        "receipts_note": "Target: at most 0.10× of the layer's own forward pass. A receipt reads "
        "its window only, so its cost does not grow with the feature map. What it takes beyond the "
        "bare window, product and sum: the exact sum, the bound, the addresses, the checks. From "
        "224×224 on the layer has 8 output channels, so that it fits in memory.",
        "contributions": "One logit of a ResNet-18 down to the pixels (1×3×224×224)",
        "contributions_note": "Target: at most 1.2× of a forward and backward pass. Every bias "
        "term is in the time, and so is recording. *Accounted for* is the sum of what a method "
        "gives out, by the logit: 1 means that nothing is left over.",
        "accounted": "accounted for",
        "memory": "Memory of a trace of ResNet-50 (1×3×224×224)",
        "memory_note": "Target: at most 1.1× of the activations. Counted are the distinct "
        "memories of all tensors that the trace leads to, without the model and its input. `uses` "
        "of one weight keeps its {positions} positions in arrays; a row becomes an object when it "
        "is read.",
        "activations": "all activations",
        "held": "tensors that the trace holds",
        "objects": "Python objects of the trace",
        "uses": "Python objects of `uses` of one weight",
        "bytes": "MB",
        "artefacts": "Making files",
        "artefacts_note": "The packages that a form needs are imported before. Nothing but fonts "
        "is kept from one file to the next.",
        "target": "at most",
        "page": "The page in Chromium, as ratios to a blank page in the same run",
        "page_note": "*First receipt* is the first frame with the receipt in it, which is text "
        "until the program runs. *Choosing* is from a click to the painted frame, against a click "
        "that changes one line of a blank page; *slowest* is the 95th percentile. *Idle* is the "
        "part of the time in which the main thread works while nobody does anything.",
        "page.first": "first receipt",
        "page.ready": "the page can be used",
        "page.click.demo": "choosing a number, 3×3 input",
        "page.late.demo": "choosing a number, 3×3 input, slowest",
        "page.click.wide": "choosing a number, 64 channels of 56×56",
        "page.late.wide": "choosing a number, 64 channels of 56×56, slowest",
        "page.idle": "idle",
        "page.elements": "elements of the largest view",
        "page.dropped": "frames dropped while a map of 512×512 is zoomed and dragged",
        "page.server.first": "ResNet-50 from `convtrace serve`: first receipt",
        "page.server.requests": "ResNet-50 from `convtrace serve`: requests to open it",
        "page.server.megabytes": "ResNet-50 from `convtrace serve`: MB to open it",
        "page.server.heap": "ResNet-50 from `convtrace serve`: MB of JavaScript memory",
        "page.server.select": "ResNet-50 from `convtrace serve`: ms from a choice to its receipt",
        "page.server.slowest": "ResNet-50 from `convtrace serve`: ms, slowest of a descent",
        "value": "value",
        "saved": "A saved trace (whole processes)",
        "saved_note": "Target: the receipt of a number of a saved trace under 0.3 s, without "
        "PyTorch.",
        "diff": "Naming the cause of a wrong convolution (3×3, 256→256, 56×56)",
        "diff_note": "Targets: at most 10 of the layer's own forward passes for one cause, at "
        "most 100 for two that act together.",
        "cause": "cause",
        "diff.none": "none: a correct output",
        "diff.tile": "none of the list: a stale tile",
        "named": "named first",
        "passes": "forward passes",
        "startup": "Start-up (whole processes)",
        "startup_note": "Targets: `convtrace --help` under 0.15 s; `convtrace demo` within 0.3 s "
        "of `import torch` alone.",
        "what": "what",
        "time": "time",
        "ratio": "ratio to the first",
        "size": "feature map",
        "forward": "forward pass",
        "receipt": "one receipt",
        "receipt_ratio": "receipt ÷ forward",
        "window_ratio": "receipt ÷ bare window",
        "demo": "The demo takes {seconds:.2f} s more than `import torch` alone.",
    },
    "ko": {
        "title": "성능 측정",
        "intro": "`make bench` 명령이 쓴 문서입니다. 비율은 한 절의 모든 항목을 번갈아 실행한 여러 "
        "회차의 중앙값이며, 괄호 안은 사분위수입니다. 초 단위 시간은 이 컴퓨터에서 잰 값이므로 "
        "다른 컴퓨터에서는 다릅니다.",
        "machine": "컴퓨터",
        "recording": "ResNet-18 기록하기 (1×3×224×224, 무작위 가중치)",
        "recording_note": "목표: 모든 연산을 보관할 때 1.3배 이하, 합성곱만 보관할 때 1.12배 이하. "
        "목록에 덧붙이기만 하는 최소한의 디스패치 모드가 이런 방식의 하한입니다. 보관한 활성값의 "
        "메모리는 다시 쓸 수 없기 때문입니다. with names라고 적힌 행은 연산이 어느 모듈과 어느 "
        "공개 함수에 속하는지 알아내는 비용까지 더한 최소한의 값입니다. 나머지는 모델을 원래대로 "
        "돌려놓기 위한 기억과 기록에 드는 convtrace 자신의 비용입니다.",
        "receipts": "항이 4,608개인 검증된 계산 내역 하나 (입력 채널 512개, 3×3)",
        "receipts_note": "목표: 그 층 자신의 순전파 시간의 0.10배 이하. 계산 내역은 자기 창만 "
        "읽으므로 특징 맵이 커져도 비용이 늘지 않습니다. 창을 읽고 곱하고 더하는 것 말고 드는 "
        "시간은 정확한 합, 오차 한계, 주소, 검사에 쓰입니다. 224×224부터는 메모리에 맞도록 출력 "
        "채널을 8개로 줄였습니다.",
        "contributions": "ResNet-18의 로짓 하나를 픽셀까지 나누기 (1×3×224×224)",
        "contributions_note": "목표: 순전파와 역전파 한 번의 1.2배 이하. 모든 편향 항을 구하는 "
        "시간과 기록하는 시간을 포함합니다. *설명한 몫*은 한 방법이 내놓은 값의 합을 로짓으로 나눈 "
        "것입니다. 1이면 남은 것이 없다는 뜻입니다.",
        "accounted": "설명한 몫",
        "memory": "ResNet-50 추적의 메모리 (1×3×224×224)",
        "memory_note": "목표: 활성값 전체의 1.1배 이하. 모델과 입력을 빼고, 추적에서 닿을 수 있는 "
        "모든 텐서의 서로 다른 메모리를 셌습니다. 가중치 하나의 `uses` 결과는 위치 {positions}개를 "
        "배열에 두며, 행은 읽을 때 객체가 됩니다.",
        "activations": "활성값 전체",
        "held": "추적이 가진 텐서",
        "objects": "추적의 파이썬 객체",
        "uses": "가중치 하나의 `uses` 결과의 파이썬 객체",
        "bytes": "MB",
        "artefacts": "파일 만들기",
        "artefacts_note": "각 형식에 필요한 패키지는 미리 불러옵니다. 글꼴 말고는 앞서 만든 "
        "파일에서 남겨 두는 것이 없습니다.",
        "target": "목표",
        "page": "Chromium에서 본 웹 페이지: 같은 회차의 빈 페이지에 대한 비율",
        "page_note": "*첫 계산 내역*은 계산 내역이 보이는 첫 프레임이며, 프로그램이 실행되기 "
        "전에는 글자로 보입니다. *고르기*는 클릭에서 그려진 프레임까지이고, 빈 페이지에서 한 줄을 "
        "바꾸는 클릭과 비교합니다. *가장 느린 경우*는 95번째 백분위수입니다. *쉬는 동안*은 아무 "
        "일도 하지 않을 때 주 스레드가 일하는 시간의 비율입니다.",
        "page.first": "첫 계산 내역",
        "page.ready": "페이지를 쓸 수 있을 때까지",
        "page.click.demo": "수 고르기, 입력 3×3",
        "page.late.demo": "수 고르기, 입력 3×3, 가장 느린 경우",
        "page.click.wide": "수 고르기, 56×56 채널 64개",
        "page.late.wide": "수 고르기, 56×56 채널 64개, 가장 느린 경우",
        "page.idle": "쉬는 동안",
        "page.elements": "가장 큰 화면의 요소 수",
        "page.dropped": "512×512 지도를 확대하고 끄는 동안 놓친 프레임",
        "page.server.first": "`convtrace serve`로 연 ResNet-50: 첫 계산 내역",
        "page.server.requests": "`convtrace serve`로 연 ResNet-50: 여는 데 드는 요청 수",
        "page.server.megabytes": "`convtrace serve`로 연 ResNet-50: 여는 데 드는 MB",
        "page.server.heap": "`convtrace serve`로 연 ResNet-50: JavaScript 메모리 MB",
        "page.server.select": "`convtrace serve`로 연 ResNet-50: 고른 뒤 계산 내역까지 ms",
        "page.server.slowest": "`convtrace serve`로 연 ResNet-50: 내려가는 동안 가장 느린 ms",
        "value": "값",
        "saved": "저장한 추적 (프로세스 전체)",
        "saved_note": "목표: 저장한 추적에서 수 하나의 계산 내역을 PyTorch 없이 0.3초 안에 보여 "
        "줄 것.",
        "diff": "틀린 합성곱의 원인 찾기 (3×3, 256→256, 56×56)",
        "diff_note": "목표: 원인이 하나일 때는 그 층의 순전파 10번, 두 가지가 함께일 때는 100번의 "
        "시간 이하.",
        "cause": "원인",
        "diff.none": "없음: 올바른 출력",
        "diff.tile": "목록에 없음: 갱신되지 않은 타일",
        "named": "먼저 지목함",
        "passes": "순전파 횟수로 잰 시간",
        "startup": "시작 시간 (프로세스 전체)",
        "startup_note": "목표: `convtrace --help` 0.15초 이하, `convtrace demo`는 `import torch`만 "
        "할 때보다 0.3초 이내로 더 걸릴 것.",
        "what": "항목",
        "time": "시간",
        "ratio": "첫 항목에 대한 비율",
        "size": "특징 맵",
        "forward": "순전파",
        "receipt": "계산 내역 하나",
        "receipt_ratio": "계산 내역 ÷ 순전파",
        "window_ratio": "계산 내역 ÷ 창만 계산",
        "demo": "데모는 `import torch`만 할 때보다 {seconds:.2f}초 더 걸립니다.",
    },
}


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _timings(text: dict[str, str], timings: dict[str, Timing]) -> str:
    return _table(
        [text["what"], text["time"], text["ratio"]],
        [[name, _milliseconds(t.seconds), str(t)] for name, t in timings.items()],
    )


def _ways(text: dict[str, str], ways: dict[str, contributions.Way]) -> str:
    return _table(
        [text["what"], text["time"], text["ratio"], text["accounted"]],
        [
            [
                name,
                _milliseconds(way.timing.seconds),
                str(way.timing),
                "–" if way.accounted is None else f"{way.accounted:.6f}",
            ]
            for name, way in ways.items()
        ],
    )


def _artefacts(text: dict[str, str], timings: dict[str, Timing]) -> str:
    targets = artefacts.TARGETS
    return _table(
        [text["what"], text["time"], text["target"]],
        [
            [name, _milliseconds(t.seconds), f"{targets[name]:g} s" if name in targets else "–"]
            for name, t in timings.items()
        ],
    )


def _page(text: dict[str, str], rows: list[page.Row]) -> str:
    return _table(
        [text["what"], text["value"], text["target"]],
        [
            [
                text[f"page.{row.key}"],
                f"{row.value:.3g}",
                "–" if row.target is None else f"{row.target:g}",
            ]
            for row in rows
        ],
    )


def _diff(text: dict[str, str], rows: list[diff.Row]) -> str:
    return _table(
        [text["cause"], text["passes"], text["target"], text["named"]],
        [
            [
                " + ".join(row.case.causes) or text[f"diff.{row.case.family}"],
                f"{row.ratio:.3g}×",
                f"{row.target:g}×",
                "✓" if row.hit else ", ".join(row.found) or "–",
            ]
            for row in rows
        ],
    )


def _memory(text: dict[str, str], held: memory.Memory) -> str:
    sizes = {
        text["activations"]: held.activations,
        text["held"]: held.trace,
        text["objects"]: held.objects,
        text["uses"]: held.uses,
    }
    return _table(
        [text["what"], text["bytes"], text["ratio"]],
        [
            [name, f"{size / 1e6:.3g}", f"{size / held.activations:.3g}×"]
            for name, size in sizes.items()
        ],
    )


def main() -> None:
    """Run everything, then write `docs/*/benchmarks.md`."""
    recorded, rows, started = recording.measure(), receipts.measure(), startup.measure()
    ways, held, made = contributions.measure(), memory.measure(), artefacts.measure()
    seen, opened, named = page.measure(), saved.measure(), diff.measure()
    machine = (
        f"{platform.machine()}, {os.cpu_count()} CPU, Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}, convtrace {convtrace.__version__}"
    )
    extra = started["convtrace demo"].seconds - started["python -c 'import torch'"].seconds
    for lang, text in TEXT.items():
        lines = [
            f"# {text['title']}",
            text["intro"],
            f"{text['machine']}: {machine}",
            f"## {text['recording']}",
            _timings(text, recorded),
            text["recording_note"],
            f"## {text['receipts']}",
            _table(
                [
                    text["size"],
                    text["forward"],
                    text["receipt"],
                    text["receipt_ratio"],
                    text["window_ratio"],
                ],
                [
                    [
                        f"{row.size}×{row.size}",
                        _milliseconds(row.forward.seconds),
                        _milliseconds(row.receipt.seconds),
                        str(row.receipt),
                        f"{row.receipt.seconds / row.window.seconds:.3g}×",
                    ]
                    for row in rows
                ],
            ),
            text["receipts_note"],
            f"## {text['contributions']}",
            _ways(text, ways),
            text["contributions_note"],
            f"## {text['memory']}",
            _memory(text, held),
            text["memory_note"].format(positions=held.positions),
            f"## {text['artefacts']}",
            _artefacts(text, made),
            text["artefacts_note"],
            f"## {text['saved']}",
            _timings(text, opened),
            text["saved_note"],
            f"## {text['diff']}",
            _diff(text, named),
            text["diff_note"],
            f"## {text['page']}",
            _page(text, seen),
            text["page_note"],
            f"## {text['startup']}",
            _timings(text, started),
            f"{text['demo'].format(seconds=extra)} {text['startup_note']}",
        ]
        (DOCS / lang / "benchmarks.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
        print(f"docs/{lang}/benchmarks.md")


if __name__ == "__main__":
    main()
