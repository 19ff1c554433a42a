"""The secrets of the test-suite. Each holds the mark, so that a leak of any of them is seen wherever it shows."""

from __future__ import annotations

from typing import Final

MARK: Final = "no_log_may_show"

TENANT_ID: Final = "01900000-0000-7000-8000-000000000001"
SECRET: Final = f"sk_test_{MARK}"
OTHER_TENANT_ID: Final = "01900000-0000-7000-8000-000000000002"
OTHER_SECRET: Final = f"sk_other_{MARK}"
FALLBACK_SECRET: Final = f"sk_fallback_{MARK}"
