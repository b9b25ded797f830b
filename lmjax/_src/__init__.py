"""The implementation; what is public stands in the modules of :mod:`lmjax` itself."""
