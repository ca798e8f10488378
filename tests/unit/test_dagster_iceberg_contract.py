"""What ``dagster_project/resources/iceberg.py`` relies on in the private parts of dagster and dagster-iceberg.

When an upgrade fails here, the message names what has changed and what rests on it. Look there first, correct it,
then this file, and only then the pin in pyproject.toml.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pytest
from dagster import DagsterInstance, InputContext, OutputContext, PythonObjectDagsterType, build_input_context, build_output_context
from dagster._config.pythonic_config import ConfigurableIOManagerFactory
from dagster._core.definitions.utils import is_valid_owner
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.execution.stats import RunStepKeyStatsSnapshot, StepEventStatus
from dagster._core.storage.db_io_manager import DbClient, DbIOManager, DbTypeHandler, TablePartitionDimension, TableSlice
from dagster._core.storage.tags import RETRY_NUMBER_TAG
from dagster_iceberg.io_manager.arrow import PyArrowIcebergIOManager, _PyArrowIcebergTypeHandler
from dagster_iceberg.io_manager.base import IcebergDbClient, IcebergIOManager
from packaging.requirements import Requirement

from dagster_project.assets.common import _owner
from dagster_project.resources.iceberg import LakehouseIOManager
from lakehouse.settings import PROJECT_ROOT

LOOK_AT = "Look at {0} in dagster_project/resources/iceberg.py."


def shape(function: Callable[..., Any]) -> str:
    """A signature without its annotations, which may change and break nothing."""
    signature = inspect.signature(function)
    parameters = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize("package", ["dagster", "dagster-iceberg"])
def test_the_installed_version_is_the_pinned_one(package: str) -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    (pin,) = (found for text in project["dependencies"] if (found := Requirement(text)).name == package)
    assert version(package) in pin.specifier, f"{package} {version(package)} is installed, pyproject.toml pins {pin}."
    if package == "dagster-iceberg":
        assert [specifier.operator for specifier in pin.specifier] == ["=="], "dagster-iceberg is a preview: pin one exact version."


@pytest.mark.parametrize(
    ("function", "expected", "used_by"),
    [
        (
            DbIOManager.__init__,
            "(self, *, type_handlers, db_client, database, schema=None, io_manager_name=None, default_load_type=None)",
            "LakehouseIOManager.create_io_manager",
        ),
        (IcebergIOManager.create_io_manager, "(self, context)", "LakehouseIOManager.create_io_manager"),
        (PyArrowIcebergIOManager.type_handlers, "()", "LakehouseIOManager.type_handlers"),
        (DbClient.connect, "(context, table_slice)", "_DbClient.connect"),
        (DbClient.ensure_schema_exists, "(context, table_slice, connection)", "_DbClient.ensure_schema_exists"),
        (DbClient.delete_table_slice, "(context, table_slice, connection)", "_DbClient, which has no such step"),
        (DbClient.get_select_statement, "(table_slice)", "_DbClient"),
        (DbClient.get_table_name, "(table_slice)", "_DbClient.get_table_name"),
        (DbTypeHandler.handle_output, "(self, context, table_slice, obj, connection)", "the handlers' handle_output"),
        (DbTypeHandler.load_input, "(self, context, table_slice, connection)", "the handlers' load_input"),
        (DagsterInstance.get_run_step_stats, "(self, run_id, step_keys=None)", "_first_attempt"),
        (DagsterInstance.get_run_by_id, "(self, run_id)", "_first_attempt"),
        (OutputContext.log_event, "(self, event)", "_WorkHandler.handle_output"),
    ],
    ids=lambda value: value.__qualname__ if callable(value) else "",
)
def test_signatures(function: Callable[..., Any], expected: str, used_by: str) -> None:
    assert shape(function) == expected, f"{function.__qualname__} has another signature. {LOOK_AT.format(used_by)}"


@pytest.mark.parametrize(
    ("class_", "base"),
    [
        (PyArrowIcebergIOManager, IcebergIOManager),
        (IcebergIOManager, ConfigurableIOManagerFactory),
        (IcebergDbClient, DbClient),
        (_PyArrowIcebergTypeHandler, DbTypeHandler),
    ],
)
def test_base_classes(class_: type, base: type) -> None:
    assert issubclass(class_, base), f"{class_.__name__} is no longer a {base.__name__}. {LOOK_AT.format('every class')}"


@pytest.mark.parametrize(
    ("class_", "names"),
    [
        (DbClient, ["connect", "delete_table_slice", "ensure_schema_exists", "get_select_statement", "get_table_name"]),
        (IcebergDbClient, ["connect", "delete_table_slice", "ensure_schema_exists", "get_select_statement"]),
        (PyArrowIcebergIOManager, ["type_handlers"]),
    ],
)
def test_static_methods(class_: type, names: list[str]) -> None:
    for name in names:
        assert isinstance(inspect.getattr_static(class_, name), staticmethod), (
            f"{class_.__name__}.{name} is not a static method any more. {LOOK_AT.format('_DbClient and LakehouseIOManager')}"
        )


@pytest.mark.parametrize(
    ("class_", "used_by"), [(DbClient, "_DbClient"), (IcebergDbClient, "_DbClient"), (_PyArrowIcebergTypeHandler, "_ArrowHandler")]
)
def test_nothing_abstract_was_added(class_: type, used_by: str) -> None:
    known = {DbClient: {"connect", "delete_table_slice", "ensure_schema_exists", "get_select_statement"}}
    abstract = set(getattr(class_, "__abstractmethods__", ())) or {
        name for name in vars(class_) if getattr(getattr(class_, name), "__isabstractmethod__", False)
    }
    assert abstract == known.get(class_, set()), f"{class_.__name__} asks for other methods. {LOOK_AT.format(used_by)}"


def test_the_fields_of_a_table_slice() -> None:
    fields = (TableSlice._fields, TablePartitionDimension._fields)
    expected = (("table", "schema", "database", "columns", "partition_dimensions"), ("partition_expr", "partitions"))
    assert fields == expected, f"A table slice has other fields. {LOOK_AT.format('_row_filter and load_input')}"


def test_the_fields_of_the_resource() -> None:
    fields = {name: field.alias for name, field in PyArrowIcebergIOManager.model_fields.items()}
    expected = {"name": None, "config": None, "schema_": "namespace", "db_io_manager": None}
    assert fields == expected, f"The resource has other fields: none may hold a secret. {LOOK_AT.format('LakehouseIOManager')}"


@pytest.mark.parametrize(
    ("class_", "names", "used_by"),
    [
        (
            OutputContext,
            "asset_key asset_partition_keys definition_metadata has_asset_partitions log mapping_key name output_metadata run_id "
            "step_context step_key",
            "the handlers' handle_output",
        ),
        (InputContext, "dagster_type", "_ArrowHandler.load_input"),
        (StepExecutionContext, "dagster_run instance", "_first_attempt"),
    ],
)
def test_attributes_of_contexts(class_: type, names: str, used_by: str) -> None:
    missing = [name for name in names.split() if not isinstance(inspect.getattr_static(class_, name, None), property)]
    assert not missing, f"{class_.__name__} has no {', '.join(missing)}. {LOOK_AT.format(used_by)}"


def test_what_tells_a_retry_from_a_new_run() -> None:
    known = (RETRY_NUMBER_TAG, StepEventStatus.SUCCESS.value, "status" in inspect.signature(RunStepKeyStatsSnapshot).parameters)
    assert known == ("dagster/retry_number", "SUCCESS", True), f"Retries are marked otherwise. {LOOK_AT.format('_first_attempt')}"


@pytest.mark.parametrize("owner", ["a@b.co", "a.b+c@d-e.example.com", "a@b.photography", "a@b", "@", "team:", "team:a", "a b", "é@b.co"])
def test_every_owner_is_one_to_dagster(owner: str) -> None:
    assert is_valid_owner(_owner(owner)), "Dagster takes other owners. Look at _owner in dagster_project/assets/common.py."


TABLE = PythonObjectDagsterType(pa.Table)


class Recorder:
    """The calls of an IO manager, in their order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        recorder = self

        class Client(IcebergDbClient):
            @staticmethod
            @contextmanager
            def connect(context: Any, table_slice: TableSlice) -> Iterator[str]:
                recorder.calls.append("connect")
                yield "connection"
                recorder.calls.append("disconnect")

            @staticmethod
            def ensure_schema_exists(context: Any, table_slice: TableSlice, connection: Any) -> None:
                recorder.calls.append(f"ensure_schema_exists {connection}")

            @staticmethod
            def delete_table_slice(context: Any, table_slice: TableSlice, connection: Any) -> None:
                recorder.calls.append(f"delete_table_slice {connection}")

            @staticmethod
            def get_table_name(table_slice: TableSlice) -> str:
                recorder.calls.append("get_table_name")
                return "shop.sales"

        class Handler(DbTypeHandler[pa.Table]):
            supported_types = (pa.Table,)

            def handle_output(self, context: Any, table_slice: TableSlice, obj: pa.Table, connection: Any) -> dict[str, Any]:
                recorder.calls.append(f"handle_output {table_slice.schema}.{table_slice.table} {connection}")
                return {"rows_written": obj.num_rows}

            def load_input(self, context: Any, table_slice: TableSlice, connection: Any) -> pa.Table:
                recorder.calls.append(f"load_input {table_slice.schema}.{table_slice.table} {table_slice.columns} {connection}")
                return pa.table({})

        self.manager = DbIOManager(type_handlers=[Handler()], db_client=Client(), database="lakehouse", default_load_type=pa.Table)


