"""The tests on every Python and Django that is supported: ``nox``, or one cell of it, ``nox -s lowest``.

A cell whose Python is not there is skipped, and so is one that ``DONE`` names (``3.11-5.2``): it was run already. What
needs one Python only is in ``.ci/run``: the linters, coverage, every database, and the distributions.
"""

from __future__ import annotations

import os

import nox

nox.needs_version = ">=2026.2"
nox.options.default_venv_backend = "uv|virtualenv"
# Whoever wants more Pythons installs them: nothing is brought to a machine behind its owner's back.
nox.options.download_python = "never"

CELLS = [
    nox.param(python, django, id=f"py{python}-django{django}")
    for python, django in [("3.11", "5.2"), ("3.12", "6.0"), ("3.13", "6.1")]
]

# What takes long and sees no more of a Python or a Django than the other tests do.
SLOW = (
    "--ignore=tests/whole",
    "--ignore=tests/example",
    *(f"--ignore=tests/inbox/test_{name}.py" for name in ("admin_at_scale", "celery", "crashes", "forever", "servers")),
    *(
        f"--ignore=tests/mirror/test_{name}.py"
        for name in ("admin_scale", "big_mirror", "convergence", "retention_at_scale")
    ),
)
# All of them are in the run that .ci/run begins with.
ONE_DATABASE = ("-k", "not postgresql and not mariadb")
# Hypothesis' own profile "ci" measures no time: two workers on a busy machine are no fault of a Python's.
PYTEST = (
    "python",
    "-m",
    "pytest",
    "-q",
    "-n",
    "3",
    "--dist",
    "worksteal",
    "--hypothesis-profile=ci",
    *ONE_DATABASE,
    *SLOW,
)


@nox.session
@nox.parametrize("python,django", CELLS)
def tests(session: nox.Session, django: str) -> None:
    """The newest of everything; on the newest Python in its development mode, which tells of what is left open."""
    if os.environ.get("DONE") == f"{session.python}-{django}":
        session.skip("these were run already")
    session.install("-e", ".[test]", f"django=={django}.*")
    _report_versions(session)
    is_newest = (session.python, django) == CELLS[-1].args
    # The SDK knows no Django: the newest and the lowest of its Pythons tell enough.
    less = () if is_newest else ("--ignore=tests/sdk", "--ignore=tests/sandbox")
    session.run(*PYTEST, *less, *session.posargs, env={"PYTHONDEVMODE": "1"} if is_newest else {})


@nox.session(python="3.10", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The oldest of everything: what pyproject.toml says is enough has to be."""
    session.install("--resolution", "lowest-direct", "-e", ".[test]")
    _report_versions(session)
    session.run(*PYTEST, *session.posargs)


@nox.session(python="3.12")
def core(session: nox.Session) -> None:
    """No extra: every test that imports none, and the app has to work without; on what is neither old nor new."""
    extra = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]["test"]
    session.install("-e", ".", "django==6.0.*", *(tool for tool in extra if not tool.startswith("django-bloonio-chat")))
    _report_versions(session)
    session.run(*PYTEST, "-p", "tests.packaging.core_only", *session.posargs)


def _report_versions(session: nox.Session) -> None:
    """Show what is tested, so that a red cell can be made again elsewhere."""
    names = "django", "pydantic", "pydantic-settings", "requests", "urllib3", "tqdm", "httpx2", "werkzeug", "celery"
    script = (
        "from importlib.metadata import distributions as d; "
        f"print(*sorted(f'{{x.name}}=={{x.version}}' for x in d() if x.name.lower() in {names}))"
    )
    session.run("python", "-c", script)
