"""Laws of visibility: CUDA_VISIBLE_DEVICES means here what it means to CUDA."""

from __future__ import annotations

import pytest

from greenai.sensors.visible import Board, visible_boards, visible_items

UUIDS = ["GPU-aaaa-1", "GPU-aabb-2", "GPU-cccc-3"]
PARENTS = {"MIG-aabb-9": "GPU-aabb-2", "MIG-aabb-8": "GPU-aabb-2"}
WITH_TORCH = [
    "",
    "0",
    "2,0",
    "1gpu2,2ampere",
    "0,-1,1",
    "0,x,1",
    "0,0",
    " 1 , 2",
    "+1",
    "GPU-aaaa,GPU-c",
    "GPU-aaaa,MIG-1",
    "GPU-aaaa,GPU-aaaa",
    "MIG-aabb-9,GPU-aaaa",
    "x",
    ",0",
]


def visible(text: str | None) -> list[Board]:
    return visible_boards(text, UUIDS, PARENTS.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        ("1gpu2,2ampere", [1, 2]),
        ("0,-1,1", [0]),
        ("0,7,1", [0]),
        ("0,none,1", [0]),
        ("0,0", []),
        ("-1", []),
        ("NoDevFiles", []),
        (" 1 , 2", [1, 2]),
        ("GPU-aaaa-1", [0]),
        ("GPU-c,GPU-aab", [2, 1]),
        ("GPU-a", []),
        ("GPU-c,GPU-a,GPU-aab", [2]),
        ("GPU-c,GPU-c", []),
        ("GPU-c,GPU-cc", []),
        ("GPU-c,1", [2]),
        ("GPU-", []),
        ("GPU", []),
        ("PU-aaaa-1", []),
        ("gpu-aaaa-1", []),
        ("GPU-AAAA-1", [0]),
        ("0,1,0", []),
        ("1,-1", [1]),
        ("-0", [0]),
        ("2.5", [2]),
        ("10", []),
        ("0,", [0]),
        (",", []),
        ("0 1", [0]),
        ("GPU-c,MIG-aabb-9", [2]),
        ("0,GPU-c", [0]),
    ],
)
def test_the_variable_leaves_these_boards(text: str | None, expected: list[int]) -> None:
    assert visible(text) == [Board(UUIDS[k]) for k in expected]


@pytest.mark.parametrize(
    ("text", "board", "slices"),
    [
        ("MIG-aabb-9", 1, ["MIG-aabb-9"]),
        ("MIG-aabb-9,MIG-aabb-8", 1, ["MIG-aabb-9", "MIG-aabb-8"]),
        ("MIG-GPU-aaaa-1/7/0", 0, ["MIG-GPU-aaaa-1/7/0"]),
        ("MIG-GPU-aaaa-1/7/0,MIG-GPU-aaaa-1/8/0", 0, ["MIG-GPU-aaaa-1/7/0", "MIG-GPU-aaaa-1/8/0"]),
        ("MIG-aabb-9,MIG-unknown", 1, ["MIG-aabb-9"]),
        ("MIG-aabb-9,0", 1, ["MIG-aabb-9"]),
    ],
)
def test_slices_of_a_board_are_one_share_of_it(text: str, board: int, slices: list[str]) -> None:
    assert visible(text) == [Board(UUIDS[board], tuple(slices))]


@pytest.mark.parametrize(
    "text", ["MIG-unknown", "MIG-aabb-9,MIG-aabb-9", "MIG-GPU-zzzz/7/0", "MIG-"]
)
def test_slices_that_are_none_or_twice_leave_nothing(text: str) -> None:
    assert visible(text) == []


@pytest.mark.slow
@pytest.mark.parametrize("text", WITH_TORCH)
def test_the_grammar_is_that_of_torch(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pytest.importorskip("torch.cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
    assert visible_items(text) == cuda._parse_visible_devices()
