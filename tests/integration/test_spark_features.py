"""Feature tables by Spark: the same SQL gives the same rows as the embedded engine, or is refused.

What a feature table does beside that runs on both engines: ``test_features.py``, mark ``engines``.
"""

from __future__ import annotations

import random
import re
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import inf, isnan, nan
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import LongType, StringType

from lakehouse.commit import Batch
from lakehouse.duck import connect
from lakehouse.engines import ComputeDays
from lakehouse.engines.embedded import EmbeddedEngine
from lakehouse.engines.spark import features as features_by_spark
from lakehouse.engines.spark.session import in_session
from lakehouse.engines.spark.transpile import table_name, to_spark
from lakehouse.errors import BadRowsError, CommitConflictError, FeatureSqlError
from lakehouse.feature_sql import FeatureSql, Relations
from lakehouse.template import TableTemplate
from lakehouse.write import arrow_schema

if TYPE_CHECKING:
    from conftest import Lakehouse

pytestmark = pytest.mark.spark

BACKENDS = ["spark"]
ROOT = Path(__file__).parents[2]
D1 = date(2024, 1, 1)


def at(day: int, hour: float = 0) -> datetime:
    return datetime(2024, 1, day, tzinfo=UTC) + timedelta(hours=hour)


# --- Expressions

