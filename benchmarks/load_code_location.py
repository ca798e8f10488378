"""Loading Dagster's code location with 1,000 templates, beside none that has a pipeline, each in its own process.

    python benchmarks/load_code_location.py [--templates 1000] [--repeat 5]

What is timed is the whole command ``dagster definitions validate``, start-up included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 15


def write_templates(folder: Path, count: int, pipeline: bool) -> None:
    """Templates of 15 columns."""
    types = ["string", "long", "double", "timestamptz", "date", "boolean", "list<string>", "decimal(18,2)"]
    columns = "".join(
        f'  - {{name: column_{index}, type: "{types[index % len(types)]}", description: Column {index}.}}\n' for index in range(COLUMNS - 1)
    )
    source = 'pipeline:\n  pattern: event_stream\n  cron: "0 * * * *"\n  source: {path: /landing, format: jsonl}\n' if pipeline else ""
    for number in range(count):
        (folder / f"table_{number}.yaml").write_text(
            f"name: table_{number}\nnamespace: benchmark\ndescription: Table {number}.\nowner: team\n"
            f"columns:\n  - {{name: event_time, type: timestamptz, required: true}}\n{columns}"
            f"partition_spec:\n  - {{column: event_time, transform: day}}\n{source}"
        )


def measure(folder: Path) -> float:
    """Seconds that the command takes."""
    start = time.perf_counter()
    subprocess.run(
        [str(Path(sys.executable).parent / "dagster"), "definitions", "validate", "-m", "dagster_project.definitions"],
        env={**os.environ, "LAKEHOUSE_TEMPLATES": str(folder), "DAGSTER_HOME": str(folder)},
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


def main() -> None:
    """Prints the medians and their difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as many:
        write_templates(Path(one), 1, pipeline=False)
        write_templates(Path(many), options.templates, pipeline=True)
        pairs = [(measure(Path(one)), measure(Path(many))) for _ in range(options.repeat)]
    none, all_ = (statistics.median(pair[index] for pair in pairs) for index in (0, 1))
    print(f"without an asset {none:.2f} s, with {options.templates:,} assets {all_:.2f} s, medians of {options.repeat}")
    print(f"{all_ - none:.2f} s more")


if __name__ == "__main__":
    main()
