# Narrow before, widen after: the reader's grant is an allow list of the readable columns that the live entry has, also
# where nothing is restricted today. A new column stays hidden until it is granted; a column that became restricted
# leaves the list at the next apply. And where a live column has a readable column's name, and another its former one, it is
# not known which of the two it is: before the rename it is another column, perhaps a restricted one. It is not granted.

locals {
  renaming = { for key, table in local.tables : key => [
    for column in table.columns : column.name if anytrue([for name in column.renamed_from : contains(local.live_columns[key], name)])
  ] }
  reader_columns = {
    for key, table in local.tables : key => [
      for name in table.readable_columns.reader : name if contains(local.live_columns[key], name) && !contains(local.renaming[key], name)
    ]
  }
}

resource "aws_lakeformation_permissions" "reader" {
  for_each = { for key, names in local.reader_columns : key => names if length(names) > 0 }

  principal   = var.role_arns.reader
  permissions = ["SELECT"]

  table_with_columns {
    database_name = local.entries[each.key].database_name
    name          = local.entries[each.key].name
    column_names  = each.value
  }
}

# There is no column-level write [D]. A commit is a catalog update: ALTER.
resource "aws_lakeformation_permissions" "writer" {
  for_each = local.tables

  principal   = var.role_arns.writer
  permissions = ["SELECT", "INSERT", "DELETE", "DESCRIBE", "ALTER"]

  table {
    database_name = local.entries[each.key].database_name
    name          = local.entries[each.key].name
  }
}

resource "aws_lakeformation_permissions" "admin" {
  for_each = local.tables

  principal   = var.role_arns.admin
  permissions = ["ALL"]

  table {
    database_name = local.entries[each.key].database_name
    name          = local.entries[each.key].name
  }
}
