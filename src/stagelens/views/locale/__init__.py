"""Message catalogs of the views."""
