"""Manifests: what a run and each of its attempts are, as small JSON files that are read with care.

A manifest is replaced whole, so a reader sees the old or the new one. It names hosts by a hash
that the caller gives, and holds no environment, no token and no path of the user's.

The run's (``<run>/manifest.json``, by global rank 0 only) has schema_version, run_id, project,
variant, config, started_utc, git_commit and settings (value and origin of each). An attempt's
(``<run>/rank-R/attempt-<launch_id>/manifest.json``) has schema_version, run_id, launch_id, rank,
world_size, local_rank, host, channels, refused, versions, clock, names and started_utc.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

from greenai.errors import OrderError, RecordError
from greenai.record.claim import Claim, claim_run
from greenai.record.documents import OBJECT_BYTES_MAX, plain_json, read_json, refuse
from greenai.record.files import replace_file
from greenai.record.types import SCHEMA_VERSION
from greenai.sensors.base import KINDS, TRUSTS, Channel, Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "Claim",
    "add_to_config",
    "channels_of",
    "claim_run",
    "read_attempt_manifest",
    "read_run_manifest",
    "write_manifest",
    "write_run_manifest",
]

MANIFEST = "manifest.json"
NAMES_MAX = 65_536
CHANNELS_MAX = 4096
WHOLE_MAX = 2**53


def write_run_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest of a run.

    Args:
        folder: The run folder.
        facts: Its content, without the schema's version; see the module.

    Raises:
        OrderError: It takes more than 1 MiB.
        RecordError: The disk refuses it.
    """
    try:
        write_manifest(folder, facts)
    except OSError as error:
        raise RecordError(
            f"{folder / MANIFEST} cannot be written: {error.strerror}.",
            "The run would not be recorded.",
            "give a folder on a disk that has room and that you may write to",
            path=folder / MANIFEST,
        ) from error


def add_to_config(folder: Path, facts: Mapping[str, Any]) -> None:
    """Add facts of a run that are known only at its end to the config in its manifest.

    Args:
        folder: The run folder.
        facts: JSON-safe, by name; one that is there already is replaced.

    Raises:
        OrderError: The manifest would take more than 1 MiB.
        RecordError: It cannot be read or written; the old one is untouched.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_run_manifest(folder, {"run_id": "a", "config": {"seed": 1}})
        >>> add_to_config(folder, {"held_out_loss_nats": 2.5})
        >>> read_run_manifest(folder)["config"]
        {'held_out_loss_nats': 2.5, 'seed': 1}
    """
    manifest = read_run_manifest(folder)
    manifest["config"] = {**manifest["config"], **facts}
    write_run_manifest(folder, manifest)


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write or replace a manifest; unlike ``write_run_manifest``, let OSError through.

    Raises:
        OrderError: It takes more than 1 MiB.
        OSError: The disk refuses it; an older manifest is untouched.
    """
    whole = {**plain_json(facts), "schema_version": SCHEMA_VERSION}
    data = json.dumps(whole, indent=1, allow_nan=False, sort_keys=True).encode()
    if len(data) > OBJECT_BYTES_MAX:
        raise OrderError(
            f"The manifest takes {len(data)} bytes, more than {OBJECT_BYTES_MAX}.",
            "It would not be read again.",
            "keep large things out of config",
        )
    replace_file(folder / MANIFEST, data)


def read_run_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run.

    Raises:
        RecordError: It is missing, damaged, or of another schema version.
    """
    path = folder / MANIFEST
    manifest = _read_versioned(path)
    _require(path, manifest, "run_id", str)
    _require(path, manifest, "variant", str, type(None), default=None)
    _require(path, manifest, "config", dict, default={})
    if not manifest["run_id"]:
        refuse(path, "its run_id is empty")
    return manifest


def read_attempt_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of an attempt.

    Raises:
        RecordError: It is missing, damaged, or of another schema version.
    """
    path = folder / MANIFEST
    manifest = _read_versioned(path)
    _require(path, manifest, "run_id", str)
    _require(path, manifest, "launch_id", str)
    _require(path, manifest, "rank", int)
    _require(path, manifest, "channels", list)
    _require(path, manifest, "names", list)
    for name in ("refused", "sensors_wanted", "devices_wanted"):
        _require(path, manifest, name, list, type(None), default=None)
    _require(path, manifest, "started_utc", str, type(None), default=None)
    if len(manifest["names"]) > NAMES_MAX or not all(
        isinstance(name, str) for name in manifest["names"]
    ):
        refuse(path, "its names are no table of names")
    return manifest


def channels_of(manifest: Mapping[str, Any], path: Path) -> tuple[Channel, ...]:
    """Channels of an attempt's manifest, each checked.

    Raises:
        RecordError: A channel is not one.
    """
    plain = manifest["channels"]
    if len(plain) > CHANNELS_MAX:
        refuse(path, f"it has {len(plain)} channels")
    return tuple(_channel(one, position, path) for position, one in enumerate(plain))


def _read_versioned(path: Path) -> dict[str, Any]:
    manifest = read_json(path)
    version = manifest.get("schema_version")
    if type(version) is int and version != SCHEMA_VERSION:
        newer = version > SCHEMA_VERSION
        raise RecordError(
            f"{path} has schema version {version}; this greenai reads version {SCHEMA_VERSION}.",
            "Its numbers could be taken for something else, so it is not read.",
            "pip install --upgrade greenai" if newer else "read it with an earlier greenai",
            path=path,
        )
    _require(path, manifest, "schema_version", int)
    return manifest


def _require(
    path: Path, manifest: dict[str, Any], key: str, *types: type, default: Any = ...
) -> None:
    value = manifest.get(key, default)
    if value is ... or not isinstance(value, types) or isinstance(value, bool):
        found = "missing" if value is ... else f"of type {type(value).__name__}"
        refuse(path, f"its {key} is {found}")


def _channel(plain: Any, position: int, path: Path) -> Channel:
    where = f"its channel {position}"
    if not isinstance(plain, dict):
        refuse(path, f"{where} is no object")
    try:
        channel = Channel.from_json(plain)
    except TypeError as error:
        refuse(path, f"{where} is incomplete ({error})")
    words = ("device", "device_key", "method", "model", "vendor", "scope")
    wrap_j, power_max_w = channel.wrap_j, channel.power_max_w
    if (
        channel.quantity not in get_args(Quantity)
        or channel.kind not in KINDS
        or channel.trust not in TRUSTS
        or type(channel.primary) is not bool
        or type(channel.assumed_used) is not bool
        or type(channel.refresh_ns) is not int
        or not 0 <= channel.refresh_ns < 2**62
        or not all(type(getattr(channel, word)) is str for word in words)
        or not (wrap_j is None or (_is_number(wrap_j) and wrap_j > 0))
        or not _is_number(power_max_w)
        or power_max_w < 0
        or not all(_is_share(share) for share in (channel.slice_share, channel.seen_share))
    ):
        refuse(path, f"{where} is none that this greenai knows")
    return channel


def _is_number(value: Any) -> bool:
    """Whether it is a number that fits a float exactly enough; a JSON integer has any length."""
    return type(value) is float or (type(value) is int and abs(value) <= WHOLE_MAX)


def _is_share(value: Any) -> bool:
    """Whether a number is a share, or unknown."""
    return type(value) in {int, float} and not (value < 0 or value > 1)
