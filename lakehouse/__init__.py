"""An Apache Iceberg lakehouse from YAML templates: one file per table, read by Terraform and by this package."""
