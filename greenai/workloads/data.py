"""Real text as byte tokens, and batches of it in an order that only the seed decides."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import IterableDataset

from greenai.errors import OrderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt
    from torch import Tensor

    Batch = tuple[Tensor, Tensor]
    """Inputs and the tokens that follow them, both of shape (batch, sequence)."""

MAX_BYTES = 4_000_000
"""More text than the longest quick run reads; loads in well under a second."""
VALIDATION_EVERY = 10
"""Of so many blocks the last is for validation."""
BLOCK_BYTES = 8192
"""Small, so that both parts hold text of every kind: tables, prose and code come in long runs."""
STANDARD_LIBRARY_LEFT_OUT = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
)
_NOT_TRAINED = "There is nothing to train on: no energy was measured."


@dataclass(frozen=True)
class Text:
    """Text as bytes, split once and for all into training and validation.

    Args:
        training: Bytes to train on. Shape (n,), uint8.
        validation: Every tenth block, never trained on. Shape (m,), uint8.
        source: Where it comes from, in words for people; no path of the user.
        sha256: Digest of all bytes in order, hexadecimal: two runs with one digest saw one text.
    """

    training: npt.NDArray[np.uint8]
    validation: npt.NDArray[np.uint8]
    source: str
    sha256: str

    @property
    def size_bytes(self) -> int:
        """Bytes of both parts."""
        return len(self.training) + len(self.validation)

    def unigram_entropy_nats(self) -> float:
        """Loss of the best model that ignores context, in nats a byte.

        Example:
            >>> tokens = np.frombuffer(b"abab", dtype=np.uint8)
            >>> round(Text(tokens, tokens, "", "").unigram_entropy_nats(), 4)
            0.6931
        """
        counts = np.bincount(self.training, minlength=256)
        shares = counts[counts > 0] / len(self.training)
        return float(-(shares * np.log(shares)).sum())


def load_text(data: str | Path | None = None, *, max_bytes: int = MAX_BYTES) -> Text:
    """Read text: a file, the files of a folder, or the sources of Python's standard library.

    Files are taken by name, those of a folder before those of its subfolders, until `max_bytes`
    are read. Hidden files and folders are left out, and so are files of a folder that hold a
    zero byte (they are not text).

    Args:
        data: A file or a folder; the standard library's `*.py` without its tests where None.
        max_bytes: Bytes to read at most.

    Returns:
        The text; a tenth of it is for validation.

    Raises:
        OrderError: The path is missing, not readable, not text or empty.

    Example:
        >>> text = load_text(max_bytes=100_000)
        >>> text.source, len(text.training), len(text.validation)
        ('the Python standard library', 91808, 8192)
    """
    if data is None:
        root = Path(sysconfig.get_paths()["stdlib"])
        files = _files_below(root, left_out=STANDARD_LIBRARY_LEFT_OUT, suffix=".py")
        return _split(_read(files, max_bytes), "the Python standard library", root)
    path = Path(data)
    if path.is_dir():
        return _split(_read(_files_below(path), max_bytes), "a folder of text", path)
    if not path.exists():
        raise OrderError(
            f"No file or folder {path}.", _NOT_TRAINED, "give a file or a folder of text"
        )
    if not path.is_file():
        raise OrderError(f"{path} is not a file or a folder.", _NOT_TRAINED, "give a regular file")
    content = _read_file(path, max_bytes)
    if b"\0" in content:
        raise OrderError(
            f"{path} holds zero bytes: it is not text.",
            "A comparison on it would say little about text.",
            "give plain text (UTF-8); a folder may hold other files, they are left out",
        )
    return _split(content, "a file of text", path)


def _files_below(
    root: Path, left_out: frozenset[str] = frozenset(), suffix: str = ""
) -> Iterator[Path]:
    """Walk a folder in the order of names, not following links to folders."""

    def refuse(error: OSError) -> None:
        raise OrderError(
            f"{error.filename} is not readable: {error.strerror}.",
            "Part of the text would be missing without a sign.",
            "make it readable, or give another folder",
        ) from error

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(n for n in folders if n not in left_out and not n.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if name.endswith(suffix) and not name.startswith(".") and path.is_file():
                yield path


def _read(files: Iterable[Path], max_bytes: int) -> bytes:
    """Join the text files up to a size."""
    content = bytearray()
    for path in files:
        piece = _read_file(path, max_bytes - len(content))
        if b"\0" not in piece:
            content += piece
        if len(content) >= max_bytes:
            break
    return bytes(content)


def _read_file(path: Path, limit_bytes: int) -> bytes:
    """Read the beginning of a file."""
    try:
        with path.open("rb") as file:
            return file.read(limit_bytes)
    except OSError as error:
        raise OrderError(
            f"{path} is not readable: {error.strerror}.",
            "Part of the text would be missing without a sign.",
            "make it readable, or give other text",
        ) from error


def _split(content: bytes, source: str, path: Path) -> Text:
    """Keep every tenth block for validation; a short text is ten blocks."""
    if not content:
        raise OrderError(f"{path} holds no text.", _NOT_TRAINED, "give a file or folder of text")
    tokens = np.frombuffer(content, dtype=np.uint8)
    block_bytes = max(1, min(BLOCK_BYTES, len(tokens) // VALIDATION_EVERY))
    block = np.arange(len(tokens)) // block_bytes
    held_out = block % VALIDATION_EVERY == VALIDATION_EVERY - 1
    digest = hashlib.sha256(content).hexdigest()
    return Text(tokens[~held_out], tokens[held_out], source, digest)


class Batches(IterableDataset):  # type: ignore[misc]  # torch is not followed by the type checker
    """Endless batches of windows drawn from text by a seeded generator.

    The order depends on the text, the shape and the seed alone, never on the model: two variants
    with one seed train on the same batches. Each iteration starts from the first batch again.

    Args:
        tokens: Text as bytes. Shape (n,).
        batch: Sequences in a batch.
        sequence: Tokens in a sequence.
        seed: Seed of the order.

    Raises:
        OrderError: The text does not fill one batch.

    Example:
        >>> tokens = np.arange(100, dtype=np.uint8)
        >>> inputs, targets = next(iter(Batches(tokens, batch=2, sequence=8, seed=0)))
        >>> tuple(inputs.shape), bool((targets == inputs + 1).all())
        ((2, 8), True)
    """

    def __init__(
        self, tokens: npt.NDArray[np.uint8], *, batch: int, sequence: int, seed: int
    ) -> None:
        super().__init__()
        needed = batch * sequence + 1
        if len(tokens) < needed:
            raise OrderError(
                f"The text is too small: {len(tokens)} bytes where a batch needs {needed}.",
                "The model would train on the same bytes again within one batch.",
                f"give at least {needed * VALIDATION_EVERY:,} bytes of text "
                "(a tenth is kept for validation)",
            )
        self.tokens, self.batch, self.sequence, self.seed = tokens, batch, sequence, seed

    def __iter__(self) -> Iterator[Batch]:
        """Draw batch after batch, without end."""
        generator = np.random.default_rng(self.seed)
        within = np.arange(self.sequence + 1)
        while True:
            starts = generator.integers(len(self.tokens) - self.sequence, size=self.batch)
            windows = torch.from_numpy(self.tokens[starts[:, None] + within].astype(np.int64))
            yield windows[:, :-1], windows[:, 1:]