DAYS = [D1.replace(day=day) for day in (1, 7, 8, 14, 28, 31)]
TIMES = [at(day, day % 24).replace(tzinfo=None, minute=day, second=day, microsecond=day * 1000) for day in (1, 7, 8, 14, 15, 23, 31)]
COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "i": (pa.int32(), [1, -7, 0, None, 2, 7, 100, -1, 3, 5, 2147, 4]),
    "l": (pa.int64(), [2, 2, 0, 3, None, -3, 7, -2, 0, 1, 9007199254740993, -4]),
    "f": (pa.float64(), [2.5, -2.5, 0.0, -0.0, None, nan, inf, -inf, 1.005, 3.5, -0.5, 1e17]),
    "g": (pa.float64(), [2.0, 0.0, -0.0, 0.0, 1.0, 2.0, 0.0, 3.0, -0.0, 0.1, 7.25, 2.675]),
    "d": (pa.decimal128(18, 2), [None if text is None else Decimal(text) for text in
          ("1.50", "-1.50", "0.00", None, "2.50", "123456789012.56", "0.05", "-2.50", "7.00", "3.33", "0.01", "-0.01")]),
    "e": (pa.decimal128(10, 7), [None, *map(Decimal, ("0.0000001", "-1.5", "0", "2", "3.1234567", "1", "1", "1", "2", "3", "0.5"))]),
    "b": (pa.bool_(), [True, False, None] * 4),
    "s": (pa.string(), ["abc", " x ", "Ünï", "", None, "a%b", "A_c", "50", "\\q", "日本語", "\u3000t\t", "it's"]),
    "t": (pa.string(), ["b", "x", "ï", "", None, "%", "c", "0", "q", "語", "s", "'"]),
    "day": (pa.date32(), [date(2024, 2, 29), date(1969, 12, 31), None, *DAYS, *DAYS[:3]]),
    "ts": (pa.timestamp("us"), [datetime.fromisoformat("1969-12-31T23:00:00.000001"), None, *TIMES, *TIMES[:3]]),
    "tz": (pa.timestamp("us", "UTC"), [None, *(moment.replace(tzinfo=UTC) for moment in [*TIMES, *TIMES[:4]])]),
    "st": (pa.struct([("a", pa.int32()), ("B", pa.string())]), [{"a": 1, "B": "x"}, None, {"a": None, "B": "y"}] * 4),
    "li": (pa.list_(pa.int32()), [[1, 2], [], None, [None, 3]] * 3),
    "m": (pa.map_(pa.string(), pa.int32()), [[("k", 1)], [], None, [("z", 2)]] * 3),
    "k": (pa.string(), ["x", "y", "x", None] * 3),
}  # fmt: skip
ROWS = pa.table([pa.array(values, type_) for type_, values in COLUMNS.values()], pa.schema([(n, t) for n, (t, _) in COLUMNS.items()]))
OTHERS = pa.table({"k": ["x", "y", None, "q"], "v": [1, 2, 3, None], "u": ["1", "2", "3", "4"]})
VALUES = """
i/l; f/g; d/l; d/e; g/f; i/2; i/0; -f / -g; i//l; i%l; d%2; mod(i,l); l//0; i - l - 1; i - (l - 1); -(-i); (i+1)*2; i/l/2; -l ** 2
2 ** 3 ** 2; round(f,2); round(g,2); round(f); round(d,1); round(d); round(e,3); ceil(f); floor(f); ceil(d); floor(i); abs(d); abs(f)
sqrt(abs(g)); exp(i % 3); ln(abs(g)+1); power(g,2); isnan(f); greatest(i,l); least(f,g); d*2; i*1.5; i+1.5; f*2; f+d; d+l
try_cast(f as int); cast(g as int); l > f; try_cast(d as int); cast(d as bigint); cast(e as varchar); cast(d as varchar)
cast(b as varchar); cast(day as varchar); cast(ts as varchar); cast(d as decimal(20,1)); cast('7' as int); cast(b as int)
cast(ts as date); cast(tz as date); cast(day as timestamp); cast(tz as timestamp); cast(ts as timestamptz); day+1; day-i
day - date '2024-01-01'; $day - day; day + interval 1 month; day - interval '2 months'; ts + interval 1 quarter; tz + interval 3 hour
tz - interval 1 week; ts + interval 90 second; date_trunc('month',day); date_trunc('week',ts); date_trunc('hour',tz)
date_trunc('quarter',ts); date_diff('day',day,$day); date_diff('month',day,$day); date_diff('year',ts,day); date_diff('quarter',day,ts)
date_diff('hour',ts,tz); date_diff('minute',ts,tz); datediff('second',tz,ts); extract(year from day); quarter(day); week(day)
dayofweek(day); isodow(day); dayofyear(ts); hour(ts); minute(tz); second(ts); extract(epoch from ts); epoch(tz); extract(dow from ts)
s||t; s||i; s||d||day; concat(s,t,i); concat_ws('-',s,t,i); length(s); len(li); trim(s); ltrim(s); rtrim(s); substring(s,2,2); left(s,2)
right(s,2); replace(s,'a','z'); starts_with(s,'a'); ends_with(s,'c'); contains(s,t); strpos(s,t); s like 'a%'; s not like 'a_c'
s ilike 'a%'; lower(s); upper(k); s > 'a'; s = t; s in ('abc','x'); i in (1,2,null); i not in (1,2); i between 0 and 5; f = g; f <= f
i = d; b and i > 0; not b; b is not true; i is distinct from l; day > '2024-01-10'; ts >= '2024-01-10'; tz >= $day; tz > day; ts > day
case when i > 0 then 'p' when i < 0 then 'n' end; case i when 1 then 'one' else 'x' end; case when b then d else 0 end
case when b then d else f end; if(b,1,2); coalesce(d,l); ifnull(s,'none'); nullif(s,''); st.a; st.b; events.st.a; li[1]; li[2]; m['k']
st; li; 1e3; 1.25; null; true; exists(select 1 from users where users.k = events.k); (select max(v) from users); i is null; day; ts; tz
"""
AGGREGATES = """
count(*); count(); count(i); count(distinct k); count(distinct i) filter (where b); count(*) filter (i > 0); sum(i); sum(l); sum(d)
sum(b); sum(g); sum(distinct i); avg(i); avg(d); avg(g); avg(distinct i); avg(i) filter (b); min(i); max(s); min(d); max(tz); min(day)
max(b); max(f); min(f); any_value(k); any_value(i) filter (where i = 7); arg_max(s, day); min_by(t, i); quantile_cont(i,0.9)
quantile_cont(g,0.25); median(i); quantile_cont(i,0.5) filter (where b); stddev(i); stddev_pop(d); variance(i); bool_or(b); bool_and(b)
sum(i)/count(*); sum(d)/sum(i); sum(i)//2; coalesce(sum(d),0); sum(case when b then d end); count(distinct f); max(i)-min(i); sum(d)*100
date_diff('day',max(tz)::date,$day); cast(sum(i) as int); sum(i) filter (where false); avg(i) filter (where false)
count(i) filter (where false); median(i) filter (where false); max(k) filter (where false)
"""
QUERIES = """
select * from users left join (select k, i from events) using (k)
select * from users full join (select distinct k, b from events) x using (k)
select u.*, e.i from users u, events e where u.k = e.k
from users where v > 1
select K, V from shop.Users where V > 1
select shop.users.k from shop.users
select k, sum(i % 10) as total from events group by all having total > 1
select k as kk, count(*) as n from events group by kk
select i % 5 as i, count(*) as n from events group by i
select distinct k from events
select k, i from events order by i desc limit 3
select k, i from events order by i nulls first limit 3
select i, row_number() over (partition by k order by i, l) as n, rank() over (order by k) as r, sum(i) over (order by i) as s from events
select i, lag(i) over (order by i) as p, lead(i, 2, 0) over (order by i desc) as q, avg(i) over (partition by k) as a from events
select i, sum(i) over (partition by k order by i rows between 1 preceding and current row) as n, count(*) over () as c from events
select k, i from events qualify row_number() over (partition by k order by i desc) = 1
select k from users union select k from events
select k, v from users union all by name select k, i as v from events
select v from users union all select d from events
select k from users except select k from events
with a(x, y) as (select k, v from users), events as (select y from a) select * from events
select * exclude (m, st, li) replace (i + 1 as i) from events
select k from users where k not in (select k from events)
select k from users where not exists (select 1 from events e where e.k = users.k and e.i > 2)
select k, (select max(i) from events e where e.k = users.k) as m from users
select i + 1 as z, z * 2 as zz from events
select max(v) over (partition by k) as x, v from users qualify x = v
"""


