"""The resources of the provider ``drydock``, one module each."""
