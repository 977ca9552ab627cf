"""Warnings name the line of the user."""

import subprocess
import sys

SCRIPT = """
import warnings
from multilayer.errors import warn

inner = {"__name__": "multilayer.somewhere", "warn": warn}
exec(compile("def f():\\n    warn('passed over')\\n\\ndef g():\\n    f()\\n", "inside.py", "exec"), inner)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    exec(compile("\\n\\ng()\\n", "users_script.py", "exec"), {"__name__": "users_script", "g": inner["g"]})
print([(str(each.message), each.category.__name__, each.filename, each.lineno) for each in caught])
"""


def test_a_warning_names_the_line_outside_of_the_package() -> None:  # in a process without run-time checks
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('passed over', 'TableWarning', 'users_script.py', 3)]"
