"""Rung 3: the tests of the launchers under sanitizers; and that the faults which faults.py plants are found."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gpu.devices import ROOT, launcher_tests, preload
from tests.gpu.faults import ADDRESS, FAULTS, THREAD

pytestmark = pytest.mark.rung(3)

HERE = Path(__file__).parent
# A module that only imports its SOURCES has more cases than there is time for.
MODULES = [path.name for path in launcher_tests() if re.search("^SOURCES = ", path.read_text(), re.MULTILINE)]


def run_tests(module=None, sanitizer=None, fault=None):
    """pytest in a process of its own, since a sanitizer has to be loaded before Python, and ends it where it finds
    something. Nothing is captured there: its report goes to the standard error."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-s", "-m", "rung", f"--confcutdir={HERE}"]
    settings = {"OPENBLAS_NUM_THREADS": "1"}
    if fault is not None:
        module, sanitizer = fault.module, fault.found_by[0]
        command += ["-k", fault.test]
        settings["PYAGENT_PLANTED_FAULTS"] = json.dumps([(fault.file, fault.text, fault.other)])
    if sanitizer is not None:
        settings |= {"PYAGENT_EMULATED_SANITIZER": sanitizer, **preload(sanitizer)}
    command += ["-p", "no:cacheprovider", str(HERE / module)]
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def runs(request):
    """What the selected tests here look at: processes, as many at a time as there are processors."""
    items = [item for item in request.session.items if item.path == request.path]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {item.nodeid: pool.submit(run_tests, **item.callspec.params) for item in items}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def done(request, runs):
    return runs[request.node.nodeid].result()


@pytest.mark.parametrize("sanitizer", [ADDRESS, THREAD])
@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_found_in(module, sanitizer, done, record_property):
    assert done.returncode == 0, done.stdout + done.stderr
    record_property("cases", int(re.search(r"(\d+) passed", done.stdout)[1]))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_is_found(fault, done):
    output = done.stdout + done.stderr
    assert done.returncode != 0, output
    assert fault.found_by[1] in output, output
