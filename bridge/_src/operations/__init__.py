"""Every function of ``keras.ops`` that is a pure function of tensors, as a JAX function."""
