"""What looks at the lakehouse by itself. A new sensor is a module here, and a line in ``definitions.py``."""
