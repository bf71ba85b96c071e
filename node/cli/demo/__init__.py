"""x"""
def demo() -> None:
    """Tour."""
