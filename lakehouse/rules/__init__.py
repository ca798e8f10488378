"""Lint rules: each a small class whose docstring says what it guards and whose id stands in every finding.

A new rule is a subclass of ``Rule`` with an ``id``, in the module of its subject; being defined registers it.
"""

from lakehouse.rules import columns, dimensions, features, layout, maintenance, names, pipeline, properties
from lakehouse.rules.base import Context, Rule, Violation

__all__ = ["Context", "Rule", "Violation", "columns", "dimensions", "features", "layout", "maintenance", "names", "pipeline", "properties"]
