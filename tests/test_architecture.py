"""Laws of who may import whom; the table is the architecture, a module without a row is refused."""

from __future__ import annotations

import ast
import dataclasses
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
OUTER = ("callbacks", "exporters", "dashboards")
LINES_MAX = 400

ANYTHING = {"*"}
EVERYONE_MAY = {"units", "errors", "metrics"}
"""Names, units and errors; they import nothing but one another."""

MAY_IMPORT: dict[str, set[str]] = {
    # A part or a module of greenai: what it may import besides itself. The longest match counts.
    "": {"api"},  # greenai/__init__.py: the public names, loaded on first use
    "units": set(),
    "errors": set(),
    "metrics": set(),
    "data": set(),
    "grid": {"data", "intensity_table"},  # a user's table is read where one is asked for
    "intensity_table": {"grid"},
    "water": {"data"},
    "accelerators": {"data"},
    "planning": set(),
    "planning.tables": {"data", "accelerators", "embodied", "analysis"},
    "planning.factors": {"planning.tables", "grid", "water", "embodied", "analysis"},
    "planning.plan": {"planning.factors", "planning.tables", "analysis"},
    "planning.alternatives": {"planning.plan", "planning.tables", "analysis"},
    "planning.start_hours": {"planning.plan", "planning.factors", "analysis"},
    "planning.validation": {"planning.plan", "planning.tables", "analysis"},
    "planning.budget": {"planning.plan", "analysis"},
    "planning.text": {"analysis"},
    "sensors": {"data"},
    "sensors.replay": {"sensors", "record"},
    "record": {"sensors.base"},
    "live": {"sensors", "record", "settings"},
    "live.bootstrap": {"companion"},  # first lines of the new process: they hand over to its root
    "analysis": {"record.types", "sensors.base"},
    "settings": {"grid", "sensors", "outlets", "exporters.access", "emitted"},
    "outlets": set(),
    "keywords": set(),
    "outgoing": {"outlets", "periodic", "exporters"},
    "periodic": {"exporters.delivery"},
    "diagnosis": {"examination", "sensors.base", "sensors"},
    "examination": {"sensors", "live"},
    "doctor": {"diagnosis", "examination", "sensors"},
    "doctor_text": {"doctor"},
    "following": {"record", "analysis", "grid", "sensors.base", "exporters"},
    "callbacks": {"live", "settings", "keywords", "record.types"},
    "exporters": {"record", "analysis", "sensors.base"},
    "dashboards": set(),
    "workloads": {"api", "callbacks"},
    "workloads.metered": {"api", "callbacks", "record.manifest"},  # adds what the end tells
    "workloads.resting": {"doctor"},  # reads the counters while nothing is trained
    "merging": {"record", "analysis", "sensors.base"},
    "step_table": {"merging", "analysis", "sensors.base"},
    "stragglers": {"merging", "analysis", "record.types"},
    "shortfalls": {"merging", "stragglers", "analysis", "record.types"},
    "crosscheck": {"merging", "record", "analysis", "sensors.codecarbon_check"},
    "observation": {"analysis"},
    "lineage": {"record"},
    "lens": {"run", "merging", "analysis", "accelerators"},
    "backfill": {"merging", "energy_utc", "exporters.openmetrics", "analysis"},
    "energy_utc": {"merging", "analysis", "record.types"},
    "timed_csv": {"analysis"},
    "intensity_file": {"timed_csv", "analysis"},
    "embodied": {"analysis", "data"},
    "services": {"analysis", "timed_csv", "sensors.models"},
    "accounts": {"embodied", "water", "energy_utc", "merging", "shortfalls", "analysis"},
    "statement": {
        "accounts",
        "stragglers",
        "lens",
        "lineage",
        "merging",
        "shortfalls",
        "analysis",
        "record.types",
    },
    "run": {
        "stragglers",
        "statement",
        "step_table",
        "energy_utc",
        "merging",
        "shortfalls",
        "lineage",
        "observation",
        "crosscheck",
        "record",
        "analysis",
        "grid",
        "sensors.base",
    },
    "api": ANYTHING,
    "estimating": {"api", "planning.plan", "planning.factors", "planning", "analysis"},
    "cli": ANYTHING,
    "commands": set(),
    "commands.options": {"analysis", "sensors"},
    "commands.merge": {"api", "commands.terminal", "record"},
    "commands.scaling": {"api", "commands.terminal", "exporters"},
    "commands.terminal": set(),
    "commands.estimate": {
        "planning",
        "planning.plan",
        "planning.factors",
        "planning.alternatives",
        "planning.start_hours",
        "intensity_file",
        "planning.budget",
        "planning.validation",
        "planning.text",
        "commands.terminal",
        "api",
        "analysis",
    },
    "commands.dashboards": {"commands.terminal", "dashboards"},
    "commands.factors": {"analysis", "embodied", "intensity_file"},
    "commands.impacts": ANYTHING,
    "commands.intensity": {"intensity_file", "energy_utc", "services", "record", "analysis"},
    "commands.bench": {"commands.terminal", "exporters", "workloads", "api", "lens"},
    "commands.report": ANYTHING,
    "commands.watch": {"commands.terminal", "following", "exporters"},
    "commands.fleet": {"commands.terminal", "fleet", "exporters"},
    "overview": {"api", "exporters", "fleet", "record"},
    "fleet": {"record", "exporters"},
    "fleet.gathering": {"api", "record"},
    "fleet.push": {"api", "record", "exporters"},
    "fleet.walking": set(),
    "commands.run": {
        "api",
        "callbacks.plain",
        "commands.child",
        "commands.options",
        "commands.terminal",
    },
    "__main__": {"cli"},
    "companion": ANYTHING,
    "serving": {
        "live",
        "analysis",
        "exporters",
        "outgoing",
        "outlets",
        "local_ranks",
        "tally",
        "sensors.base",
    },
    "local_ranks": {"exporters", "record.documents"},
    "tally": {"live", "analysis", "exporters", "embodied", "emitted", "grid", "sensors.base"},
    "emitted": {"analysis", "intensity_file"},
}

