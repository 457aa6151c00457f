# SPDX-License-Identifier: MIT
"""tests/mutate takes some minutes and is run now and then; where it would take a check away is looked at each time."""
import importlib.machinery
import importlib.util
import pathlib

import pytest

pytestmark = pytest.mark.fast

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_mutate():
    loader = importlib.machinery.SourceFileLoader("mutate", str(ROOT / "tests" / "mutate"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mutate", loader))
    loader.exec_module(module)
    return module


MUTATE = load_mutate()


@pytest.mark.parametrize("mutation", MUTATE.MUTATIONS, ids=lambda mutation: mutation[0])
def test_the_check_is_where_it_is_taken_away(mutation):
    _, file, old, new, test = mutation
    assert (ROOT / file).read_text(encoding="utf-8").count(old) == 1 and new != old
    if "/" not in test:
        assert (ROOT / "tests" / "unit" / f"test_{test}.c").exists()
        return
    file, function = test.split("::")
    assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", MUTATE.STATEMENTS)
def test_statements_are_found(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    lines = text.split("\n")
    found = [lines[number].strip() for number in MUTATE.find_statements(text)]
    assert len(found) > 50
    assert all(statement.endswith(";") and not statement.startswith("return") for statement in found)
    assert all((ROOT / "tests" / "unit" / f"test_{test}.c").exists() for test in MUTATE.STATEMENTS[file])
