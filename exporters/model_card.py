"""Emissions in the metadata of a Hugging Face model card, patched into a card on this disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from greenai.errors import OrderError, RecordError
from greenai.exporters.files import replacing
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

Training = Literal["pre-training", "fine-tuning"]
CARD_BYTES_MAX = 2**22
KEY = "co2_eq_emissions"


def card_metadata(
    summary: Mapping[str, Any], training_type: Training | None = None
) -> dict[str, Any]:
    """The block ``co2_eq_emissions`` of a card.

    Args:
        summary: Content of summary.json.
        training_type: ``pre-training`` or ``fine-tuning``; left out where not given.

    Returns:
        ``emissions`` in grams, ``source``, ``geographical_location``, ``hardware_used``; what is
        unknown is left out.

    Raises:
        OrderError: The emissions are unknown: a card has no way to say that.

    Example:
        >>> facts = {"operational_co2e_g": 12.5, "intensity_place": "FRA", "devices": []}
        >>> card_metadata(facts)["emissions"]
        12.5

    Source: https://huggingface.co/docs/hub/model-cards-co2
    """
    emitted_g = summary.get("operational_co2e_g")
    if emitted_g is None:
        raise OrderError(
            "The operational emissions of the run are unknown.",
            "A card cannot say so, and a 0 would be wrong: it was left as it is.",
            "greenai report RUN says what is missing",
        )
    devices = summary.get("devices") or []
    hardware = ", ".join(
        f"{one['count']} x {printable(one['model'], limit=60)}"
        for one in devices
        if one["kind"] == "gpu"
    ) or ", ".join(printable(one["model"], limit=60) for one in devices)
    block = {
        "emissions": float(emitted_g),
        "source": "greenai, operational location-based emissions of training",
        "training_type": training_type,
        "geographical_location": printable(summary.get("intensity_place") or "", limit=80),
        "hardware_used": hardware,
    }
    return {name: value for name, value in block.items() if value not in {None, ""}}


def patch_card(card: Path, block: Mapping[str, Any]) -> None:
    """Put the block into the metadata of a card on this disk; no network is asked.

    Every other key and the text below stay; comments within the YAML do not.

    Args:
        card: README.md of a model; made where it is missing.
        block: From ``card_metadata``.

    Raises:
        ImportError: huggingface_hub is not installed.
        RecordError: The card cannot be read or written, or its metadata is no YAML.
    """
    from huggingface_hub.repocard import metadata_load, metadata_save  # noqa: PLC0415 - an extra
    from yaml import YAMLError  # noqa: PLC0415 - comes with it

    with tempfile.TemporaryDirectory(prefix="greenai-") as name:
        copy = (
            Path(name) / "README.md"
        )  # huggingface_hub writes in place; the card is replaced whole
        copy.write_bytes(_read(card))
        try:
            found = metadata_load(copy) or {}
        except (ValueError, YAMLError) as error:
            raise RecordError(
                f"The metadata of {card} cannot be read: {str(error)[:200]}.",
                "The card was left as it is.",
                "mend the YAML between the lines --- at its top",
                path=card,
            ) from error
        metadata_save(copy, {**found, KEY: dict(block)})
        data = copy.read_bytes()
    with replacing(card) as file:
        file.write(data)


def _read(card: Path) -> bytes:
    try:
        data = card.read_bytes() if card.exists() else b""
        reason = "" if len(data) <= CARD_BYTES_MAX else f"it has more than {CARD_BYTES_MAX} bytes"
    except OSError as error:
        data, reason = b"", error.strerror or str(error)
    if reason:
        raise RecordError(
            f"{card} cannot be read: {reason}.",
            "Its metadata was left as it is.",
            "name the README.md of a model with --card",
            path=card,
        )
    return data
