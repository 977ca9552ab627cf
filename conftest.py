"""What every test and doctest shares."""

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent

# No example of Hypothesis fails because the machine is busy with something else.
settings.register_profile("on any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("on any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Tests may evaluate on the rows that they fit; what is said of that is tested where it belongs.

    They hear Ctrl-C as in a terminal, also in the background of a script, which has them ignore it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("filterwarnings", "ignore:A model must be scored on rows:UserWarning")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests and examples write where they stand; let that be a folder of their own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development tables, which lie beside the clone and are not part of it."""
    folder = ROOT.parent / "shared" / "data"
    if not (folder / "suite.json").exists():
        pytest.skip("the development tables are not here (../shared/data)")
    return folder
