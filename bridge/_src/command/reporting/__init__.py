"""What a fit has come to, as a page for a browser."""