def sql_of(tmp_path: Path, text: str) -> FeatureSql:
    (tmp_path / "x.sql").write_text(text)
    template: Any = SimpleNamespace(feature_table=SimpleNamespace(sql="x.sql"), path=tmp_path / "x.yaml")
    return FeatureSql(template)


RELATIONS = Relations({"shop.events": ROWS.schema, "shop.users": OTHERS.schema}, {"events": "shop.events", "users": "shop.users"})


def comparable(value: Any) -> Any:
    """A value as it is compared: sums and means may differ in a double's last digits."""
    if isinstance(value, float):
        return "nan" if isnan(value) else value if value in (inf, -inf) else float(f"{value:.13g}") + 0.0
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else value.normalize()
    if isinstance(value, dict):
        return {name.lower(): comparable(found) for name, found in value.items()}
    return [comparable(found) for found in value] if isinstance(value, list | tuple) else value


def sorted_rows(rows: list[dict[str, Any]]) -> list[Any]:
    return sorted(([comparable(value) for value in row.values()] for row in rows), key=repr)


def parts(text: str) -> list[str]:
    return [part.strip() for part in text.replace("\n", ";").split(";") if part.strip()]


def test_what_is_taken_means_the_same(lakehouse: Lakehouse, tmp_path: Path) -> None:
    """Every expression of ``rules.py``, on values at which engines differ: nulls, NaN, two zeros, halves, ends of months."""
    pq.write_table(ROWS, tmp_path / "events.parquet")
    pq.write_table(OTHERS, tmp_path / "users.parquet")
    lists = [(parts(VALUES), ""), (parts(AGGREGATES), " group by k"), (parts(AGGREGATES), "")]
    queries = [f"select {', '.join(f'{part} as c{number}' for number, part in enumerate(found))} from events{by}" for found, by in lists]
    queries += [line for line in QUERIES.splitlines() if line]
    statements = [sql_of(tmp_path, query) for query in queries]

    def on_spark(session: Any) -> list[list[dict[str, Any]]]:
        for name in ("events", "users"):
            session.read.parquet(f"{tmp_path}/{name}.parquet").createOrReplaceTempView(table_name(f"shop.{name}"))
        session.conf.set("spark.sql.decimalOperations.allowPrecisionLoss", "false")
        texts = [to_spark(statement, RELATIONS) for statement in statements]
        return [session.sql(text, args={"day": D1} if ":day" in text else None).toArrow().to_pylist() for text in texts]

    found = in_session(lakehouse.settings, print, on_spark)
    with connect(256 * 1024**2) as connection:
        connection.execute("create schema shop")
        for name in ("events", "users"):
            connection.execute(
                f"create table shop.{name} as from read_parquet('{tmp_path}/{name}.parquet'); create view {name} as from shop.{name}"
            )
        for index, (query, statement, rows) in enumerate(zip(queries, statements, found, strict=True)):
            expected = connection.execute(query, statement.values(D1)).to_arrow_table().to_pylist()
            for number, part in enumerate(lists[index][0] if index < len(lists) else ()):  # which of many it is
                left, right = (sorted(repr(comparable(row[f"c{number}"])) for row in table) for table in (rows, expected))
                assert left == right, part
            assert sorted_rows(rows) == sorted_rows(expected), query


