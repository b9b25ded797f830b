"""What a solution says of itself: a report as text, as a table of a page, and as a file."""
