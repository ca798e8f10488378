"""What is in the documentation's code blocks is what the project takes: templates lint, commands and their options exist."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import hcl2
import pytest
import typer
import yaml
from dagster._cli import create_dagster_cli
from doc_pages import PAGES, ROOT, SHELL, Block, blocks, commands
from jsonschema import Draft202012Validator

from lakehouse.cli import app
from lakehouse.lint import lint_templates
from lakehouse.settings import LakehouseSettings
from lakehouse.template import json_schema

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = " ".join(re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)).split()
ROOTS = [ROOT / "terraform" / cloud for cloud in ("aws", "gcp")]
VARIABLES = {name for root in ROOTS for name in re.findall(r'^variable "(\w+)"', (root / "variables.tf").read_text(), re.MULTILINE)}
COMMAND_LINES = {"lakehouse": typer.main.get_command(app), "dagster": create_dagster_cli()}
BLOCKS = [block for page in PAGES for block in blocks(page)]


def of(*languages: str) -> Any:
    """The blocks in these languages, a test each."""
    found = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", found, ids=map(str, found))


def test_every_language_is_one_that_is_looked_at() -> None:
    known = {"", "text", "mermaid", "yaml", "hcl", "json", "python", "sql", *SHELL}
    assert {str(block): block.language for block in BLOCKS if block.language not in known} == {}


@of("yaml")
def test_yaml_is_valid_and_templates_lint(block: Block, tmp_path: Path) -> None:
    content = next(iter(documents := list(yaml.safe_load_all(block.text))))
    schema = json_schema()
    if len(documents) != 1 or not isinstance(content, dict) or not content.keys() <= schema["properties"].keys():
        return  # of another kind: a SodaCL file, a workflow
    if "columns" not in content:
        Draft202012Validator({**schema, "required": []}).validate(content)
        return
    shutil.copytree(ROOT / "table-templates", tmp_path / "templates")
    head = "".join(f"{key}: {default}\n" for key, default in (("name", "example"), ("namespace", "docs")) if key not in content)
    file = tmp_path / "templates" / f"{content.get('name', 'example')}.yaml"
    file.write_text(head + block.text)
    result = lint_templates(file.parent, re.findall(r"\$\{(\w+)\}", block.text))
    assert [str(problem) for problem in result.errors if Path(problem.file).name == file.name] == []


@of("hcl")
def test_terraform_is_valid_and_variables_exist(block: Block) -> None:
    keys = {key for key in hcl2.loads(block.text) if not key.startswith("__")}
    of_a_module = {"variable", "output", "locals", "module", "resource", "data", "provider", "terraform"}
    assert keys <= of_a_module or keys <= VARIABLES, keys - of_a_module - VARIABLES


@of("json")
def test_json_is_valid(block: Block) -> None:
    json.loads(block.text)


@of("sql")
def test_sql_is_valid(block: Block) -> None:
    if "`" not in block.text:  # BigQuery's names are in backticks
        assert duckdb.extract_statements(block.text)


@of("python")
def test_python_is_valid_and_its_imports_exist(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@of(*SHELL)
def test_commands_and_their_options_exist(block: Block) -> None:
    assert [found for words in commands(block.text) if (found := wrong(words))] == []


@pytest.mark.parametrize(
    "line",
    [
        "lakehouse plans",
        "lakehouse plan --dry-run",
        "lakehouse audit show",
        "lakehouse export --format avro",
        "cd x && FOO=1 .venv/bin/lakehouse lint --jsn | cat",
        "docker compose exec -T code-location lakehouse lint now",
        "echo 'a # b\nc' >x 2>&1; lakehouse none",
        ".venv/bin/dagster asset materialize --selection x",
        ".venv/bin/not-there",
        "make no-target",
        "make demo NOTHING=1",
        "make aws-plan TFVARS=examples/none.tfvars",
        "make gcp-apply TFVARS=../../examples/none.tfvars",
        "python -m quality.none",
        ".venv/bin/python benchmarks/none.py",
        "python -m pytest tests/none",
        "terraform -chdir=terraform/azure init",
        "terraform -chdir=terraform/aws plan -var-file=examples/none.tfvars",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    fine = "make help  # it's all\ncat >x <<'END'\nmake it\nEND\nlakehouse lint --json \\\n  --strict 2>/dev/null\n"
    assert [found for words in commands(fine) if (found := wrong(words))] == []
    assert [found for words in commands(fine + line) if (found := wrong(words))] != []


def wrong(words: list[str]) -> str | None:
    """What is wrong with a command of this project; None also for those of other programs."""
    program, arguments = words[0], words[1:]
    if program.startswith(".venv/bin/"):
        program = Path(program).name
        if not (Path(sys.executable).parent / program).exists():
            return f"{program} is not installed"
    match program:
        case "make":
            return _not_made(arguments)
        case "lakehouse" | "dagster":
            return _refused(program, arguments)
        case "python" | "python3":
            return _not_there(arguments)
        case "terraform":
            folder = next((word.removeprefix("-chdir=") for word in arguments if word.startswith("-chdir=")), ".")
            files = [word.removeprefix("-var-file=") for word in arguments if word.startswith("-var-file=")]
            return _missing([folder, *_examples(folder, files)])
    return None


def _not_made(arguments: list[str]) -> str | None:
    names = [word for word in arguments if "=" not in word and not word.startswith("-")]
    variables = dict(word.split("=", 1) for word in arguments if "=" in word)
    if unknown := [name for name in names if name not in TARGETS and not ("/" in name and f":= {name}\n" in MAKEFILE)]:
        return f"make has no target {unknown}"
    if unknown := [name for name in variables if not re.search(rf"\$\((?:or \$\(|if \$\()?{name}\b", MAKEFILE)]:
        return f"make has no variable {unknown}"
    return _missing(_examples(f"terraform/{names[0].split('-')[0]}", [variables["TFVARS"]])) if "TFVARS" in variables else None


def _examples(folder: str, files: list[str]) -> list[str]:
    """Those of the files with variables that are the project's; others are the reader's."""
    return [f"{folder}/{file}" for file in files if file.startswith(("examples/", "../../examples/"))]


def _missing(paths: list[str]) -> str | None:
    return next((f"{path} does not exist" for path in paths if not (ROOT / path).exists()), None)


def _refused(program: str, arguments: list[str]) -> str | None:
    """Why the program would not take these arguments. Nothing is run."""
    command: Any = COMMAND_LINES[program]
    context, rest = None, arguments
    try:
        while True:
            context = command.make_context(program, list(rest), parent=context)
            if not hasattr(command, "commands"):
                return None
            program, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    except SystemExit as ended:  # --help, --version
        return None if not ended.code else f"{arguments}: {ended}"
    except Exception as error:  # click's own, of which Typer has a copy
        return f"{arguments}: {getattr(error, 'message', error) or error!r}"


def _not_there(arguments: list[str]) -> str | None:
    if arguments[:1] != ["-m"]:  # a file, or what comes from standard input or -c
        return _missing([word for word in arguments[:1] if not word.startswith("-")])
    if importlib.util.find_spec(arguments[1]) is None:
        return f"there is no module {arguments[1]}"
    return _missing([word.partition("::")[0] for word in arguments[2:] if arguments[1] == "pytest" and "/" in word])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_environment_variables_exist(page: Path) -> None:
    settings = {str(field.validation_alias) for field in LakehouseSettings.model_fields.values()}
    elsewhere = "".join(path.read_text() for path in (ROOT / "Makefile", ROOT / "deploy" / "compose.yaml"))
    named = set(re.findall(r"\bLAKEHOUSE_[A-Z0-9_]*[A-Z0-9]\b", page.read_text()))
    assert {name for name in named - settings if name not in elsewhere} == set()