def test_no_character_becomes_another_than_in_duckdb(lakehouse: Lakehouse, tmp_path: Path) -> None:
    characters = pa.table({"k": [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF]})
    with duckdb.connect() as connection:
        connection.register("characters", characters)
        connection.execute(
            f"copy (select k, lower(k) as l, upper(k) as u, trim(k) as t from characters) to '{tmp_path}/c.parquet' (format parquet)"
        )
    relations = Relations({"shop.c": pa.schema([(name, pa.string()) for name in "klut"])}, {"c": "shop.c"})
    text = to_spark(sql_of(tmp_path, "select k from c where lower(k) <> l or upper(k) <> u or trim(k) <> t"), relations)
    refused = " or ".join(f"k rlike '{found}'" for found in re.findall("RLIKE '(.*?)'", text))

    def on_spark(session: Any) -> tuple[int, list[Any]]:
        rows = session.read.parquet(f"{tmp_path}/c.parquet")
        rows.where(f"not ({refused})").createOrReplaceTempView(table_name("shop.c"))
        return rows.where(refused).count(), session.sql(text).collect()

    count, differing = in_session(lakehouse.settings, print, on_spark)
    assert (differing, 100 < count < 300) == ([], True)


@pytest.mark.parametrize(
    ("sql", "line", "says"),
    [
        ("select k,\n  strftime(day, '%Y') as y from events", 2, "Spark does not answer strftime(…) as DuckDB does."),
        (
            "select k\nfrom events\nwhere regexp_matches(s, 'a')",
            3,
            "regexp_matches(…) as DuckDB does. LAKEHOUSE_ENGINE=embedded runs it; or use like",
        ),
        ("select list(i) as x from events", 1, "array_agg(…)"),
        ("select string_agg(k, ',') as x from events", 1, "listagg(…)"),
        ("select approx_count_distinct(k) as x from events", 1, "approx_count_distinct(…)"),
        ("select count_if(b) as x from events", 1, "use count(*) filter (where …)"),
        ("select f::varchar as x from events", 1, "a cast of float to text"),
        ("select cast(f as decimal(10,2)) as x from events", 1, "a cast of float to decimal(10, 2)"),
        ("select try_cast(s as int) as x from events", 1, "try_cast from text to int"),
        ("select cast(s as date) as x from events", 1, "a cast of text to date"),
        ("select i::hugeint as x from events", 1, "cast to smallint, int, bigint, decimal(p, s) or double"),
        ("select tz - ts::timestamptz as x from events", 1, "use date_diff('second', …, …)"),
        ("select k from users limit 1", 1, "a limit without an order"),
        ("select k from users order by k limit 50%", 1, "PERCENT"),
        ("select distinct on (k) k, i from events", 1, "use `qualify row_number() over (…) = 1`"),
        ("select k, max(i) as i from events group by k having i > 3", 1, "i, a column and another value by the same name"),
        ("select k in (select k from users) as x from events", 1, "use exists (select …)"),
        ("select count(*) filter (where k not in (select k from users)) as x from events", 1, "use exists (select …)"),
        ("select k from users union all by name select 'x' as k, 1 as v from users", 1, "union by name of other columns"),
        ("with recursive a as (select 1 as x union all select x + 1 from a where x < 3) select * from a", 1, "with recursive"),
        ("select * from users e semi join events u on e.k = u.k", 1, "a semi join"),
        ("select unnest(li) as x from events", 1, "unnest(…)"),
        ("select * from (values (1), (2)) t(x)", 1, "VALUES (1), (2)"),
        ("select * from events tablesample 10%", 1, "TABLESAMPLE"),
        ("select k, count(*) as n from events group by rollup (k)", 1, "ROLLUP"),
        ("select k, sum(v) over w as s from users window w as (partition by k)", 1, "the clause windows"),
        ("select k, sum(i) over (order by i range between 1 preceding and current row) as s from events", 1, "use rows between …"),
        ("select {'a': i} as x from events", 1, "Spark does not answer"),
        ("select s like '%\\_%' as x from events", 1, "give it a fixed pattern without a backslash"),
        ("select columns('k') from users", 1, "columns(…)"),
    ],
)
def test_what_would_mean_something_else_is_refused(tmp_path: Path, sql: str, line: int, says: str) -> None:
    with pytest.raises(FeatureSqlError) as error:
        to_spark(sql_of(tmp_path, sql), RELATIONS)
    assert (error.value.line, says in str(error.value)) == (line, True), str(error.value)
    assert "LAKEHOUSE_ENGINE=embedded runs it" in str(error.value)


