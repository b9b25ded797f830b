"""Layers that prepare numbers, categories, images and sounds."""