def test_the_order_of_the_calls_of_an_output() -> None:
    recorder = Recorder()
    context = build_output_context(asset_key=["shop", "sales"])
    recorder.manager.handle_output(context, pa.table({"id": [1]}))
    handled = ["ensure_schema_exists connection", "delete_table_slice connection", "handle_output shop.sales connection"]
    assert recorder.calls == ["connect", *handled, "disconnect", "get_table_name"], (
        f"DbIOManager.handle_output makes other calls. {LOOK_AT.format('_DbClient')}"
    )
    found = {key: getattr(value, "value", value) for key, value in context.get_logged_metadata().items()}
    expected = {"rows_written": 1, "Query": "SELECT * FROM shop.sales", "dagster/table_name": "shop.sales"}
    assert found == expected, f"DbIOManager adds other metadata to a materialization. {LOOK_AT.format('_metadata')}"


def test_the_order_of_the_calls_of_an_input() -> None:
    recorder = Recorder()
    upstream = build_output_context(asset_key=["shop", "sales"])
    context = build_input_context(
        asset_key=["shop", "sales"], upstream_output=upstream, definition_metadata={"columns": ["id"]}, dagster_type=TABLE
    )
    recorder.manager.load_input(context)
    assert recorder.calls == ["connect", "load_input shop.sales ['id'] connection", "disconnect"], (
        f"DbIOManager.load_input makes other calls. {LOOK_AT.format('_ArrowHandler.load_input')}"
    )


def test_which_types_go_to_which_handler() -> None:
    manager = LakehouseIOManager(name="lakehouse").create_io_manager(None)
    handled = {type_.__name__: type(handler).__name__ for type_, handler in manager._handlers_by_type.items()}
    ours = dict.fromkeys(("AppendFiles", "MergeFiles", "ComputeDays"), "_WorkHandler")
    assert handled == {**ours, "Table": "_ArrowHandler", "RecordBatchReader": "_ArrowHandler"}, (
        f"dagster-iceberg's Arrow handler takes other types. {LOOK_AT.format('_ArrowHandler')}"
    )
