"""What an error of another library says, for a message of one line."""


def reason(error: BaseException) -> str:
    """Returns the first line of the error's message, or the name of its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
