"""``from_keras``, ``to_keras``, ``save``, ``verify``, ``pack``, ``export``."""
