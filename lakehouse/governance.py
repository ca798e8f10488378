"""Which role sees which column. Terraform gives the same answer in its grants."""

from __future__ import annotations

from typing import Literal, get_args

from lakehouse.template import TableTemplate

Role = Literal["reader", "writer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


def visible_columns(template: TableTemplate, role: Role) -> list[str]:
    """The columns a role may read: the reader public and internal ones, writer and admin all."""
    return [column.name for column in template.columns if role != "reader" or column.access_level != "restricted"]
