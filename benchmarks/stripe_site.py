"""The peer's project: what ``startproject`` writes, with dj-stripe in this app's place. It is also its own URLconf.

It runs in the environment that ``stripe_peer`` makes, where this package is not installed. As a program it makes the
tables, and the rows that an endpoint needs.
"""

from __future__ import annotations

import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

from benchmarks import startproject
from benchmarks.startproject import DATABASE_VARIABLE
from benchmarks.stripe_peer import ENDPOINT_ID, ENDPOINT_PATH, ENDPOINT_SECRET

_API_KEY = "sk_test_" + "0" * 24

if not settings.configured:
    settings.configure(
        SECRET_KEY=startproject.SECRET_KEY,
        ALLOWED_HOSTS=[startproject.HOST],
        ROOT_URLCONF="benchmarks.stripe_site",
        INSTALLED_APPS=[*startproject.APPS, "djstripe"],
        MIDDLEWARE=list(startproject.MIDDLEWARE),
        DATABASES={"default": startproject.postgresql(os.environ[DATABASE_VARIABLE])},
        USE_TZ=True,
        STRIPE_TEST_SECRET_KEY=_API_KEY,
        STRIPE_LIVE_MODE=False,
        # Nobody listens there: whatever would ask Stripe for something fails, and the benchmark with it.
        STRIPE_API_HOST="http://127.0.0.1:9",
        DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
    )
    django.setup()

urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]
application = get_wsgi_application()


def prepare() -> None:
    """Make the tables, the account, its key and the endpoint, which dj-stripe would else ask Stripe for."""
    from django.core.management import call_command
    from djstripe.models import (  # type: ignore[import-not-found]  # the benchmark alone installs it
        Account,
        APIKey,
        WebhookEndpoint,
    )

    call_command("migrate", verbosity=0)
    account = Account.objects.create(id="acct_benchmark", livemode=False)
    APIKey.objects.create(type="secret", secret=_API_KEY, livemode=False, djstripe_owner_account=account)
    WebhookEndpoint.objects.create(
        id="we_benchmark",
        livemode=False,
        djstripe_owner_account=account,
        djstripe_uuid=ENDPOINT_ID,
        secret=ENDPOINT_SECRET,
        url=f"https://{startproject.HOST}{ENDPOINT_PATH}",
        status="enabled",
        enabled_events=["*"],
    )


if __name__ == "__main__":
    prepare()
