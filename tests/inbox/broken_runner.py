"""A module of a project's own that can't be imported."""

raise RuntimeError("broken")
