"""The published JSON Schema: current, and of one mind with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from hpcwise.cli.specfields import FIELDS, json_schema
from hpcwise.cli.specfile import load_job
from tests.cli.making import call
from tests.cli.test_specfile import BAD, NOW

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "jobs" / "schema" / "hpcwise-job.schema.json"
JOBS = sorted((ROOT / "jobs").glob("*.yaml"))


def invalid(schema: dict[str, Any], data: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(data)]


def test_the_published_schema_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "spec", "schema")
    assert (code, out, err) == (0, SCHEMA.read_text("utf-8"), "")
    jsonschema.Draft202012Validator.check_schema(json.loads(out))


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_the_jobs_of_this_project_can_be_run_and_fit_the_schema(path: Path) -> None:
    job = load_job(path, NOW).job
    assert Path(job.input_path).is_file()
    assert invalid(json.loads(SCHEMA.read_text("utf-8")), yaml.safe_load(path.read_text("utf-8"))) == []


def test_the_jobs_show_every_kind_of_deadline() -> None:
    kinds = {type(load_job(path, NOW).job.slo).__name__ for path in JOBS}
    assert kinds == {"Live", "By", "Batch"}


def test_the_schema_describes_every_field() -> None:
    properties = json_schema()["properties"]
    assert list(properties) == list(FIELDS)
    assert all(entry["description"] for entry in properties.values())


#: Mistakes that no schema can see: files, clocks, zones, lines given twice, relations between fields.
UNSEEN = (
    "no such file",
    "is past",
    "time zone",
    "clocks skip",
    "00:00 to 23:59",
    "its aspect",
    "even width",
    "even height",
    "order from best",
    "given twice",
    "id of their own",
    "name a file of type",
    "in full",
    "printable characters",
    "dollars",
    "name one of",
    "break the cycle",
    "belongs to the podcast",
    "aliases",
    "is not YAML",
    "control character",
    "second document",
    "tag",
    "name a model",
    "16:10, 16:9",
    "write 90s",
    "20s to 1h",
    "is empty",
    "too deeply",
)


def test_what_the_schema_can_see_it_refuses_as_the_loader_does() -> None:
    seen = [(text, lines) for text, lines in BAD if not any(word in lines[0] for word in UNSEEN)]
    assert len(seen) > 15
    schema = json_schema()
    assert [lines for text, lines in seen if not invalid(schema, yaml.safe_load(text))] == []
