"""Pictures of fits, drawn by Matplotlib, which is loaded when the first one is drawn."""