# --- Tables


def rows_for(template: TableTemplate, count: int) -> pa.RecordBatch:
    """Rows of the first ten days of 2024, the same each time."""
    chance, words = random.Random(template.name), {"event_type": ["purchase", "view", "departure", "cancellation", "arrival"]}

    def value(field: pa.Field) -> Any:
        if field.nullable and chance.random() < 0.2:
            return None
        if pa.types.is_timestamp(field.type):
            return at(1, chance.uniform(0, 240))
        if pa.types.is_date(field.type):
            return at(1, chance.uniform(0, 240)).date()
        if pa.types.is_boolean(field.type):
            return chance.random() < 0.7
        if pa.types.is_string(field.type):
            return chance.choice(words.get(field.name, ["a", "b", "c", "d"]))
        return Decimal(chance.randrange(10_000)) / 100 if pa.types.is_decimal(field.type) else chance.randrange(-30, 90)

    schema = pa.schema([field.with_nullable(True) for field in template.arrow_schema])
    return pa.RecordBatch.from_pylist([{field.name: value(field) for field in template.arrow_schema} for _ in range(count)], schema)


@pytest.mark.parametrize("folder", ["table-templates", "examples/nyc-flights/table-templates"])
def test_the_repositorys_own_features_are_the_same_on_both_engines(lakehouse: Lakehouse, folder: str) -> None:
    for path in (ROOT / folder).glob("*"):
        if path.suffix in (".yaml", ".sql"):
            shutil.copy(path, lakehouse.settings.templates)
    lakehouse.apply()
    templates = {found.name: found for found in lakehouse.templates()}
    embedded = EmbeddedEngine(lakehouse.settings, lakehouse.catalog)
    for template in templates.values():
        if template.feature_table is None:
            embedded.append(template.table_name, [rows_for(template, 150)], Batch("rows"))
    [features] = [found for found in templates.values() if found.feature_table is not None]
    assert features.feature_table is not None
    inputs = tuple(templates[name.rpartition(".")[2]] for name in features.feature_table.inputs)
    work = ComputeDays(features, inputs, tuple(D1 + timedelta(days=day) for day in (1, 4, 8)))
    results = []
    for number, engine in enumerate((embedded, lakehouse.engine)):
        result = engine.compute_days(work, Batch(f"run-{number}"), print)
        results.append((result.rows, result.days, sorted_rows(lakehouse.rows(features.table_name).to_pylist())))
    assert results[0] == results[1]
    assert results[0][0] > 5


EVENTS = """\
name: events
namespace: shop
columns:
  - {name: id, type: int}
  - {name: at, type: timestamptz}
  - {name: user_id, type: string, pii: true}
  - {name: seen, type: "list<struct<page: string, n: int>>"}
partition_spec: [{column: at, transform: day}]
"""
FEATURES = """\
name: features
namespace: shop
columns: [{name: day, type: date, required: true}, {name: x, type: TYPE}]
partition_spec: [{column: day, transform: identity}]
pipeline:
  pattern: feature_table
  sql: features.sql
  inputs: [events]
  partitions: {start: "2024-01-01"}
"""


def features(lakehouse: Lakehouse, sql: str, type_: str = "string") -> ComputeDays:
    (lakehouse.settings.templates / "features.sql").write_text(sql)
    events = lakehouse.template(EVENTS)
    return ComputeDays(lakehouse.template(FEATURES.replace("TYPE", f'"{type_}"')), (events,), (D1,))


def append(lakehouse: Lakehouse, **columns: list[Any]) -> None:
    schema = arrow_schema(lakehouse.table("shop.events"))
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    EmbeddedEngine(lakehouse.settings, lakehouse.catalog).append(
        "shop.events", [pa.RecordBatch.from_pylist(rows, schema)], Batch(f"rows {columns}")
    )


