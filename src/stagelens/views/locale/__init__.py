"""Message catalogues of the views."""
