"""The tests' own database servers leave the machine's servers alone."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

from tests.inbox.project.database_servers import own_database
from tests.services import missing


def test_a_mariadb_of_our_own_leaves_the_temporary_tables_of_another_alone() -> None:
    server = own_database("mariadb")
    if server is None:
        missing("the programs of a MariaDB server are not found, or there is nobody to run them as")
    assert server is not None
    # A server takes all files of such a name in its folder for those of its crashed self.
    others = Path(tempfile.gettempdir()) / f"#sql-temptable-of-another-{os.getpid()}.MAI"
    others.touch()
    try:
        if os.geteuid() == 0:
            os.chown(others, pwd.getpwnam(server.user).pw_uid, -1)
        with server:
            assert others.exists()
    finally:
        others.unlink(missing_ok=True)
