"""Laws of discovery: unknown names are refused at the desk, what is not used has a reason."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from greenai import sensors
from greenai.errors import SensorError

if TYPE_CHECKING:
    from simulation.fake_nvml import FakeNvml
    from simulation.powercap import PowercapTree


def test_all_that_measure_are_tried_where_none_are_named() -> None:
    assert list(sensors.openers()) == list(sensors.NAMES)
    assert {"nvml", "amd", "intel", "apple", "rapl", "codecarbon"} <= set(sensors.NAMES)
    assert not set(sensors.ON_REQUEST) & set(sensors.NAMES)


def test_an_empty_list_wants_none() -> None:
    assert sensors.openers([]) == {}


def test_a_name_that_comes_twice_is_opened_once() -> None:
    assert list(sensors.openers(["rapl", "nvml", "rapl"])) == ["rapl", "nvml"]


@pytest.mark.parametrize("name", ["rapI", "", "replay:", "replay", "NVML", "pdu"])
def test_an_unknown_name_is_an_error_before_anything_starts(name: str) -> None:
    with pytest.raises(SensorError, match="Unknown sensor") as caught:
        sensors.openers(["nvml", name])
    assert all(known in caught.value.hint for known in (*sensors.NAMES, *sensors.WITH_ARGUMENT))
    with pytest.raises(SensorError):
        sensors.check_names([name])


def test_what_is_found_is_open_and_the_rest_has_a_reason(powercap_tree: PowercapTree) -> None:
    powercap_tree.zone("intel-rapl:0", "package-0", 5_000_000)
    sys_root = str(powercap_tree.root.parent.parent)
    found = sensors.discover(["nvml", "rapl"], [], sys_root=sys_root)
    assert [sensor.name for sensor in found.sensors] == ["rapl"]
    assert [refusal.sensor for refusal in found.refusals] == ["nvml"]
    assert found.sensors[0].read()[0].value == 5.0
    found.close()


def test_gpus_and_packages_are_found_side_by_side(
    fake_nvml: FakeNvml, powercap_tree: PowercapTree
) -> None:
    powercap_tree.server(2)
    code = (
        "import sys; from greenai import sensors; "
        "found = sensors.discover(sys_root=sys.argv[1]); found.close(); "
        "print([c.device for s in found.sensors for c in s.channels if c.primary], "
        "[one for one in found.refusals if one.hint])"
    )
    done = fake_nvml.run(code, str(powercap_tree.root.parent.parent), gpus=2)
    assert done.stdout.strip() == (
        "['gpu0', 'gpu1', 'cpu-package-0', 'dram-0', 'cpu-package-1', 'dram-1'] []"
    )


def test_asking_for_openers_loads_no_driver_and_no_package() -> None:
    code = (
        "import sys; from greenai import sensors; sensors.openers(); "
        "heavy = {'pynvml', 'codecarbon', 'numpy', 'pandas', 'pyarrow', 'psutil', 'subprocess'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
