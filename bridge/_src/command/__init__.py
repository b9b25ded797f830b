"""The command line: ``lmjax fit``, ``lmjax predict``, ``lmjax evaluate``, ``lmjax info``, ``lmjax
check``, ``lmjax pack``, ``lmjax unpack``, ``lmjax export``, ``lmjax demo``.
"""
