"""The Dagster code location of the lakehouse."""

import warnings

from dagster import BetaWarning, PreviewWarning

# dagster-iceberg is a preview, and pinned for that reason; each of its classes says so each time it is made.
warnings.filterwarnings("ignore", category=PreviewWarning, message=r".*Iceberg.*")
# Backfills of feature tables in one run, and of inputs that begin later; links to the templates: the tests hold on to them.
_BETA = "backfill_policy|allow_nonexistent_upstream_partitions|CodeReferencesMetadataValue|LocalFileCodeReference|UrlCodeReference"
warnings.filterwarnings("ignore", category=BetaWarning, message=rf".*`({_BETA})`.*")
