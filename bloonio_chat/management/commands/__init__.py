"""``bloonio_*``: thin; each drives what it is named after."""
