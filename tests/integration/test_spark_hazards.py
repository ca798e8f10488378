"""What Spark does of itself with source files, and in its messages, that must not come to rows or logs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info
from test_spark_files import embedded

from lakehouse.engines import FilesNotTakenError
from lakehouse.engines.spark import session
from lakehouse.engines.spark.files import SparkFileLoad
from lakehouse.errors import SparkError

if TYPE_CHECKING:
    from conftest import Lakehouse
    from pyspark.sql import DataFrame

    from lakehouse.template import TableTemplate

pytestmark = [pytest.mark.spark, pytest.mark.slow]
BACKENDS = ["spark"]
SPLITS = "spark.sql.files.maxPartitionBytes"


def rows(lakehouse: Lakehouse, format_: str, file: str = "") -> TableTemplate:
    return lakehouse.template(
        "name: rows\nnamespace: lake\ncolumns: [{name: id, type: long}, {name: email, type: string, pii: true}]\n"
        f"pipeline: {{pattern: event_stream, source: {{path: '${{LAKEHOUSE_LANDING}}/{file}', format: {format_}}}}}\n"
    )


def ids(lakehouse: Lakehouse) -> list[int]:
    return sorted(lakehouse.rows("lake.rows")["id"].to_pylist())


def test_a_file_whose_name_spark_does_not_read_is_not_taken(lakehouse: Lakehouse) -> None:
    """It would leave out some names and say nothing."""
    names = ["a.jsonl", "b.jsonl._COPYING_", "12:30.jsonl"]
    for number, name in enumerate(names):
        lakehouse.land(name, f'{{"id": {number}}}\n')
    with pytest.raises(FilesNotTakenError) as error:
        lakehouse.run(rows(lakehouse, "jsonl"))
    told = str(error.value)
    assert [name for name in names if f"{name}: cannot be read: Spark does not read files of such a name. Rename it." in told] == names[1:]
    assert ids(lakehouse) == [0]


def test_one_file_that_is_named_by_its_source_may_have_a_name_that_spark_does_not_read(lakehouse: Lakehouse) -> None:
    template = rows(lakehouse, "jsonl", "_export.jsonl")
    lakehouse.land("_export.jsonl", '{"id": 1}\n')
    with pytest.raises(FilesNotTakenError, match=r"_export\.jsonl: cannot be read: Spark does not read"):
        lakehouse.run(template)
    assert embedded(lakehouse).run(template).rows == 1


def test_columns_that_differ_by_case_alone_keep_no_other_file_out(lakehouse: Lakehouse) -> None:
    files: list[dict[str, Any]] = [{"id": [1], "ID": [2]}, {"id": [3], "x": [{"a": 1, "A": 2}]}, {"id": [4], "Email": ["x"]}]
    for number, file in enumerate(files):
        pq.write_table(pa.table(file), lakehouse.land(f"{number}.parquet", b""))
    with pytest.raises(FilesNotTakenError) as error:
        lakehouse.run(rows(lakehouse, "parquet"))
    told = str(error.value)
    assert "0.parquet: cannot be read: Spark does not tell its columns ID and id from each other. Rename one." in told
    assert "1.parquet: cannot be read: Spark does not tell its columns A and a from each other." in told
    assert ids(lakehouse) == [4]


def test_a_merge_does_not_depend_on_how_files_are_split(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster whose size changes splits them otherwise when they are read again."""
    template = lakehouse.template(
        """\
        name: things
        namespace: lake
        columns:
          - {name: id, type: long, required: true}
          - {name: name, type: string}
          - {name: valid_from, type: timestamptz, required: true}
          - {name: valid_to, type: timestamptz}
          - {name: is_current, type: boolean, required: true}
        identifier: [id, valid_from]
        pipeline:
          pattern: scd_type2
          key: [id]
          effective_at: at
          source: {path: '${LAKEHOUSE_LANDING}/', format: jsonl}
        """
    )
    for file in "ab":
        records = ({"id": number % 20, "name": f"{file}{number} {'x' * 300}", "at": "2024-01-01T00:00:00Z"} for number in range(2000))
        lakehouse.land(f"{file}.jsonl", "".join(f"{json.dumps(record)}\n" for record in records))
    original = SparkFileLoad._fitting

    def split_otherwise(load: SparkFileLoad, judged: Any) -> DataFrame:
        load._session.conf.set(SPLITS, "100k")
        return original(load, judged)

    monkeypatch.setattr(SparkFileLoad, "_fitting", split_otherwise)
    try:
        lakehouse.run(template)
    finally:
        session.in_session(lakehouse.settings, lakehouse.messages.append, lambda found: found.conf.unset(SPLITS))
    found = [(row["id"], row["name"].split()[0]) for row in lakehouse.rows("lake.things").sort_by("id").to_pylist()]
    assert found == [(number, f"b{1980 + number}") for number in range(20)]


