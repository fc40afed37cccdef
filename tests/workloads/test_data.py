from __future__ import annotations

import hashlib
import os
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from greenai.errors import GreenAIError, OrderError
from greenai.workloads.data import Batches, load_text

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.workloads.data import Text


def test_the_standard_library_is_real_text_and_always_the_same(text: Text) -> None:
    again = load_text(max_bytes=400_000)
    assert again.sha256 == text.sha256
    assert np.array_equal(again.training, text.training)
    assert b"import" in text.training.tobytes()
    assert text.size_bytes == 400_000
    assert 2.5 < text.unigram_entropy_nats() < 4


def test_validation_is_spread_over_the_text_and_apart_from_training(tmp_path: Path) -> None:
    content = b"".join(bytes([n]) * 8192 for n in range(1, 31))
    (tmp_path / "a.txt").write_bytes(content)
    text = load_text(tmp_path / "a.txt")
    assert set(text.validation.tolist()) == {10, 20, 30}
    assert set(text.training.tolist()) == set(range(1, 31)) - {10, 20, 30}
    assert text.size_bytes == len(content)


def test_a_tenth_of_a_short_text_is_for_validation(tmp_path: Path) -> None:
    content = bytes(range(1, 101))
    (tmp_path / "a.txt").write_bytes(content)
    text = load_text(tmp_path / "a.txt")
    assert text.training.tobytes() + text.validation.tobytes() == content
    assert len(text.validation) == 10


def test_a_folder_is_read_in_the_order_of_names_without_hidden_or_binary_files(
    tmp_path: Path,
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    for name, content in {
        "z.txt": b"last",
        "a.md": b"first ",
        "picture.png": b"\x89PNG\0\0",
        ".hidden": b"secret",
        ".git/config": b"secret",
        "b/c.txt": b"inner",
    }.items():
        (tmp_path / name).write_bytes(content)
    assert load_text(tmp_path).sha256 == hashlib.sha256(b"first lastinner").hexdigest()


def test_a_folder_is_read_up_to_a_bound(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 100)
    assert load_text(tmp_path, max_bytes=150).size_bytes == 150


def test_links_that_go_round_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text " * 10)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert load_text(tmp_path).size_bytes == 50


def missing(folder: Path) -> Path:
    return folder / "nowhere"


def empty_file(folder: Path) -> Path:
    (folder / "empty").touch()
    return folder / "empty"


def empty_folder(folder: Path) -> Path:
    return folder


def binary(folder: Path) -> Path:
    (folder / "picture").write_bytes(b"\x89PNG\0")
    return folder / "picture"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.parametrize("make", [missing, empty_file, empty_folder, binary, pipe])
def test_what_holds_no_text_is_refused_with_its_path_and_a_hint(
    make: object, tmp_path: Path
) -> None:
    assert callable(make)
    path = make(tmp_path)
    with pytest.raises(OrderError) as refusal:
        load_text(path)
    assert str(path) in refusal.value.what
    assert refusal.value.hint
    assert isinstance(refusal.value, GreenAIError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_cannot_be_read_is_an_error_not_a_gap(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text")
    (tmp_path / "a.txt").chmod(0)
    with pytest.raises(OrderError, match="not readable"):
        load_text(tmp_path)


def test_a_text_that_does_not_fill_a_batch_is_refused_with_the_size_it_needs() -> None:
    with pytest.raises(OrderError, match="81") as refusal:
        Batches(np.zeros(80, dtype=np.uint8), batch=8, sequence=10, seed=0)
    assert "810" in refusal.value.hint
    Batches(np.zeros(81, dtype=np.uint8), batch=8, sequence=10, seed=0)


def first(text: Text, seed: int, count: int = 5) -> torch.Tensor:
    batches = Batches(text.training, batch=4, sequence=32, seed=seed)
    return torch.stack([inputs for inputs, _ in islice(batches, count)])


def test_the_order_of_batches_is_decided_by_the_seed_alone(text: Text) -> None:
    before = first(text, seed=3)
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002  # the global generator is what must not matter
    assert torch.equal(first(text, seed=3), before)
    assert not torch.equal(first(text, seed=4), before)


def test_every_iteration_starts_again_from_the_first_batch(text: Text) -> None:
    batches = Batches(text.training, batch=4, sequence=32, seed=0)
    (once, _), (again, _) = next(iter(batches)), next(iter(batches))
    assert torch.equal(once, again)


def test_targets_are_the_next_bytes_of_the_text(text: Text) -> None:
    inputs, targets = next(iter(Batches(text.training, batch=4, sequence=32, seed=0)))
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    content = text.training.tobytes()
    for row, following in zip(inputs, targets, strict=True):
        assert bytes([*row.tolist(), following[-1].item()]) in content


def test_windows_reach_the_first_and_the_last_byte() -> None:
    tokens = np.arange(12, dtype=np.uint8)
    batches = Batches(tokens, batch=1, sequence=10, seed=0)
    seen = {int(inputs[0, 0]) for inputs, _ in islice(batches, 50)}
    assert seen == {0, 1}
