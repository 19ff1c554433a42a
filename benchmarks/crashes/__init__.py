"""Load on real servers, workers and brokers, of which some are killed all the time; then every event is accounted for.

``python -m benchmarks.crashes`` from the project's root; docs/inbox-crashes.md says what it shows. ``site`` starts the
project of ``tests.inbox.project``, ``load`` is the relay, ``havoc`` kills, ``account`` counts what became of it.
"""
