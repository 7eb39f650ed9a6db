"""What every test folder shares: the options of scripts/test.py, and how random tests say what they tried."""

import secrets

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Random on purpose: every run tries new cases. What fails is printed as a line that reproduces it.
settings.register_profile(
    "bounded", max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", settings.get_profile("bounded"), max_examples=2_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="many more cases, and half an hour of mixed load")
    parser.addoption(
        "--without", action="append", default=[], metavar="NAME", help="skip tests marked needs(NAME)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the number of examples, and draw a seed if none is given, before hypothesis looks for one."""
    settings.load_profile("long" if config.getoption("--long") else "bounded")
    if config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = str(secrets.randbits(32))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how to try the same random cases again."""
    terminalreporter.write_line(f"random cases: --hypothesis-seed={config.getoption('--hypothesis-seed')}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, visibly, what needs a program that this run does without; deselect what only --long runs."""
    without = config.getoption("--without")
    for item in items:
        for name in {mark.args[0] for mark in item.iter_markers("needs")} & set(without):
            item.add_marker(pytest.mark.skip(reason=f"needs {name}, and the run is --without {name}"))
    if not config.getoption("--long"):
        only_long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=only_long)
        items[:] = [item for item in items if item not in only_long]


@pytest.fixture(scope="session")
def long_run(pytestconfig: pytest.Config) -> bool:
    """Whether to try as many cases as --long asks for, rather than a bounded number."""
    return bool(pytestconfig.getoption("--long"))


@pytest.fixture(autouse=True)
def unconfigured_logs() -> None:
    """A test that ran a node has set up logging for the whole process: every test begins without."""
    structlog.reset_defaults()
