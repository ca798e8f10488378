"""feature_table: features per entity and UTC day, computed by SQL, each day a partition that a run replaces."""

# No annotations from the future: Dagster looks for the context's type among them as it stands there.

from collections.abc import Callable, Mapping
from datetime import date

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    BackfillPolicy,
    DailyPartitionsDefinition,
    TimeWindowPartitionMapping,
    asset,
)

from dagster_project.assets.common import asset_attributes, asset_key
from lakehouse.days import DAY
from lakehouse.engines import ComputeDays
from lakehouse.pipelines import FeaturePartitions
from lakehouse.template import TableTemplate


def feature_asset(template: TableTemplate, templates: Mapping[str, TableTemplate]) -> AssetsDefinition | None:
    """The asset of a template with a feature_table pipeline. A run computes one day, or a range of them at once."""
    pipeline, day = template.feature_table, template.event_time
    if pipeline is None or day is None:
        return None
    inputs = template.input_templates(templates)

    def feature_table(context: AssetExecutionContext) -> ComputeDays:
        return ComputeDays(template, inputs, tuple(date.fromisoformat(key) for key in context.partition_keys))

    attributes = asset_attributes(template)
    as_asset: Callable[[Callable[[AssetExecutionContext], ComputeDays]], AssetsDefinition] = asset(
        **{**attributes, "kinds": {"iceberg", "sql"}, "metadata": {**attributes["metadata"], "partition_expr": day.name}},
        deps=[_dependency(found, pipeline.window_days) for found in inputs],
        partitions_def=_partitions(pipeline.partitions),
        backfill_policy=BackfillPolicy.single_run(),
    )
    return as_asset(feature_table)


def _partitions(partitions: FeaturePartitions) -> DailyPartitionsDefinition:
    """Full days, in UTC. Dagster's end is the first day that is no partition."""
    return DailyPartitionsDefinition(
        start_date=partitions.start,
        end_date=None if partitions.last is None else (partitions.last + DAY).isoformat(),
        timezone="UTC",
    )


def _dependency(template: TableTemplate, window: int | None) -> AssetDep:
    """Another feature table's partitions are those of the window, or the day's own; other tables have none in Dagster."""
    mapping = None
    if template.feature_table is not None:
        # Without a window all days before are seen as well, which no mapping says: of these Dagster shows the day itself.
        mapping = TimeWindowPartitionMapping(start_offset=1 - (window or 1), allow_nonexistent_upstream_partitions=True)
    return AssetDep(asset_key(template), partition_mapping=mapping)
