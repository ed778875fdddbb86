"""A signal to `specc train` is one to the script that it runs, which saves and ends; its failure is told as one of running."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from specc.cli.common import Failure
from specc.cli.runs import python

SCRIPT = """\
import signal, sys, time
def stop(*_):
    print("saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_signal_reaches_the_script_and_its_code_comes_back(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    code = f"from pathlib import Path; from specc.cli.runs import python; python(Path({str(script)!r}))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "saved\n"
        assert process.wait(timeout=30) == 0


def test_a_failing_script_is_a_failure_while_running(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import sys; sys.exit(4)")
    with pytest.raises(Failure, match=r"train\.py ended with code 4") as caught:
        python(script)
    assert caught.value.exit_code == 3


def test_a_script_that_was_called_wrongly_is_wrong_usage(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import argparse; argparse.ArgumentParser().parse_args()")
    with pytest.raises(click.exceptions.Exit) as caught:
        python(script, "--nonsense", usage=2)
    assert caught.value.exit_code == 2
