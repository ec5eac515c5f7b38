class Unsupported(Exception):
    """Raised by an adapter for a case that its library has no way to express; the text says what is missing."""
