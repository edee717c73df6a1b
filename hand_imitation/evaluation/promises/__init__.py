"""Safety promises, each kept to by injecting its fault and looking at what came over the wire."""
