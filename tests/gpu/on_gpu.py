"""`make gpu-test`: the launchers and then the torch ops on this machine's GPU, and how long the launchers take."""

import shutil
import subprocess
import sys

from tests.gpu.devices import ROOT, launcher_tests, why_no_gpu

# Neither pyagent's dependencies nor its pytest plugins are there.
LAUNCHERS = ["-m", "pytest", "-o", "addopts=", "--import-mode=importlib", "--confcutdir=tests/gpu", "-m", "gpu", "-rs"]
LAUNCHERS += map(str, launcher_tests())
# The launchers' tests have run by then.
TORCH_OPS = ["-m", "pytest", "-m", "gpu", "-rs", "tests", "--ignore-glob=tests/gpu/test_*.py"]
NOTHING_RAN = 5  # pytest's exit status where no test was selected
INSTALLED = ROOT / ".venv/bin/python"


def main():
    if reason := why_no_gpu():
        say(f"gpu-test: skipped: {reason}")
        return 0
    steps = {"launchers": [sys.executable, *LAUNCHERS]}
    if sanitizer := shutil.which("compute-sanitizer"):
        for check in ("memcheck", "racecheck", "initcheck"):
            command = [sanitizer, f"--tool={check}", "--error-exitcode=1", "--target-processes=all"]
            steps[check] = [*command, sys.executable, *LAUNCHERS, "-x"]
    steps["timings"] = [sys.executable, "-m", "tests.gpu.timings"]
    if INSTALLED.exists():
        steps["torch ops"] = [str(INSTALLED), *TORCH_OPS]
    failed = [name for name, command in steps.items() if not succeeds(name, command)]
    missing = "" if sanitizer else "; no compute-sanitizer on the path"
    missing += "" if INSTALLED.exists() else "; no .venv for the torch ops (make install)"
    say(f"gpu-test: {len(steps) - len(failed)} of {len(steps)} steps passed; failed: {failed or 'none'}{missing}")
    return bool(failed)


def succeeds(name: str, command: list[str]) -> bool:
    say(f"\n{name}")
    return subprocess.run(command, cwd=ROOT).returncode in (0, NOTHING_RAN)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