MAY_NAME_IN_TYPES: dict[str, set[str]] = {
    # Imports under TYPE_CHECKING only: a name in a signature, nothing that runs.
    "exporters": {"api"},
    "workloads": {"analysis"},
    "observation": {"run"},
    "emitted": {"grid"},
    "planning.factors": {"planning.plan"},
    "planning.plan": {"run"},
    "planning.text": {"planning.budget"},
    "energy_utc": {"grid"},
    "accounts": {"run"},
    "backfill": {"run"},
    "lineage": {"run"},
    "statement": {"run", "sensors.base"},
}

THIRD_PARTY: dict[str, set[str]] = {
    # A third party: the parts that may import it. What is not here is not imported at all.
    "numpy": {
        "analysis",
        "record",
        "live",
        "backfill",
        "exporters",
        "workloads",
        "run",
        "merging",
        "lens",
        "crosscheck",
        "energy_utc",
        "emitted",
        "statement",
        "following",
        "step_table",
        "stragglers",
    },
    "pyarrow": {"record", "exporters", "companion"},
    "duckdb": {"fleet.query", "fleet.index"},
    "fsspec": {"fleet"},
    "pandas": {"run", "merging", "step_table", "lens", "exporters", "statement"},
    "httpx": {"services.client"},
    "psutil": {"sensors", "live", "companion"},
    "typer": {
        "cli",
        "commands.estimate",
        "commands.intensity",
        "commands.factors",
        "commands.fleet",
        "commands.impacts",
        "commands.merge",
        "commands.bench",
        "commands.dashboards",
        "commands.options",
        "commands.report",
        "commands.watch",
        "commands.run",
        "commands.scaling",
        "commands.terminal",
    },
    "click": {"cli"},
    "rich": {"cli", "commands.terminal", "exporters", "workloads"},
    "pynvml": {"sensors.nvml"},
    "amdsmi": {"sensors.amd"},
    "zeus_apple_silicon": {"sensors.apple"},
    "pyhlml": {"sensors.habana"},
    "prometheus_client": {
        "exporters.exposition",
        "exporters.prometheus",
        "exporters.textfile",
        "exporters.pushgateway",
        "exporters.openmetrics",
    },
    "google": {"exporters.remote_write"},
    "cramjam": {"exporters.remote_write"},
    "opentelemetry": {"exporters.otlp"},
    "codecarbon": {
        "sensors.codecarbon",
        "sensors.codecarbon_check",
        "grid",
        "exporters.emissions",
    },
    "grafana_foundation_sdk": {"dashboards.panels", "dashboards.frame"},
    "transformers": {"callbacks.huggingface"},
    "keras": {"callbacks.keras"},
    "huggingface_hub": {"exporters.model_card"},
    "weasyprint": {"exporters.pdf"},
    "yaml": {"exporters.model_card"},
    "lightning": {"callbacks.lightning", "workloads"},
    "pytorch_lightning": {"callbacks.lightning", "workloads"},
    "torch": {"callbacks", "workloads"},
}

