"""Apache Spark as the engine, for tables that are more than one machine takes."""