def test_other_rows_than_were_judged_are_not_committed(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    original = SparkFileLoad._fitting
    monkeypatch.setattr(SparkFileLoad, "_fitting", lambda load, judged: original(load, judged).limit(1))
    lakehouse.land("a.jsonl", '{"id": 1}\n{"id": 2}\n')
    with pytest.raises(SparkError, match=r"Spark wrote 1 rows of lake\.rows where 2 fit\. Nothing was committed"):
        lakehouse.run(rows(lakehouse, "jsonl"))
    assert not lakehouse.table("lake.rows").metadata.snapshots


def test_what_spark_says_of_a_failure_is_not_in_what_caused_the_error_either(lakehouse: Lakehouse) -> None:
    """A run's failure in Dagster shows the errors behind an error, too."""
    try:
        session.in_session(
            lakehouse.settings, lakehouse.messages.append, lambda spark: spark.sql("select cast('ada@example.com' as int)").collect()
        )
    except SparkError:
        told = serializable_error_info_from_exc_info(sys.exc_info()).to_string()
    assert "CAST_INVALID_INPUT" in told
    assert "ada@example.com" not in told.replace("""spark.sql("select cast('ada@example.com' as int)")""", "")


def test_csv_with_lines_before_its_rows_and_ends_of_lines_of_any_kind(lakehouse: Lakehouse) -> None:
    """Of lines Spark counts those with text, and it takes the first end of a line for that of all, also within quotes."""
    columns = "columns: [{name: id, type: long}, {name: s, type: string}, {name: t, type: string}]"
    contents = {
        "": [
            '\n\n"id",s,"t\nu",t\n1,a,,b\n2,c,,d\n',
            'id,s,t\r\n3,"a\r\nb",x\r\n4,"a\nb",\r\n\r\n5,y,""\r\n6,"c","z"\r\n',
            "id,s,t\r\n7,a,x\n8,b,y\r\n9,,\n",
            "id,s,t\n10,a,x\r\n11,b,\r\n12,c,z",
            "id,s,t\r13,a,x\r14,b,\r",
        ],
        "skip_rows: 2": ["made by x\n\nid,s,t\n1,a,x\n2,b,y\n", '\r\nmade "by" x\r\nid,s,t\r\n3,a,x\r\n', '"open\nmade\nid,s,t\n4,a,x\n'],
        "skip_rows: 1, column_names: [id]": ["\n1\n\n2\r\n\r\n3\r\n", "x\r\n4\r\n\r\n5"],
        'null_values: ["-"]': ["id,s,t\r\n1,,\r\n2,-,-\r\n3,x,\n"],
        "delimiter: ','": ['id,s,t\n1,a"b,c "d" \n2,"a""b","\n"\n', 'id,s,t\n3,"a"b,x\n'],
    }
    for number, (options, files) in enumerate(contents.items()):
        template = lakehouse.template(
            f"name: rows{number}\nnamespace: lake\n{columns}\npipeline:\n  pattern: event_stream\n"
            f"  source: {{path: '${{LAKEHOUSE_LANDING}}/{number}/', format: csv, csv_options: {{{options}}}}}\n"
        )
        for index, content in enumerate(files):
            lakehouse.land(f"{number}/{index}.csv", content)
        other, told = embedded(lakehouse), ""
        other.run(template)
        try:
            lakehouse.run(template)
        except FilesNotTakenError as error:
            told = str(error)
        found, expected = (at.rows(template.table_name).sort_by("id").to_pylist() for at in (lakehouse, other))
        assert found == [row for row in expected if (number, row["id"]) not in ((1, 4), (4, 3))], options
        assert ("2.csv: cannot be read: Spark does not skip lines in which a quote is open." in told) == (number == 1)
        assert ("1.csv: cannot be read. It is not well formed csv" in told) == (number == 4)
