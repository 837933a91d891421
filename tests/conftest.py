"""Being here, this file puts its folder on the path: helper modules that more than one kind of test uses lie beside it."""