STANDARD_LIBRARY_ONLY = {
    # They load within the sampler's first 20 ms, or with `import greenai`: at the top of these
    # modules nothing else is imported.
    "",
    "units",
    "errors",
    "metrics",
    "settings",
    "outlets",
    "grid",
    "sensors",
    "live",
    "companion",
    "record.types",
    "exporters.figures",
    "exporters.endpoint",
    "exporters.connections",
    "exporters.access",
}


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported module: full name, line, and when it runs."""

    target: str
    line: int
    for_types: bool
    at_top: bool


def modules() -> dict[str, Path]:
    """Files of the package by module name without ``greenai.``; the package itself is ``""``."""
    files = {path: path.relative_to(ROOT / "greenai") for path in ROOT.glob("greenai/**/*.py")}
    for folder in OUTER:
        files |= {path: path.relative_to(ROOT) for path in (ROOT / folder).glob("**/*.py")}
    return {
        ".".join(inner.with_suffix("").parts).removesuffix("__init__").rstrip("."): path
        for path, inner in sorted(files.items())
    }


MODULES = modules()
PARTS = set(MODULES) | set(MAY_IMPORT)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def walk(node: ast.AST, *, for_types: bool = False, at_top: bool = True) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for target in targets_of(child):
            yield Import(target, child.lineno, for_types, at_top)  # type: ignore[attr-defined] # an import statement or a call: both have a line
        inside_types = for_types or (isinstance(child, ast.If) and is_type_checking(child.test))
        inside_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from walk(child, for_types=inside_types, at_top=at_top and not inside_function)


def targets_of(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(origin), names=names, level=0):
            if origin != "greenai":  # else a module of ours, or a public name
                return [origin]
            return [
                f"greenai.{one.name if one.name in PARTS else home_of(one.name)}" for one in names
            ]
        case ast.ImportFrom():
            return ["."]
        case ast.Call(
            func=ast.Attribute(attr="import_module")
            | ast.Name(id="import_module" | "__import__")
            | ast.Attribute(value=ast.Name(id="bindings"), attr="load"),
            args=[ast.Constant(value=str(target)), *_],
        ):
            return [target]
    return []


def home_of(public_name: str) -> str:
    """Part that a public name of the package is loaded from on first use."""
    return "" if public_name == "__version__" else "api"


def is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def within(module: str, parts: set[str]) -> bool:
    """Whether a module is one of the parts or lies in one; ``""`` is the package file alone."""
    return any(module == part or (part and module.startswith(f"{part}.")) for part in parts)


def row_of(module: str) -> str | None:
    fitting = [row for row in MAY_IMPORT if within(module, {row})]
    return max(fitting, key=len, default=None)


def forbidden(module: str, tree: ast.Module) -> Iterator[str]:
    row = row_of(module)
    assert row is not None
    for one in walk(tree):
        name, _, inner = one.target.partition(".")
        where = f"{module}:{one.line}"
        if name == "greenai":
            allowed = MAY_IMPORT[row] | EVERYONE_MAY | {"", row.partition(".")[0]}
            if one.for_types:
                allowed |= MAY_NAME_IN_TYPES.get(row, set())
            if "*" not in allowed and not within(inner, allowed):
                yield f"{where} imports {one.target}, which {row or 'greenai'} may not"
        elif name in THIRD_PARTY:
            if not one.for_types and not within(module, THIRD_PARTY[name]):
                yield f"{where} imports {name}, which belongs to {sorted(THIRD_PARTY[name])}"
        elif name not in sys.stdlib_module_names:
            yield f"{where} imports {one.target}: relative, undeclared, or a second copy of ours"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_a_row_in_the_table(module: str) -> None:
    assert row_of(module) is not None, f"say in MAY_IMPORT what {module} may import"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("live.marks", "import greenai.analysis.series"),
        ("live.marks", "from greenai import load"),
        ("live.marks", "def late():\n    from greenai.analysis import series"),
        ("analysis.series", "from greenai.record.reader import open_record"),
        ("sensors.rapl", "if True:\n    import torch"),
        ("sensors.rapl", "import importlib\nimportlib.import_module('pynvml')"),
        ("sensors.rapl", "bindings.load('amdsmi')"),
        ("exporters.tables", "from greenai.api import Run"),
        ("exporters.tables", "import requests"),
        ("exporters.tables", "from . import prometheus"),
        ("cli", "import callbacks.lightning"),
        ("cli", "from exporters import prometheus"),
    ],
)
def test_a_forbidden_import_is_seen(module: str, source: str) -> None:
    assert len(list(forbidden(module, ast.parse(source)))) == 1


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_row_allows(module: str) -> None:
    assert list(forbidden(module, tree_of(module))) == []


@pytest.mark.parametrize(
    "module", [module for module in MODULES if within(module, STANDARD_LIBRARY_ONLY)]
)
def test_a_light_module_imports_only_the_standard_library_at_its_top(module: str) -> None:
    names = {
        one.target.partition(".")[0]
        for one in walk(tree_of(module))
        if one.at_top and not one.for_types
    }
    assert names - sys.stdlib_module_names - {"greenai"} == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_in_its_first_line_why_it_exists(module: str) -> None:
    first = tree_of(module).body[0]
    assert first.lineno == 1
    assert (ast.get_docstring(tree_of(module)) or "").partition("\n")[0].endswith((".", ":", ";"))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_read_at_one_sitting(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= LINES_MAX


def test_live_and_analysis_never_see_each_other() -> None:
    assert not within("analysis", MAY_IMPORT["live"])
    assert not within("live", MAY_IMPORT["analysis"])


def test_every_folder_with_code_is_listed_as_a_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    on_disk = {
        ".".join(("greenai", *module.split("."))) if module else "greenai"
        for module, path in MODULES.items()
        if path.name == "__init__.py"
    }
    assert sorted(settings["setuptools"]["packages"]) == sorted(on_disk)
    assert settings["setuptools"]["package-dir"] == {
        "greenai": "greenai",
        **{f"greenai.{folder}": folder for folder in OUTER},
    }
    folders = {path.parent for path in MODULES.values()}
    assert all((folder / "__init__.py").exists() for folder in folders)


def test_third_parties_are_declared_as_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    declared = " ".join([*project["dependencies"], *(one for extra in extras for one in extra)])
    distributions = {
        "prometheus_client": "prometheus-client",
        "pynvml": "nvidia-ml-py",
        "huggingface_hub": "huggingface-hub",
        "grafana_foundation_sdk": "grafana-foundation-sdk",
        "google": "protobuf",
        "opentelemetry": "opentelemetry-sdk",
        "yaml": "huggingface-hub",  # huggingface-hub brings it
        "pyhlml": "habana-pyhlml",
        "zeus_apple_silicon": "zeus-apple-silicon",
        "pytorch_lightning": "pytorch-lightning",
        "click": "typer",  # typer brings it
        "torch": "pytorch-lightning",  # pytorch-lightning brings it
    }
    for name in THIRD_PARTY:
        assert distributions.get(name, name) in declared
