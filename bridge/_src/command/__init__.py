"""The command line: ``lmjax fit``, ``lmjax info``, ``lmjax check``, ``lmjax pack``, ``lmjax
unpack``, ``lmjax demo``.
"""
