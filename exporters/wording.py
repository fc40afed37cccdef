"""Foreign text made fit to show: nothing in a run's name can move a cursor or fill a page."""

from __future__ import annotations

REPLACEMENT = "\ufffd"
LENGTH_MAX = 200


def printable(text: object, limit: int = LENGTH_MAX) -> str:
    r"""Replace what does not print and cut what is too long.

    Escape sequences, control characters, marks that reverse the direction of writing and lone
    surrogates become a replacement sign; every kind of white space becomes a space.

    Args:
        text: Anything; its ``str`` is taken.
        limit: Most characters that are kept.

    Example:
        >>> printable("dense\x1b[2J\n run"), printable("x" * 300, limit=5)
        ('dense�[2J  run', 'xxxx…')
    """
    whole = str(text)
    kept = whole if len(whole) <= limit else f"{whole[: limit - 1]}…"
    return "".join(
        one if one.isprintable() else " " if one.isspace() else REPLACEMENT for one in kept
    )
