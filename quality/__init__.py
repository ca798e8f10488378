"""Quality: SodaCL checks of the tables, run as ``soda scan`` in a process of its own."""
