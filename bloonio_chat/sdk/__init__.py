"""What the vendor's SDK page describes: signing, calls, types and events. No Django in here."""
