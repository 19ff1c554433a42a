"""``./run demo``: the sandbox and the example's site, one conversation, and what came of it.

``--once`` stops afterwards, with exit status 0 only if every step of the story happened.
"""

import argparse
import os
import sys
import threading
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from bloonio_chat.sandbox import SandboxRelay


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # werkzeug's own name
        pass


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the story")
    arguments = parser.parse_args()
    with SandboxRelay() as relay:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="example_project.settings",
            BLOONIO_CHAT_BASE_URL=relay.base_url,
            BLOONIO_CHAT_TENANT_ID=relay.tenant_id,
            BLOONIO_CHAT_TENANT_SECRET=relay.tenant_secret,
        )
        # Only now: loading the project reads its settings, and those come from the environment.
        from example_project.wsgi import application

        site = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_QuietHandler)
        threading.Thread(target=site.serve_forever, daemon=True).start()
        relay.callback_base_url = f"http://127.0.0.1:{site.port}"
        print(f"Sandbox relay at {relay.base_url}, site at {relay.callback_base_url}")
        try:
            happened = _story(relay)
            if not arguments.once:
                print("Both go on running; Ctrl-C stops them.")
                threading.Event().wait()
        except KeyboardInterrupt:
            return 0
        finally:
            site.shutdown()
            site.server_close()
    return 0 if happened else 1


def _story(relay: SandboxRelay) -> bool:
    from bloonio_chat import get_chat_client
    from example_project.desk.receivers import heard

    conversation = get_chat_client().create_conversation(visitor_user_id="customer-1", locale="en")
    print(f"  called    create_conversation -> {conversation.id}, {conversation.status}")
    relay.wait()
    happened = heard["conversation_started"] == 1 and relay.callbacks == [("conversation_started", 200)]
    print(f"{'Done' if happened else 'FAILED'}: the relay's callbacks were answered {relay.callbacks}")
    return happened


if __name__ == "__main__":
    sys.exit(main())
