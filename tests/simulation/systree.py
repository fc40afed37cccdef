"""Parts of /sys and /dev in a temporary folder, with values that a test turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class SysTree:
    """The folders that stand in for /sys and /dev.

    Args:
        root: An empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.sys, self.dev = root / "sys", root / "dev"
        self.sys.mkdir()
        self.dev.mkdir()
        self._hwmons = 0

    def hwmon(self, folder: Path, files: dict[str, object]) -> Path:
        """Add a hwmon device below a folder of its driver."""
        made = folder / f"hwmon{self._hwmons}"
        self._hwmons += 1
        made.mkdir(parents=True)
        write(made, files)
        return made

    def intel_gpu(self, card: int, driver: str = "i915", **files: object) -> Path:
        """Add a card with its plugs and its hwmon folder; gives that folder.

        Args:
            card: Its number.
            driver: ``i915`` or ``xe``; i915 adds an entry for its first tile.
            **files: Files of the hwmon folder.
        """
        device = self.sys / "devices" / f"0000:{card + 3:02x}:00.0"
        device.mkdir(parents=True)
        drm = self.sys / "class" / "drm"
        for name in (f"card{card}", f"card{card}-DP-1", f"renderD{128 + card}"):
            (drm / name).mkdir(parents=True)
        (drm / f"card{card}" / "device").symlink_to(device)
        if driver == "i915":
            self.hwmon(device / "hwmon", {"name": "i915_gt0", "energy1_input": 5})
        return self.hwmon(device / "hwmon", {"name": driver, **files})

    def ina3221(self, address: str, labels: list[str]) -> Path:
        """Add a Jetson's power monitor with rails of 5000 mV; what follows them are no rails."""
        files: dict[str, object] = {"name": "ina3221", "in7_label": "sum of shunt voltages"}
        files |= {"in7_input": 9, "curr4_input": 99999}
        for number, label in enumerate(labels, start=1):
            files |= {f"in{number}_label": label, f"in{number}_input": 5000}
            files |= {f"curr{number}_input": 0, f"in{number + 3}_input": 77}
        driver = self.sys / "bus" / "i2c" / "drivers" / "ina3221"
        return self.hwmon(driver / address / "hwmon", files)

    def acpi_meter(self, power_uw: int, *, battery: bool = False) -> Path:
        """Add an ACPI power meter."""
        files = {"name": "power_meter", "power1_average": power_uw, "power1_is_battery": +battery}
        interval = {"power1_average_interval": 1000}
        return self.hwmon(self.sys / "class" / "hwmon", files | interval)

    def driver(self, path: str) -> None:
        """Add the folder by which a driver shows that it is here."""
        (self.sys / path).mkdir(parents=True)


def write(folder: Path, files: dict[str, object]) -> None:
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n", encoding="ascii")