def test_a_table_that_evolved_since_its_snapshot_has_the_columns_of_today(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    work = features(lakehouse, "select $day as day from events", "list<struct<url: string, n: long, extra: string>>")
    append(lakehouse, id=[1], at=[at(1)], user_id=["a"], seen=[[{"page": "p", "n": 1}, None]])
    with lakehouse.table("shop.events").update_schema() as update:
        update.update_column("id", LongType()).update_column("seen.n", LongType())
        update.rename_column("id", "number").rename_column("seen.page", "url").add_column(("seen", "extra"), StringType())
    (lakehouse.settings.templates / "features.sql").write_text("select $day as day, seen as x from events where number > 0")
    lakehouse.engine.compute_days(work, Batch("run"), print)
    expected = [{"day": D1, "x": [{"url": "p", "n": 1, "extra": None}, None]}]
    assert lakehouse.rows("shop.features").to_pylist() == expected
    write_files = features_by_spark.write_files

    def meanwhile(*arguments: Any) -> Any:
        append(lakehouse, number=[2], at=[at(1)], user_id=["b"], seen=[None])
        return write_files(*arguments)

    monkeypatch.setattr(features_by_spark, "write_files", meanwhile)
    with pytest.raises(CommitConflictError, match=r"shop\.events was written while shop\.features was computed of it\. Run it again\."):
        lakehouse.engine.compute_days(work, Batch("again"), print)
    assert lakehouse.rows("shop.features").to_pylist() == expected


def test_many_days_are_one_commit_or_none(lakehouse: Lakehouse) -> None:
    work = features(lakehouse, "select $day as day, cast(count(*) as varchar) as x from events")
    append(lakehouse, id=[1, 2], at=[at(1), at(3)], user_id=["a", "a"], seen=[None, None])
    days = tuple(D1 + timedelta(days=day) for day in range(18))  # more than are asked for at once
    result = lakehouse.engine.compute_days(ComputeDays(work.template, work.inputs, days), Batch("run"), lakehouse.messages.append)
    assert (result.rows, result.days) == (18, "2024-01-01..2024-01-18")
    assert sorted(lakehouse.rows("shop.features")["x"].to_pylist()) == ["1", "1", *["2"] * 16]
    table = lakehouse.table("shop.features")
    assert (len(table.metadata.snapshots), list(table.metadata.refs), len(lakehouse.messages)) == (1, ["main"], 10)
    files = set(Path(lakehouse.settings.warehouse).rglob("features/**/*.parquet"))
    (lakehouse.settings.templates / "features.sql").write_text(
        "select case when $day = '2024-01-18' then $day + 1 else $day end as day, 'x' as x from events"
    )
    with pytest.raises(BadRowsError, match=r"the result of features\.sql for 2024-01-18 has rows of another day"):
        lakehouse.engine.compute_days(ComputeDays(work.template, work.inputs, days), Batch("bad"), print)
    assert lakehouse.table("shop.features").current_snapshot() == table.current_snapshot()
    assert set(Path(lakehouse.settings.warehouse).rglob("features/**/*.parquet")) == files


def test_what_fails_while_it_runs_shows_no_value(lakehouse: Lakehouse, capfd: pytest.CaptureFixture[str]) -> None:
    work = features(lakehouse, "select $day as day, cast(user_id as int) as x from events", "int")
    append(lakehouse, id=[1], at=[at(1)], user_id=["secret"], seen=[None])
    with pytest.raises(FeatureSqlError) as error:
        lakehouse.engine.compute_days(work, Batch("run"), print)
    assert str(error.value).startswith("features.sql:1: Spark: CAST_INVALID_INPUT. Its message may show values, and is left out.")
    assert "SQLQueryContextLogger" not in capfd.readouterr().err  # PySpark's own; the driver's log is Spark's to keep
    (lakehouse.settings.templates / "features.sql").write_text("select $day as day, cast(id as bigint) * 4000000000 as x from events")
    with pytest.raises(BadRowsError, match=r"1 rows do not fit shop.features, for example:\n  column x: not an int\n"):
        lakehouse.engine.compute_days(work, Batch("run"), print)
    (lakehouse.settings.templates / "features.sql").write_text(
        "select $day as day, cast(length(upper('ß' || user_id)) as int) as x from events"
    )
    with pytest.raises(FeatureSqlError, match=r"upper.* of a character about whose case Spark and DuckDB do not agree"):
        lakehouse.engine.compute_days(work, Batch("run"), print)
    assert lakehouse.table("shop.features").current_snapshot() is None
